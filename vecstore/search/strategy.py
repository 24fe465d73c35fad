"""The contract of strategies: ways to find the best rows, or all rows that reach a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.search.batch import Batch
from vecstore.search.candidates import Candidates
from vecstore.search.found import Found
from vecstore.search.plan import Plan
from vecstore.search.sampling import Sampled
from vecstore.search.topk import TopK

__all__ = ["OneScan", "RangeStrategy", "Strategy"]


class OneScan(NamedTuple):
    """A scan of a layer; then so many candidates are scored exactly by another one, or by the same: none if 0.

    The `plan` is that of trellis codes.
    """

    layer: int
    candidates: int = 0
    scored_by: int = 0
    plan: Plan = Plan()


class Strategy(ABC):
    """A way to search. One knows nothing of the others; `resolve` chooses.

    Scores are raw ones (see `Ranking`), rows are positions.

    Attributes
    ----------
    layer : int
        The one that is scanned.
    """

    layer: int = 0

    @abstractmethod
    def find(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> TopK:
        """Return the best k rows of each query, best first, of those that reach the floors (q,)."""

    def candidates(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> Candidates:
        """Return what `find` decides among, of the rows in the scope of the batch."""
        best = self.find(batch, k, floors)
        return Candidates(best.scores, best.rows, None, batch.rescored)

    @property
    def decides_by(self) -> int | None:
        """The layer whose exact scores decide among candidates; None where those of the scan do."""
        return None

    def sampled(self, batch: Batch, k: int) -> Sampled | None:
        """Return what a sample of the rows tells of the scan of all; None where that is nothing."""
        return None

    def scan_of_one(self, batch: Batch, k: int) -> OneScan | None:
        """Return what `find` does for one query where that is one scan; None where it is not."""
        return None

    def without_plan(self) -> Strategy:
        """Return the strategy that passes over no row because of its first bytes."""
        return self


class RangeStrategy(Strategy):
    """A strategy that misses no row, so that it also finds all that reach a score."""

    @abstractmethod
    def find_all(self, batch: Batch, floors: NDArray[np.float64]) -> Found:
        """Return all rows of each query that reach the floors (q,), in any order."""
