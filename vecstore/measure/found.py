"""What a search finds of the rows that exact scores of the codes put first: nothing of what the codes have lost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.metric import Metric
from vecstore.search.ranking import Ranking, raw_scores

__all__ = ["ExactScores"]

ROUNDING = 1e-5  # of a score: sums of other lengths, in another order


class ExactScores:
    """The best scores of queries among decoded rows that come in blocks.

    Parameters
    ----------
    queries : (q, d) float32
    metric : {"cosine", "dot", "l2"}
    own : (q,) int64
        The number of the row that each query is, which it does not look for; -1 for none.
    most : int
        How many of the best are kept.
    """

    def __init__(self, queries: Floats, metric: Metric, own: NDArray[np.int64], most: int) -> None:
        self._ranking, self._own = Ranking.of(metric, queries, unit_rows=False), own
        self._best = np.full((len(queries), most), -np.inf, np.float32)

    def add(self, rows: NDArray[np.int64], vectors: Floats) -> None:
        """Look at rows: their numbers (n,), rising, and what they are decoded to, (n, d)."""
        norms = np.einsum("ij,ij->i", vectors, vectors)
        scores = raw_scores(self._ranking.raw, self._ranking.queries @ vectors.T, norms)
        at = np.minimum(np.searchsorted(rows, self._own), len(rows) - 1)
        itself = np.flatnonzero(rows[at] == self._own)
        scores[itself, at[itself]] = -np.inf
        most = self._best.shape[1]
        self._best = np.partition(np.concatenate([self._best, scores], axis=1), -most, axis=1)[:, -most:]

    def shares(
        self, found: Iterable[tuple[NDArray[np.int64], Floats]], ks: Iterable[int]
    ) -> dict[int, NDArray[np.float64]]:
        """Return which share of the best k of each query was found, (q,) for each k.

        `found` has for each query the numbers of the rows that it found, best first, and their vectors.
        """
        best = np.sort(self._best, axis=1)[:, ::-1]
        shares: dict[int, NDArray[np.float64]] = {k: np.zeros(len(best)) for k in ks}
        for query, (rows, vectors) in enumerate(found):
            others = vectors[rows != self._own[query]]
            norms = np.einsum("ij,ij->i", others, others)
            scores = raw_scores(self._ranking.raw, (others @ self._ranking.queries[query])[None], norms)[0]
            for k, share in shares.items():
                least = best[query, k - 1]
                share[query] = np.count_nonzero(scores[:k] >= least - ROUNDING * abs(least) - 1e-9) / k
        return shares
