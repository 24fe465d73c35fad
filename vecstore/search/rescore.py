"""Rescore: scan a layer fast, and score the best candidates exactly by the fine layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.search.batch import Batch
from vecstore.search.candidates import Candidates
from vecstore.search.sampling import Sampled
from vecstore.search.strategy import OneScan, Strategy
from vecstore.search.topk import TopK

__all__ = ["LEAST_CANDIDATES", "LEAST_IN_ROUNDS", "Rescore"]

LEAST_IN_ROUNDS = 1500  # of candidates: so many are scored, and then those that may still be better
FURTHER = 1.5  # times the largest difference from the mean that was seen: what none of the others has
LEAST_CANDIDATES = 64  # of a scan by approximate scores, however few rows are wanted


@dataclass(frozen=True)
class Rescore(Strategy):
    """The best `factor` * k rows by a fast scan of the first layer, scored exactly.

    Attributes
    ----------
    factor : int
        Oversampling.
    fine : int
        The layer they are scored by: -1 for the last one, 0 for the one that was scanned.
    least : int
        Candidates, however few rows are wanted.
    """

    factor: int
    fine: int = -1
    least: int = 0

    def find(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> TopK:
        found, first = self._scanned(batch, k, ordered=False), k * 3 // 2
        if self.fine == 0 and LEAST_IN_ROUNDS <= first < found.k and (found.sizes == found.k).all():
            return _scored_in_rounds(batch, found, first, k).least(floors)
        return batch.score(found.rows, k, batch.scorers(self.fine)).least(floors)

    def candidates(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> Candidates:
        found = self._scanned(batch, k, ordered=True)
        return Candidates(found.scores, found.rows, None, batch.rescored)

    @property
    def decides_by(self) -> int | None:
        return self.fine

    def sampled(self, batch: Batch, k: int) -> Sampled | None:
        return batch.sampled(batch.fast_scanners(wanted=k), self._wanted(batch, k))

    def scan_of_one(self, batch: Batch, k: int) -> OneScan:
        return OneScan(0, self._wanted(batch, k), self.fine)

    def _scanned(self, batch: Batch, k: int, *, ordered: bool) -> TopK:
        everything = np.full(len(batch.rescored), -np.inf)
        return batch.best(batch.fast_scanners(wanted=k), self._wanted(batch, k), everything, ordered=ordered)

    def _wanted(self, batch: Batch, k: int) -> int:
        return min(max(k * self.factor, self.least), batch.prepared.rows)


def _scored_in_rounds(batch: Batch, found: TopK, first: int, k: int) -> TopK:
    """Return the best k of candidates by exact scores, of which few of those beyond the `first` ones are scored.

    Scores of a scan differ from exact ones by what rounding to tables of bytes loses: for the others hardly by much
    more than the most seen among the first.
    """
    scorers = batch.scorers(0)
    order = np.argpartition(-found.scores, first - 1, axis=1)
    scores, rows = np.take_along_axis(found.scores, order, axis=1), np.take_along_axis(found.rows, order, axis=1)
    exact = np.full(scores.shape, -np.inf)
    exact[:, :first] = batch.exact(rows[:, :first], scorers)
    gains = exact[:, :first] - scores[:, :first]
    mean = gains.mean(axis=1)
    most = mean + FURTHER * (gains.max(axis=1) - mean)
    reached = -np.partition(-exact[:, :first], k - 1, axis=1)[:, k - 1]
    rows[:, first:][scores[:, first:] + most[:, None] < reached[:, None]] = -1
    exact[:, first:] = batch.exact(rows[:, first:], scorers)
    best = TopK(len(rows), k)
    for query, there in enumerate(rows >= 0):
        best.put(query, exact[query, there], rows[query, there])
    return best
