"""How well decoded vectors agree with the originals, measured on rows that training did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.evaluation import cosines, relative_error
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import ShapeError
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric
from vecstore.search.ranking import Raw, raw_scores
from vecstore.shard.certificate import Certificate, certificate_in

__all__ = [
    "RAW",
    "as_stored",
    "measure_fidelity",
    "measure_oversampling",
    "oversampling",
]

RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.999)  # shares of the ten nearest that the coarse layer must not hide
RAW: dict[Metric, Raw] = {"cosine": "unit", "dot": "product", "l2": "squared"}
OVERSAMPLE = 32  # where nothing was measured
SAFETY = 2  # real queries lie farther from the rows than held-out rows do


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
    decoded = as_stored(codec, held_out, rows, keys, keep_norms=keep_norms)
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


def measure_oversampling(
    codec: Codec | MixedCodec, held_out: Floats, sample: Floats, *, rows: int, metric: Metric
) -> dict[str, int]:
    """Return how many rows for each one wanted a two-layer store has to rescore, by the recall that is to be reached.

    The ten rows of `sample` that the fine layer puts nearest to each held-out row are looked for in the order of
    the coarse layer; how deep they lie there grows in proportion to the number of rows.
    """
    queries = held_out[:200]
    coarse, fine = codec.decoded(sample)
    by_coarse, by_fine = (_scores(queries, x, metric) for x in (coarse, fine))
    k = min(10, len(sample))
    nearest = np.argpartition(-by_fine, k - 1, axis=1)[:, :k]
    threshold = np.take_along_axis(by_coarse, nearest, axis=1)
    # depth[q, i]: rows that the coarse layer puts before the i-th wanted one
    depth = np.stack([(by_coarse > threshold[:, i, None]).sum(axis=1) for i in range(k)], axis=1) + 1
    needed = {recall: float(np.quantile(depth, recall)) * max(rows / len(sample), 1) * SAFETY / k for recall in RECALLS}
    return {str(recall): max(int(np.ceil(factor)), 1) for recall, factor in needed.items()}


def oversampling(descriptions: Sequence[Mapping[str, Any]], recall: float | None) -> int:
    """Return the oversampling that shards need to reach a recall, as measured when they were made.

    Parameters
    ----------
    descriptions : of the shards
    recall : float or None
        None for the highest that was measured.

    Raises
    ------
    ShapeError
        More than was measured, or no share.
    """
    if recall is not None and not 0 < recall <= RECALLS[-1]:
        raise ShapeError(f"recall is a share up to {RECALLS[-1]}, found {recall!r}; exact=True misses nothing")
    wanted = str(min(known for known in RECALLS if known >= (recall or RECALLS[-1])))
    found = []
    for description in descriptions:
        certificate = certificate_in(description)
        measured = certificate.oversampling
        factor = certificate.oversample if measured is None else measured.get(wanted)
        found += [factor] if factor else []
    return max(found, default=OVERSAMPLE)


def _scores(queries: Floats, x: Floats, metric: Metric) -> Floats:
    return raw_scores(RAW[metric], queries @ x.T, np.einsum("ij,ij->i", x, x))
