"""How much decoded vectors differ from the originals, and which neighbours they keep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit

__all__ = ["cosines", "neighbours", "overlap", "relative_error", "split_sample", "squared_error"]


def squared_error(x: Floats, other: Floats) -> float:
    """Return the mean squared distance between rows (n, d) and others, or one other: (n, d) or (d,)."""
    return float(((x - other) ** 2).sum(axis=1).mean())


def relative_error(x: Floats, decoded: Floats, mean: Floats | None = None) -> float:
    """Return the squared error over the squared deviation from the mean (1 - R²); 0 where all rows are the same.

    `mean` is that of x (n, d) unless given.
    """
    spread = float(((x - (x.mean(axis=0) if mean is None else mean)) ** 2).sum())
    return float(((x - decoded) ** 2).sum()) / spread if spread > 0 else 0.0


def cosines(x: Floats, decoded: Floats) -> Floats:
    """Return the cosine between originals (n, d) and decoded vectors, zero vectors left out: (n or fewer,)."""
    sizes = np.linalg.norm(x, axis=1) * np.linalg.norm(decoded, axis=1)
    solid = sizes > 0
    return np.asarray(np.einsum("ij,ij->i", x, decoded)[solid] / sizes[solid])


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
