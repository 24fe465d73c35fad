"""Cascade: the first bytes of all codes, more bytes of rows that score well by these, exact scores of the best."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vecstore.search.batch import Batch
from vecstore.search.candidates import Candidates
from vecstore.search.plan import Plan
from vecstore.search.strategy import OneScan, Strategy
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
        plan = self._plan_for(batch, k)
        if not self.factor:
            return self._scanned(batch, k, k, floors, plan)
        everything = np.full(len(floors), -np.inf)
        found = self._scanned(batch, k, self._wanted(batch, k), everything, plan)
        return batch.score(found.rows, k, batch.scorers(self.fine)).least(floors)

    def candidates(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> Candidates:
        plan = self._plan_for(batch, k)
        wanted, least = (self._wanted(batch, k), np.full(len(floors), -np.inf)) if self.factor else (k, floors)
        found = batch.best(batch.fast_scanners(wanted=k, plan=plan), wanted, least, repeatable=bool(plan.sizes))
        few = min(k, batch.selection.count) if plan.sizes else 0
        return Candidates(found.scores, found.rows, None, batch.rescored, few)

    @property
    def decides_by(self) -> int | None:
        return self.fine if self.factor else None

    def scan_of_one(self, batch: Batch, k: int) -> OneScan | None:
        plan = self.plan if self.plan.finds(k, batch.prepared.rows) else Plan()
        return OneScan(0, self._wanted(batch, k), self.fine, plan) if self.factor else None

    def without_plan(self) -> Cascade:
        return replace(self, plan=Plan())

    def _wanted(self, batch: Batch, k: int) -> int:
        return min(max(k * self.factor, self.least), batch.prepared.rows)

    def _plan_for(self, batch: Batch, k: int) -> Plan:
        """Return the plan, unless it was measured for fewer rows, or scanning all bytes takes no longer."""
        rank = k + batch.prepared.rows - batch.selection.count
        many = bool(self.factor and self.fine) and len(batch.rescored) > FEW_QUERIES
        return self.plan if self.plan.finds(rank, batch.prepared.rows) and not many else Plan()

    def _scanned(self, batch: Batch, k: int, wanted: int, floors: NDArray[np.float64], plan: Plan) -> TopK:
        """Return the best `wanted` rows by approximate scores, at least k where there are so many.

        Limits of first bytes that were measured with other queries can be too high for one: all bytes are scanned
        then.
        """
        ordered, scanners = not self.factor, batch.fast_scanners(wanted=k, plan=plan)
        found = batch.best(scanners, wanted, floors, ordered=ordered, repeatable=bool(plan.sizes))
        few = np.flatnonzero(found.sizes < min(k, batch.selection.count))
        if len(few) and plan.sizes:
            again = batch.of(few)
            whole = again.best(again.fast_scanners(wanted=k), wanted, floors[few], ordered=ordered)
            for at, query in enumerate(few.tolist()):
                found.set(query, whole.of(at))
        return found
