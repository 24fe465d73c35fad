"""Scan: all rows by the exact scores of the coarse layer, or of the only one."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.search.batch import Batch
from vecstore.search.found import Found, joined
from vecstore.search.sampling import Sampled
from vecstore.search.scanner import Scanner
from vecstore.search.strategy import OneScan, RangeStrategy
from vecstore.search.topk import TopK

__all__ = ["Scan"]


@dataclass(frozen=True)
class Scan(RangeStrategy):
    """All rows by the scores of a layer, exactly; with `approximate`, of the first one by the fastest scan as it is."""

    approximate: bool = False
    layer: int = 0

    def find(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> TopK:
        return batch.best(self._scanners(batch, k), k, floors)

    def sampled(self, batch: Batch, k: int) -> Sampled | None:
        return batch.sampled(self._scanners(batch, k), k)

    def scan_of_one(self, batch: Batch, k: int) -> OneScan | None:
        return None if self.approximate else OneScan(self.layer)

    def _scanners(self, batch: Batch, k: int) -> list[Scanner]:
        return batch.fast_scanners(wanted=k) if self.approximate else batch.exact_scanners(self.layer)

    def find_all(self, batch: Batch, floors: NDArray[np.float64]) -> Found:
        found: list[Found] = [[] for _ in floors]
        collecting = threading.Lock()

        def take(number: int, best: TopK) -> None:
            with collecting:
                for query, size in enumerate(best.sizes):
                    rows = best.rows[query, :size] + batch.prepared.edges[number]
                    found[query].append((best.scores[query, :size].copy(), rows))

        batch.reaching(batch.exact_scanners(self.layer), floors, take)
        return joined(found)
