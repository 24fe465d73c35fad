"""Rescore: scan a layer fast, and score the best candidates exactly by the fine layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.search.batch import Batch
from vecstore.search.candidates import Candidates
from vecstore.search.strategy import Strategy
from vecstore.search.topk import TopK

__all__ = ["LEAST_CANDIDATES", "Rescore"]

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
        found = self._scanned(batch, k, ordered=False)
        return batch.score(found.rows, k, batch.scorers(self.fine)).least(floors)

    def candidates(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> Candidates:
        found = self._scanned(batch, k, ordered=True)
        exact = batch.exact(found.rows, batch.scorers(self.fine))
        return Candidates(found.scores, found.rows, exact, batch.rescored)

    def _scanned(self, batch: Batch, k: int, *, ordered: bool) -> TopK:
        wanted = min(max(k * self.factor, self.least), batch.prepared.rows)
        everything = np.full(len(batch.rescored), -np.inf)
        return batch.best(batch.fast_scanners(wanted=k), wanted, everything, ordered=ordered)
