"""Small held-out measurements that training uses to choose, and to warn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit

__all__ = ["neighbours", "overlap", "split_sample"]


def split_sample(x: Floats, *, queries: int, base: int, seed: int) -> tuple[Floats, Floats]:
    """Return disjoint random rows of `x`: at most `queries` (and a third of all) to ask with, `base` to search."""
    order = np.random.default_rng(seed).permutation(len(x))
    queries = min(queries, len(x) // 3)
    return x[order[:queries]], x[order[queries : queries + base]]


def neighbours(queries: Floats, base: Floats, k: int) -> NDArray[np.int64]:
    """Return the k rows of `base` with the largest cosine to each query, unordered: (q, k)."""
    scores = unit(queries) @ unit(base).T
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]


def overlap(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> float:
    """Return the mean share of `wanted` rows that are in `found` (recall@k)."""
    pairs = zip(found.tolist(), wanted.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))
