"""Mixed precision: blocks of rows, most asked for first, each with a codec of its own.

What is asked for most is kept best. A row of a code array has a fixed width, so each block becomes a shard of its own:
lookups and searches go through them as through those of any sharded store.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.codec import Codec, CodecSpec, codec
from vecstore.codecs.dataset import Block, Dataset
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["BlockSample", "MixedBudget", "MixedCodec", "MixedSpec", "draw_samples", "plan"]

SAMPLE_ROWS = 1 << 15  # of each block
SAMPLE_BYTES = 64 * 1024 * 1024
TESTED_ROWS = 1024
USAGE = "mixed:BYTES, mixed:BYTES:dims, or a codec a block such as sq:8@1000+pq:25@10000+pq:10"


def plan(spec: str | CodecSpec | MixedSpec | MixedBudget) -> CodecSpec | MixedSpec | MixedBudget:
    """Parse a specification of one codec for all rows, or of several.

    Examples
    --------
    >>> plan("sq:8@1000 + pq:25@10000 + pq:10")
    plan('sq:8@1000+pq:25@10000+pq:10')
    >>> plan("mixed:12"), plan("sq:8")
    (plan('mixed:12'), codec('sq:8'))
    """
    if isinstance(spec, str) and spec.strip().startswith("mixed"):
        return MixedBudget.parse(spec.strip())
    if isinstance(spec, str) and re.search(r"[@+]", spec):
        return MixedSpec.parse(spec)
    return codec(spec) if isinstance(spec, (str, CodecSpec)) else spec


@dataclass(frozen=True)
class MixedBudget:
    """Mixed precision in a number of bytes a row, on average; which codec a block gets is measured.

    Attributes
    ----------
    row_bytes : float
        Of codes and trained arrays together, divided by the rows.
    dims : bool
        Vary the number of dimensions instead of the bits a dimension: each block has principal components of its
        own, proportional in number to popularity ** alpha (Ginart, Naumov, Mudigere, Yang & Zou, Mixed dimension
        embeddings with application to memory-efficient recommendation systems, ISIT 2021), in 8 bits each.
    alpha : float
    power_of_two : bool
        Round the numbers of dimensions to powers of two.
    """

    row_bytes: float
    dims: bool = False
    alpha: float = 0.3
    power_of_two: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.row_bytes < 1e6 or not 0 <= self.alpha <= 4:
            raise CodecError(f"{self}: bytes are a positive number, alpha goes from 0 to 4: {USAGE}")

    @classmethod
    def parse(cls, text: str) -> MixedBudget:
        """Read ``mixed:BYTES`` or ``mixed:BYTES:dims[:ALPHA[:pow2]]``."""
        found = re.fullmatch(r"mixed:([\d.]+)(?:(:dims)(?::([\d.]+)(:pow2)?)?)?", text)
        try:
            if found is None:
                raise ValueError
            alpha = {"alpha": float(found[3])} if found[3] else {}
            return cls(float(found[1]), bool(found[2]), power_of_two=bool(found[4]), **alpha)
        except ValueError:
            raise CodecError(f"{text!r} is no mixed codec: {USAGE}") from None

    def fit(self, x: Floats, *, seed: int = 0, dataset: Dataset | None = None) -> MixedCodec:
        """Choose a codec for each block, and train them; see `MixedSpec.fit`."""
        from vecstore.codecs.mixed.allocation import choose

        everyone = dataset or Dataset.of(as_vectors(x))
        samples = draw_samples(everyone, popularity_edges(everyone.total), seed)
        return choose(self, samples, everyone.total, seed=seed).fit(x, seed=seed, dataset=everyone)

    def __str__(self) -> str:
        dims = f":dims:{self.alpha:g}" if self.dims else ""
        return f"mixed:{self.row_bytes:g}{dims}" + (":pow2" if self.power_of_two else "")

    def __repr__(self) -> str:
        return f"plan({str(self)!r})"


@dataclass(frozen=True)
class MixedSpec:
    """Which codec the rows of each block get.

    Attributes
    ----------
    stops : tuple of int
        Where all blocks but the last end.
    codecs : tuple of CodecSpec
        One a block, as many layers in each.
    """

    stops: tuple[int, ...]
    codecs: tuple[CodecSpec, ...]

    def __post_init__(self) -> None:
        edges = (0, *self.stops)
        if len(self.codecs) != len(edges) or any(a >= b for a, b in pairwise(edges)):
            raise CodecError(f"{self}: blocks end at rising rows, and the last one takes the rest: {USAGE}")
        if len({len(spec.layers) for spec in self.codecs}) > 1:
            raise CodecError(f"{self}: either all blocks have a coarse layer, or none")

    @classmethod
    def parse(cls, text: str) -> MixedSpec:
        """Read ``CODEC@ROW+CODEC@ROW+CODEC``."""
        stops, codecs = [], []
        for number, block in enumerate(blocks := text.split("+")):
            name, at, stop = (piece.strip() for piece in block.partition("@"))
            codecs.append(codec(name))
            if bool(at) != (number < len(blocks) - 1) or (at and not (stop.isascii() and stop.isdecimal())):
                raise CodecError(f"{block!r} in {text!r}: all blocks but the last say where they end, as @ROW: {USAGE}")
            stops += [int(stop)] if at else []
        return cls(tuple(stops), tuple(codecs))

    def fit(self, x: Floats, *, seed: int = 0, dataset: Dataset | None = None) -> MixedCodec:
        """Train each block's codec on its own rows.

        Parameters
        ----------
        x : (n, d) float32
        dataset : Dataset, optional
            All rows to come; by default `x`.

        Raises
        ------
        CodecError
            A codec does not fit its rows, or a block would be empty.
        """
        everyone = dataset or Dataset.of(as_vectors(x))
        if self.stops and self.stops[-1] >= everyone.total:
            raise CodecError(f"{self}: the last block would be empty, there are {everyone.total:,} rows")
        return self.trained(draw_samples(everyone, (0, *self.stops, everyone.total), seed), everyone, seed=seed)

    def trained(self, samples: Sequence[BlockSample], dataset: Dataset, *, seed: int) -> MixedCodec:
        """Train on samples of the blocks that were drawn already."""
        codecs = [
            spec.fit(sample.train, seed=seed, rows=sample.rows, dataset=restricted(dataset, sample.first, sample.stop))
            for spec, sample in zip(self.codecs, samples, strict=True)
        ]
        return MixedCodec(self, codecs, _measured(codecs, samples))

    def __str__(self) -> str:
        ends = [f"@{stop}" for stop in self.stops] + [""]
        return "+".join(f"{spec}{end}" for spec, end in zip(self.codecs, ends, strict=True))

    def __repr__(self) -> str:
        return f"plan({str(self)!r})"


class MixedCodec:
    """Trained codecs for blocks of rows.

    Attributes
    ----------
    spec : MixedSpec
    codecs : tuple of Codec
    dimensions, model_bytes : int
    code_bytes : float
        Of a row, on average.
    layers : tuple of Layer
        Of the last block, which has most rows.
    measured : dict
        ``weighted_r2``: 1 - squared error over squared deviation from the mean, rows weighted by importance; and the
        blocks, each with its rows, codec, bytes and error; on rows that training did not see.
    """

    def __init__(self, spec: MixedSpec, codecs: Sequence[Codec], measured: dict[str, Any]) -> None:
        self.spec, self.codecs, self.measured = spec, tuple(codecs), measured
        self.dimensions, self.layers = codecs[0].dimensions, codecs[-1].layers
        self.model_bytes = sum(each.model_bytes for each in codecs)
        rows = [block["rows"] for block in measured["blocks"]]
        self.code_bytes = sum(n * each.code_bytes for n, each in zip(rows, codecs, strict=True)) / sum(rows)

    def span(self, row: int) -> tuple[Codec, int, int | None]:
        """Return the codec of a row, the first row of its block, and the first of the next one; None for no next."""
        block = bisect_right(self.spec.stops, row)
        edges = (0, *self.spec.stops, None)
        return self.codecs[block], edges[block] or 0, edges[block + 1]

    @property
    def shared(self) -> bool:
        """Whether rows share tables in any block."""
        return any(each.shared for each in self.codecs)

    def decoded(self, x: Floats) -> list[Floats]:
        """Return what each layer of the last block makes of checked vectors (n, dimensions)."""
        return self.codecs[-1].decoded(x)

    def approximate(
        self, x: ArrayLike, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None
    ) -> Floats:
        """Return what vectors (n, dimensions) of these rows become: encoded, then decoded."""
        vectors = as_vectors(x, self.dimensions)
        numbers = np.arange(len(vectors)) if rows is None else rows
        block = np.searchsorted(self.spec.stops, numbers, side="right")
        out = np.empty_like(vectors)
        for number in np.unique(block).tolist():
            here, first = np.flatnonzero(block == number), (0, *self.spec.stops)[number]
            own = None if keys is None else keys.take(here)
            out[here] = self.codecs[number].approximate(vectors[here], numbers[here] - first, own)
        return out

    def __repr__(self) -> str:
        return f"<MixedCodec {self.spec}: {self.dimensions} dimensions>"


@dataclass(frozen=True)
class BlockSample:
    """Rows of one block: to train on, to test with, and how much all of its rows matter together."""

    first: int
    stop: int
    weight: float
    train: Floats
    test: Floats

    @property
    def rows(self) -> int:
        """Rows of the block."""
        return self.stop - self.first


def popularity_edges(total: int) -> tuple[int, ...]:
    """Return where blocks begin and the last one ends: two for each power of ten."""
    stops = [round(total * 10 ** (-half / 2)) for half in range(40)]
    return (0, *reversed([stop for stop in stops if stop >= 200 or stop == total]))


def draw_samples(dataset: Dataset, edges: Sequence[int], seed: int) -> list[BlockSample]:
    """Return samples of all blocks, drawn in one pass."""
    random, chosen = np.random.default_rng(seed), []
    dimensions = next(dataset.blocks()).vectors.shape[1]
    most = max(min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * dimensions)), 256)
    for first, stop in pairwise(edges):
        rows = first + random.permutation(stop - first)[: most + TESTED_ROWS]
        held_out = min(TESTED_ROWS, len(rows) // 10)
        chosen += [np.sort(rows[held_out:]), np.sort(rows[:held_out])]
    found = dataset.take(np.sort(np.concatenate(chosen)))
    samples = []
    for (first, stop), train, test in zip(pairwise(edges), chosen[::2], chosen[1::2], strict=True):
        train = train[~np.isin(train, dataset.spared)] if len(train) > 2 * len(dataset.spared) else train
        trained, tested = (found.vectors[np.searchsorted(found.rows, rows)] for rows in (train, test))
        weight = sum(
            float(dataset.weights(np.arange(at, min(at + (1 << 20), stop))).sum()) for at in range(first, stop, 1 << 20)
        )
        trained = trained[random.permutation(len(trained))]  # training may look at the first rows only
        samples.append(BlockSample(first, stop, weight, trained, tested if len(tested) else trained))
    return samples


def restricted(dataset: Dataset, first: int, stop: int) -> Dataset:
    """Return the rows from `first` to `stop`, numbered from 0."""

    def blocks() -> Iterator[Block]:
        for block in dataset.blocks():
            low, high = np.searchsorted(block.rows, [first, stop]).tolist()
            if low < high:
                keys = None if block.keys is None else block.keys.take(np.arange(low, high))
                yield Block(block.rows[low:high] - first, block.vectors[low:high], keys)

    spared, importance = dataset.spared, dataset.importance
    return replace(
        dataset,
        total=stop - first,
        blocks=blocks,
        spared=spared[(spared >= first) & (spared < stop)] - first,
        importance=None if importance is None else importance[first:stop],
    )


def _measured(codecs: Sequence[Codec], samples: Sequence[BlockSample]) -> dict[str, Any]:
    weights = np.array([sample.weight for sample in samples])
    means = np.stack([sample.test.mean(axis=0, dtype=np.float64) for sample in samples])
    mean = (weights @ means / weights.sum()).astype(np.float32)
    blocks, lost, spread = [], 0.0, 0.0
    for fitted, sample in zip(codecs, samples, strict=True):
        error = (
            np.nan
            if fitted.shared
            else float(((fitted.approximate(sample.test) - sample.test) ** 2).sum(axis=1).mean())
        )
        deviation = float(((sample.test - mean) ** 2).sum(axis=1).mean())
        lost, spread = lost + sample.weight * error, spread + sample.weight * deviation
        more = {"relative_error": round(error / deviation, 6) if deviation > 0 and not fitted.shared else None}
        blocks.append({"rows": sample.rows, "codec": str(fitted.spec), "bytes": fitted.code_bytes, **more})
    known = np.isfinite(lost) and spread > 0
    return {"weighted_r2": round(1 - lost / spread, 6) if known else None, "blocks": blocks}
