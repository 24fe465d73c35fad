"""How well decoded vectors agree with the originals, measured on rows that training did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.evaluation import cosines, relative_error
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.codecs.transforms.normalize import unit
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric
from vecstore.search.ranking import Raw
from vecstore.shard.certificate import Certificate

__all__ = [
    "RAW",
    "as_stored",
    "fidelity_of",
    "measure_fidelity",
]

RAW: dict[Metric, Raw] = {"cosine": "unit", "dot": "product", "l2": "squared"}


def measure_fidelity(
    codec: Codec | MixedCodec,
    held_out: Floats,
    *,
    keep_norms: bool,
    seed: int,
    rows: NDArray[np.int64] | None = None,
    keys: PackedKeys | None = None,
) -> Certificate:
    """Return what coding costs, as the beginning of a certificate.

    Parameters
    ----------
    held_out : (n, d) float32
        Rows that `codec` was not trained on (or a handful that it was, where there were too few to hold any back, or
        where rows share tables; the caller knows).
    seed : int
        Of the conversion; kept in the certificate.
    rows, keys : optional
        The numbers of these rows, and their keys, for codecs that look at them.

    Returns
    -------
    Certificate
        ``rows`` and ``seed``; ``cosine_mean``, ``cosine_p1``, ``cosine_min`` (zero vectors left out);
        ``relative_error``.
    """
    return fidelity_of(held_out, as_stored(codec, held_out, rows, keys, keep_norms=keep_norms), seed=seed)


def fidelity_of(held_out: Floats, decoded: Floats, *, seed: int) -> Certificate:
    """As `measure_fidelity`, of rows (n, d) and what they are decoded to."""
    found = cosines(held_out, decoded)
    some = found if len(found) else np.zeros(1)
    return Certificate(
        rows=len(held_out),
        seed=seed,
        cosine_mean=round(float(some.mean()), 6),
        cosine_p1=round(float(np.quantile(some, 0.01)), 6),
        cosine_min=round(float(some.min()), 6),
        relative_error=round(relative_error(held_out, decoded), 6),
    )


def as_stored(
    codec: Codec | MixedCodec,
    x: Floats,
    rows: NDArray[np.int64] | None = None,
    keys: PackedKeys | None = None,
    *,
    keep_norms: bool,
) -> Floats:
    """Return what vectors (n, d) of these rows and keys become in a store: (n, d) float32."""
    if not keep_norms:
        return codec.approximate(x, rows, keys)
    return unit(codec.approximate(unit(x), rows, keys)) * np.linalg.norm(x, axis=1, keepdims=True)
