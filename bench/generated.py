"""Made-up data whose structure is known: families of vectors, each from a stated seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, did_you_mean

__all__ = ["FAMILIES", "generate", "parse_generated"]

Floats = NDArray[np.float32]
PREFIX = "generated:"


def generate(family: str, rows: int, dimensions: int, *, seed: int = 0) -> Floats:
    """Return vectors of a family: (rows, dimensions) float32.

    Parameters
    ----------
    family : str
        ``gaussian``: independent coordinates, nothing to compress. ``low-rank``: a sixteenth of the dimensions, and a
        little noise. ``clustered``: points around centres of unequal weight. ``anisotropic``: one large common
        direction and variances that fall as 1/i. ``matryoshka``: variances that fall as i^-1.5 along the coordinates
        themselves, so that a prefix is a coarser vector. ``zipf``: words drawn with Zipf's frequencies around their
        topics; the rows are in order of frequency and get shorter with it, as word vectors do. ``factorial``: all
        combinations of a few factors' parts, the block structure that product quantizers are made for.

    Raises
    ------
    OptionError
        No such family, or no rows or dimensions.
    """
    if family not in FAMILIES:
        raise OptionError(
            f"no generated family {family!r}{did_you_mean(family, FAMILIES)}; known: {', '.join(FAMILIES)}"
        )
    if rows < 1 or dimensions < 1:
        raise OptionError(f"generated data has rows and dimensions, found {rows} x {dimensions}")
    return np.ascontiguousarray(FAMILIES[family](np.random.default_rng(seed), rows, dimensions), np.float32)


def parse_generated(text: str) -> tuple[str, int, int, int] | None:
    """Return family, rows, dimensions and seed of ``generated:FAMILY[:ROWSxDIMENSIONS[:SEED]]``, or None.

    Examples
    --------
    >>> parse_generated("generated:zipf:5000x64:3")
    ('zipf', 5000, 64, 3)
    >>> parse_generated("generated:gaussian")
    ('gaussian', 20000, 128, 0)
    """
    if not text.startswith(PREFIX):
        return None
    family, _, rest = text.removeprefix(PREFIX).partition(":")
    shape, _, seed = rest.partition(":")
    rows, _, dimensions = (shape or "20000x128").partition("x")
    if not (rows.isdecimal() and dimensions.isdecimal() and (seed or "0").isdecimal()):
        raise OptionError(f"{text!r}: write generated:FAMILY:ROWSxDIMENSIONS:SEED, such as generated:zipf:20000x128:0")
    return family, int(rows), int(dimensions), int(seed or 0)


def _gaussian(rng: np.random.Generator, n: int, d: int) -> Floats:
    return rng.standard_normal((n, d), np.float32)


def _low_rank(rng: np.random.Generator, n: int, d: int) -> Floats:
    rank = max(d // 16, 1)
    return _gaussian(rng, n, rank) @ _gaussian(rng, rank, d) + np.float32(0.05) * _gaussian(rng, n, d)


def _clustered(rng: np.random.Generator, n: int, d: int) -> Floats:
    centres = _gaussian(rng, max(n // 100, 2), d)
    weights = rng.dirichlet(np.full(len(centres), 0.5))
    return centres[rng.choice(len(centres), n, p=weights)] + np.float32(0.4) * _gaussian(rng, n, d)


def _anisotropic(rng: np.random.Generator, n: int, d: int) -> Floats:
    rotation = np.linalg.qr(_gaussian(rng, d, d))[0].astype(np.float32)
    common = 2 * rotation[0] * np.sqrt(np.log(d + 1))
    return (_gaussian(rng, n, d) / np.sqrt(np.arange(1, d + 1)).astype(np.float32)) @ rotation + common


def _matryoshka(rng: np.random.Generator, n: int, d: int) -> Floats:
    return _gaussian(rng, n, d) * (np.arange(1, d + 1) ** -0.75).astype(np.float32)


def _zipf(rng: np.random.Generator, n: int, d: int) -> Floats:
    topics = _gaussian(rng, max(n // 200, 2), d)
    rank = np.arange(1, n + 1)
    share = (1 / rank[: len(topics)]) / (1 / rank[: len(topics)]).sum()
    x = topics[rng.choice(len(topics), n, p=share)] + np.float32(0.7) * _gaussian(rng, n, d)
    return x * (0.5 + rank[:, None] ** -0.1).astype(np.float32)


def _factorial(rng: np.random.Generator, n: int, d: int) -> Floats:
    blocks = np.array_split(np.arange(d), min(8, d))
    x = np.float32(0.05) * _gaussian(rng, n, d)
    for block in blocks:
        parts = _gaussian(rng, 16, len(block))
        x[:, block] += parts[rng.integers(0, 16, n)]
    return x


FAMILIES: Mapping[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "gaussian": _gaussian,
    "low-rank": _low_rank,
    "clustered": _clustered,
    "anisotropic": _anisotropic,
    "matryoshka": _matryoshka,
    "zipf": _zipf,
    "factorial": _factorial,
}
