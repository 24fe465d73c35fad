"""Keep the best k of scores that arrive in pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats

__all__ = ["TopK"]


class TopK:
    """The k best scores of each query and their rows, best first; equal scores in row order.

    Attributes
    ----------
    scores : (q, k) float32
        -inf where there are fewer than k.
    rows : (q, k) int64
        -1 there.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.scores = np.full((queries, k), -np.inf, np.float32)
        self.rows = np.full((queries, k), -1, np.int64)

    def offer(self, scores: Floats, rows: NDArray[np.int64]) -> None:
        """Consider scores (q, n) of rows: (n,) for all queries, or (q, n) row by row. Rows come in rising order."""
        for query in range(len(scores)):
            own = scores[query]
            better = np.flatnonzero(own > self.scores[query, -1])
            if len(better):
                of_query = rows if rows.ndim == 1 else rows[query]
                self.merge(query, own[better], of_query[better])

    def merge(self, query: int, scores: Floats, rows: NDArray[np.int64]) -> None:
        """Consider scores (n,) of rows (n,) for one query."""
        k = self.scores.shape[1]
        if len(scores) > k:
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            enough = scores >= least
            scores, rows = scores[enough], rows[enough]
        scores = np.concatenate([self.scores[query], scores])
        rows = np.concatenate([self.rows[query], rows])
        order = np.lexsort((rows, -scores))[:k]
        self.scores[query], self.rows[query] = scores[order], rows[order]
