"""Cascade: the first bytes of all codes, more bytes of rows that score well by these, exact scores of the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.search.batch import Batch
from vecstore.search.plan import Plan
from vecstore.search.strategy import Strategy
from vecstore.search.topk import TopK

__all__ = ["Cascade"]

FEW_QUERIES = 3  # of a batch that takes longer to scan first bytes than all of them


@dataclass(frozen=True)
class Cascade(Strategy):
    """A scan of first bytes, as the plan says; the candidates are scored exactly.

    Attributes
    ----------
    plan : Plan
    factor : int
        Oversampling; 0 for approximate scores as they are.
    least : int
        Candidates, however few rows are wanted.
    fine : int
        The layer they are scored by: 0 for all bytes of the same codes, -1 for the last one.
    """

    plan: Plan
    factor: int
    least: int
    fine: int = 0

    def find(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> TopK:
        rank = k + batch.prepared.rows - batch.selection.count
        plan = self.plan if self.plan.finds(rank, batch.prepared.rows) else Plan()
        if not self.factor:
            return self._candidates(batch, k, k, floors, plan)
        wanted = min(max(k * self.factor, self.least), batch.prepared.rows)
        if self.fine and len(floors) > FEW_QUERIES:
            plan = Plan()
        found = self._candidates(batch, k, wanted, np.full(len(floors), -np.inf), plan)
        return batch.score(found.rows, k, batch.scorers(self.fine)).least(floors)

    @staticmethod
    def _candidates(batch: Batch, k: int, wanted: int, floors: NDArray[np.float64], plan: Plan) -> TopK:
        """Return the best `wanted` rows by approximate scores, at least k where there are so many.

        Limits of first bytes that were measured with other queries can be too high for one: all bytes are scanned
        then.
        """
        found = batch.best(batch.fast_scanners(wanted=k, plan=plan), wanted, floors, repeatable=bool(plan.sizes))
        few = np.flatnonzero(found.sizes < min(k, batch.selection.count))
        if len(few) and plan.sizes:
            again = batch.of(few)
            whole = again.best(again.fast_scanners(wanted=k), wanted, floors[few])
            for at, query in enumerate(few.tolist()):
                found.set(query, whole.of(at))
        return found
