"""The best k rows of each query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.kernels import entries
from vecstore.kernels.arguments import Heap

__all__ = ["TopK"]

NO_FLOORS = np.empty(0)


class TopK:
    """Scores and rows of up to k rows a query.

    Attributes
    ----------
    scores : (q, k) float64
        Larger is better; -inf where there are fewer than k.
    rows : (q, k) int64
        -1 there.
    sizes : (q,) int64
        How many there are. While rows are collected, what is filled of each row of the arrays is a heap (see
        `kernels.heap`); `merge` leaves it sorted, best first and equal scores in row order, which the heap's functions
        do not take any more.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.scores = np.empty((queries, k))
        self.rows = np.empty((queries, k), np.int64)
        self.sizes = np.zeros(queries, np.int64)
        self.scores.fill(-np.inf)
        self.rows.fill(-1)

    @property
    def k(self) -> int:
        """How many rows there may be."""
        return self.scores.shape[1]

    def heap(self, floors: NDArray[np.float64]) -> Heap:
        """Return the arrays as kernels take them, with the scores (q,) from which on rows count."""
        return Heap(self.scores, self.rows, self.sizes, floors)

    def collect(self, other: TopK) -> None:
        """Take over the best of another one into the heaps, neither being sorted."""
        found = other.rows >= 0
        indptr = np.concatenate([[0], np.cumsum(other.sizes)])
        nothing = np.full(len(indptr) - 1, -np.inf)
        entries.offer_listed(other.scores[found], other.rows[found], indptr, self.heap(nothing))

    def merge(self, *others: TopK) -> None:
        """Take over the best of others."""
        scores = np.concatenate([self.scores, *(other.scores for other in others)], axis=1)
        rows = np.concatenate([self.rows, *(other.rows for other in others)], axis=1)
        query = np.arange(len(scores))[:, None]
        order = np.lexsort((rows, -scores), axis=1)[:, : self.k]
        self.scores, self.rows = scores[query, order], rows[query, order]
        self.sizes = (self.rows >= 0).sum(axis=1)

    def sort(self) -> None:
        """Leave heaps as `merge` does."""
        entries.sort_heaps(self.heap(NO_FLOORS))

    def put(self, query: int, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Set what was found for a query: the best k of scores (n,) of rows (n,)."""
        if len(scores) > self.k:  # far fewer to sort
            kept = scores >= np.partition(scores, len(scores) - self.k)[len(scores) - self.k]
            scores, rows = scores[kept], rows[kept]
        order = np.lexsort((rows, -scores))[: self.k]
        self.scores[query, : len(order)], self.rows[query, : len(order)] = scores[order], rows[order]
        self.sizes[query] = len(order)

    def cut(self, k: int) -> TopK:
        """Return the best k of what is sorted."""
        kept = TopK(len(self.sizes), k)
        kept.scores, kept.rows, kept.sizes = self.scores[:, :k], self.rows[:, :k], np.minimum(self.sizes, k)
        return kept

    def without(self, rows: NDArray[np.int64]) -> TopK:
        """Return what is left of sorted rows without a few."""
        gone = (self.rows[:, :, None] == rows).any(axis=2)
        if not gone.any():
            return self
        order = np.argsort(gone, axis=1, kind="stable")
        kept = TopK(len(self.sizes), self.k)
        kept.scores = np.take_along_axis(np.where(gone, -np.inf, self.scores), order, axis=1)
        kept.rows = np.take_along_axis(np.where(gone, -1, self.rows), order, axis=1)
        kept.sizes = self.sizes - gone.sum(axis=1)
        return kept

    def least(self, floors: NDArray[np.float64]) -> TopK:
        """Return what reaches the floors (q,)."""
        if (floors == -np.inf).all():
            return self
        kept = TopK(len(self.sizes), self.k)
        reached = (self.scores >= floors[:, None]) & (self.rows >= 0)
        kept.scores, kept.rows = np.where(reached, self.scores, -np.inf), np.where(reached, self.rows, -1)
        kept.sizes = reached.sum(axis=1)
        return kept

    def of(self, query: int) -> TopK:
        """Return a copy for one query."""
        one = TopK(1, self.k)
        one.scores[0], one.rows[0], one.sizes[0] = self.scores[query], self.rows[query], self.sizes[query]
        return one

    def set(self, query: int, one: TopK) -> None:
        """Replace what was found for a query."""
        self.scores[query], self.rows[query], self.sizes[query] = one.scores[0], one.rows[0], one.sizes[0]
