"""Searches for one vector after another in a small store: what does not depend on the vector is made once.

10,000 rows are scanned in 30 us. Resolving options, sharing out rows and making scanners takes twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.container.ranges import Ranges
from vecstore.kernels import entries
from vecstore.search.batch import LEAST_SAMPLED, Batch
from vecstore.search.options import SearchMetric, SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.ranking import Ranking
from vecstore.search.request import Request
from vecstore.search.scanner import Scanner
from vecstore.search.topk import TopK

__all__ = ["Single", "known_single", "note_single"]

EVERY_ROW = np.empty(0, np.uint32)
MOST_KNOWN = 64  # kinds of search that are kept


@dataclass(frozen=True, eq=False)
class Single:
    """A search of all rows of a section in one piece, for one vector.

    Attributes
    ----------
    metric : {"cosine", "dot", "l2"}
    k : int
        How many rows are looked for.
    scanner : Scanner
        Of another vector.
    ranges : (n, 2) int64
        The slots that it scans.
    candidates : int
        How many rows are scored again by the same codes, exactly; 0 where scores of the scan are exact.
    """

    metric: SearchMetric
    k: int
    scanner: Scanner
    ranges: Ranges
    candidates: int

    @classmethod
    def of(cls, request: Request, batch: Batch) -> Self | None:
        """Return what goes on from a search that was done; None where rows are searched in other ways."""
        prepared, scan = request.prepared, request.strategy.scan_of_one(batch, request.wanted)
        if scan is None or request.wanted >= LEAST_SAMPLED or len(prepared.dead) or len(prepared.sections) > 1:
            return None
        layer, candidates = scan
        scanners = batch.fast_scanners(wanted=request.wanted) if candidates else batch.exact_scanners(layer)
        pieces = batch.pieces(scanners)
        if len(pieces) != 1 or scanners[0].codes.part.unchecked or scanners[0].asking(batch.ranking) is None:
            return None
        return cls(request.options.metric, request.wanted, scanners[0], pieces[0].ranges, candidates)

    def find(self, prepared: Prepared, queries: Floats) -> tuple[TopK, NDArray[np.int64]]:
        """Return what `vecstore.search.search.find` does for one vector (1, d).

        `prepared` is not kept: it keeps this, and would outlive its store in a circle.
        """
        k, part = self.k, self.scanner.codes.part
        ranking = Ranking.of(self.metric, queries, unit_rows=prepared.shards[0].prefix is not None)
        scanner = self.scanner.asking(ranking)
        assert scanner is not None  # it was asked before
        best, floors, rescored = TopK(1, self.candidates or k), np.array([-np.inf]), np.zeros(1, np.int64)
        scanner.over(self.ranges, best, floors=floors, allowed=EVERY_ROW)
        if self.candidates:
            slots = np.sort(best.rows[0, : best.sizes[0]])
            scores, indptr, best = np.empty(len(slots)), np.array([0, len(slots)]), TopK(1, k)
            scanner.score(indptr, slots, scores)
            floors[0], rescored[0] = -np.inf, len(slots)
            entries.offer_listed(scores, slots, indptr, best.heap(floors))
        best.sort()
        best.scores, best.rows = ranking.final(best.scores), prepared.numbered(part.rows_at(best.rows))
        return best, rescored


def known_single(prepared: Prepared, options: SearchOptions, k: int) -> Single | None:
    """Return what was prepared for searches like this one."""
    found: Single | None = prepared.singles.get(_key(options, k))
    return found


def note_single(request: Request, batch: Batch) -> None:
    """Prepare searches like one that was done."""
    singles, key = request.prepared.singles, _key(request.options, request.k)
    if key is not None and key not in singles:
        if len(singles) >= MOST_KNOWN:
            singles.clear()
        singles[key] = Single.of(request, batch)


def _key(options: SearchOptions, k: int) -> tuple[object, ...] | None:
    """Return what tells searches apart that are prepared; None for those that select rows, or look into cells."""
    o = options
    if o.rows is not None or o.exclude is not None or o.where is not None or o.nprobe is not None or o.exact:
        return None
    return o.metric, k, o.rescore, o.recall, o.scan_bytes
