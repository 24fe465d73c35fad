"""Merge the token vectors of an item that say nearly the same: fewer vectors, each the mean of some."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import require

__all__ = ["pooled", "pooled_counts"]


def pooled_counts(counts: NDArray[np.int64], pool: int) -> NDArray[np.int64]:
    """Return how many vectors are left of so many of each item: one of each `pool`, rounded up."""
    return -(-counts // pool)


def pooled(x: Floats, counts: NDArray[np.int64], pool: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return fewer vectors of each item, and how many each has then.

    Parameters
    ----------
    x : (T, d) float32
        The vectors of items, one item behind the other.
    counts : (n,) int64
        How many each has.
    pool : int
        How many become one, on average.

    Notes
    -----
    Vectors of an item are clustered by Ward's method on their directions. A cluster becomes the mean of its vectors, as
    long as these are on average (Clavié et al., Reducing the footprint of multi-vector retrieval, 2024, section 3).
    """
    if pool == 1:
        return x, counts
    ends, parts = np.cumsum(counts), []
    for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True):
        parts.append(_merged(x[start:end], -(-(end - start) // pool)))
    return np.concatenate([x[:0], *parts]), pooled_counts(counts, pool)


def _merged(x: Floats, wanted: int) -> Floats:
    """Return the vectors of an item as so many."""
    if len(x) <= wanted:
        return x
    hierarchy = require("scipy.cluster.hierarchy", purpose="pooling token vectors")
    clusters = hierarchy.cut_tree(hierarchy.linkage(unit(x).astype(np.float64), "ward"), wanted)[:, 0]
    sizes = np.bincount(clusters, minlength=wanted)
    sums = np.zeros((wanted, x.shape[1]), np.float32)
    np.add.at(sums, clusters, x)
    lengths = np.bincount(clusters, np.linalg.norm(x, axis=1), wanted) / sizes
    return np.asarray(unit(sums) * lengths[:, None], np.float32)
