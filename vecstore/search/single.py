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
from vecstore.search.plan import Plan
from vecstore.search.prepared import Prepared
from vecstore.search.request import Request
from vecstore.search.rescore import LEAST_IN_ROUNDS
from vecstore.search.sampling import SHORT, from_likely, sample
from vecstore.search.scanner import Scanner
from vecstore.search.selection import Selection
from vecstore.search.topk import TopK

__all__ = ["Single", "known_single", "note_single"]

MOST_KNOWN = 64  # kinds of search that are kept


@dataclass(frozen=True, eq=False)
class Single:
    """A search of the rows of a section in one piece, all or those in a mask, for one vector.

    Attributes
    ----------
    metric : {"cosine", "dot", "l2"}
    k : int
        How many rows are looked for.
    scanner : Scanner
        Of another vector.
    plan : Plan
        Of trellis codes: which first bytes it scans.
    ranges : (n, 2) int64
        The slots that it scans.
    sampled : (ranges, rank) or None
        Slots that are scanned before, for the score that rows have to reach: what ranks so among these.
    candidates : int
        How many rows the scan finds.
    scorer : Scanner or None
        What scores these exactly, likewise of another vector; None where scores of the scan are exact.
    """

    metric: SearchMetric
    k: int
    scanner: Scanner
    plan: Plan
    ranges: Ranges
    sampled: tuple[Ranges, int] | None
    candidates: int
    scorer: Scanner | None

    @classmethod
    def of(cls, request: Request, batch: Batch) -> Self | None:
        """Return what goes on from a search that was done; None where rows are searched in other ways."""
        scan = request.strategy.scan_of_one(batch, request.wanted)
        if scan is None or scan.candidates > LEAST_IN_ROUNDS or len(request.prepared.sections) > 1:
            return None
        if scan.candidates:
            scanners = batch.fast_scanners(wanted=request.wanted, plan=scan.plan)
            used = [scanners[0], batch.scorers(scan.scored_by)[0]]
        else:
            scanners = used = batch.exact_scanners(scan.layer)
        pieces, part = batch.pieces(scanners), scanners[0].codes.part
        if len(pieces) != 1 or part.unchecked or any(scanner.asking(batch.ranking) is None for scanner in used):
            return None
        ranges, found = pieces[0].ranges, scan.candidates or request.wanted
        return cls(
            metric=request.options.metric,
            k=request.wanted,
            scanner=scanners[0],
            plan=scan.plan,
            ranges=ranges,
            sampled=sample(ranges, found, SHORT) if found >= LEAST_SAMPLED and not scan.plan.sizes else None,
            candidates=found,
            scorer=used[1] if scan.candidates else None,
        )

    def find(self, prepared: Prepared, queries: Floats, selection: Selection) -> tuple[TopK, NDArray[np.int64]] | None:
        """Return what `vecstore.search.search.find` does for one vector (1, d), among rows that are not listed.

        None where the plan does not find as many of them. `prepared` is not kept: it keeps this, and would outlive its
        store in a circle.
        """
        left_out = prepared.rows - selection.count
        if self.plan.sizes and not self.plan.finds(self.k + left_out, prepared.rows):
            return None
        ranking = prepared.ranking(self.metric, queries)
        scanner = self.scanner.asking(ranking)
        assert scanner is not None  # it was asked before
        part, rescored = scanner.codes.part, np.zeros(1, np.int64)
        best = self._scanned(scanner, selection.bits(0, part))
        if self.plan.sizes and best.sizes[0] < min(self.k, selection.count):
            return None
        best.rows = part.rows_at(best.rows)
        if self.scorer is not None:
            scorer = scanner if self.scorer is self.scanner else self.scorer.asking(ranking)
            assert scorer is not None
            rows = np.sort(best.rows[0, : best.sizes[0]])
            scores, indptr, best = np.empty(len(rows)), np.array([0, len(rows)]), TopK(1, self.k)
            scorer.score(indptr, scorer.codes.part.slots_of(rows), scores)
            entries.offer_listed(scores, rows, indptr, best.heap(np.array([-np.inf])))
            rescored[0] = len(rows)
        best.sort()
        best.scores, best.rows = ranking.final(best.scores), prepared.numbered(best.rows)
        return best, rescored

    def _scanned(self, scanner: Scanner, allowed: NDArray[np.uint32]) -> TopK:
        def over(ranges: Ranges, k: int, floors: NDArray[np.float64]) -> TopK:
            best = TopK(1, k)
            scanner.over(ranges, best, floors=floors, allowed=allowed)
            return best

        likely = None if self.sampled is None else over(*self.sampled, np.array([-np.inf])).scores.min(axis=1)
        return from_likely(lambda own: over(self.ranges, self.candidates, own), np.array([-np.inf]), likely)


def known_single(prepared: Prepared, options: SearchOptions, k: int) -> Single | None:
    """Return what was prepared for searches like this one."""
    found: Single | None = prepared.singles.get(_key(options, k))
    return found


def note_single(request: Request, batch: Batch) -> None:
    """Prepare searches like one that was done."""
    singles, key = request.prepared.singles, _key(request.options, request.wanted)
    if key is not None and key not in singles and batch.selection.listed is None:
        if len(singles) >= MOST_KNOWN:
            singles.clear()
        singles[key] = Single.of(request, batch)


def _key(options: SearchOptions, k: int) -> tuple[object, ...] | None:
    """Return what tells searches apart that are prepared; None for those that look into cells, or are exact."""
    o = options
    if o.nprobe is not None or o.exact:
        return None
    return o.metric, k, o.rescore, o.recall, o.scan_bytes
