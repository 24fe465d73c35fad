"""A batch of queries against the sections of a snapshot: scanned in pieces by all threads, and single rows scored.

Strategies are written in terms of this; rows are positions in here, counted through all sections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.ranges import Ranges, divided, length_of, rows_in
from vecstore.kernels import entries
from vecstore.parallel import over_items, over_slices, thread_count
from vecstore.search.kinds import scanner_of, scorer_of
from vecstore.search.options import SearchMetric
from vecstore.search.plan import Plan
from vecstore.search.prepared import Prepared
from vecstore.search.region import Region
from vecstore.search.sampling import LONG, SHORT, Rest, Sampled, from_likely, sample
from vecstore.search.scanner import Scanner
from vecstore.search.section import Section
from vecstore.search.selection import Selection
from vecstore.search.topk import TopK
from vecstore.search.trellis_scanner import TrellisScanner

__all__ = ["Batch"]

SHARED_BYTES = 16 * 1024 * 1024  # of code, times queries: less is scanned before another thread has woken up
PIECE_BYTES = 2 * 1024 * 1024  # the same, at least, of each piece
PIECES_EACH = 4  # for each thread: one that wakes up late, or is held up, leaves the rest to the others
PIECE_ROWS = 1 << 23  # at most, so that what a filter takes is bounded
RANGE_SCORES = 1 << 18  # scores that a piece of a range search may hold
PICKED_AT_ONCE = 4096
LEAST_SAMPLED = 128  # a scan for so many rows or more looks at a sample first; for half as many, of several queries
SCORED_AT_ONCE = 256  # rows, at least, that are worth a thread


class Piece(NamedTuple):
    """Ranges of a section's rows that one thread takes."""

    number: int
    ranges: Ranges


class Batch:
    """Queries, ready to be compared with the rows.

    Parameters
    ----------
    prepared : Prepared
    queries : (q, d) float32
    metric : {"cosine", "dot", "l2", "hamming"}
    selection, nprobe, least, scope, rest
        Which rows are looked at: see `vecstore.search.region.Region`.

    Attributes
    ----------
    ranking : Ranking
    rescored : (q,) int64
        Rows of each query that `score` has scored so far.
    """

    def __init__(
        self,
        prepared: Prepared,
        queries: Floats,
        metric: SearchMetric,
        selection: Selection,
        nprobe: int | None,
        least: int = 0,
        scope: tuple[int, int] | None = None,
        rest: Rest | None = None,
    ) -> None:
        self.prepared, self.metric, self._queries = prepared, metric, queries
        self.ranking = prepared.ranking(metric, queries)
        self.rescored = np.zeros(len(queries), np.int64)
        self._by_trellis: list[TrellisScanner] = []  # the first layer of each section, once it was scanned so
        self._region = Region(prepared, self.ranking, selection, nprobe, least, scope, rest)

    def of(self, queries: NDArray[np.int64]) -> Batch:
        """Return a batch of some of the queries."""
        own = self._region
        return Batch(
            self.prepared, self._queries[queries], self.metric, own.selection, own.nprobe, own.least, own.scope
        )

    @property
    def selection(self) -> Selection:
        """The rows that may be found."""
        return self._region.selection

    # Scanners, one a section

    def exact_scanners(self, layer: int = 0) -> list[Scanner]:
        """Return what scans a layer of each section with exact scores."""
        return [self._exact_scanner(section, layer) for section in self.prepared.sections]

    def fast_scanners(self, *, wanted: int, plan: Plan | None = None) -> list[Scanner]:
        """Return the fastest scanners of the first layer, whose scores may be approximate.

        A `plan` says how many first bytes of trellis codes are scanned, so that the best `wanted` rows are found.
        """
        if not self.prepared.scanned_by_trellis(self.metric):
            return self.exact_scanners()
        scanners = [
            TrellisScanner(trellis, self.ranking, plan or Plan(), wanted=wanted)
            for number in range(len(self.prepared.sections))
            if (trellis := self.prepared.trellis(number, 0, self.metric)) is not None
        ]
        TrellisScanner.share_limits(scanners)
        self._by_trellis = scanners
        return list(scanners)

    def scorers(self, layer: int) -> list[Scanner]:
        """Return what scores single rows of a layer of each section exactly."""
        if self._by_trellis and layer == 0:
            return list(self._by_trellis)  # scores of single rows are exact
        return [
            scorer_of(
                section.layers[layer],
                self.ranking,
                section.row_lengths(layer),
                self.prepared.trellis(number, layer, self.metric),
            )
            for number, section in enumerate(self.prepared.sections)
        ]

    def _exact_scanner(self, section: Section, layer: int) -> Scanner:
        ranking = self.ranking
        if ranking.hamming and section.keeps_lengths:  # rows were made bits when they had length one
            ranking = replace(ranking, queries=unit(ranking.queries))
        return scanner_of(section.layers[layer], ranking, section.bounds[layer], section.row_lengths(layer))

    # What is done with them

    def best(
        self,
        scanners: Sequence[Scanner],
        k: int,
        floors: NDArray[np.float64],
        *,
        ordered: bool = True,
        repeatable: bool = False,
    ) -> TopK:
        """Return the best k rows whose raw scores reach the floors (q,), best first if ordered.

        A scan that loses rows loses others, depending on which were seen before: with `repeatable` this does not
        depend on threads.
        """
        likely, rest = None, self._region.rest
        if rest is not None:  # whoever merges the parts sees whether they have enough together
            floors = np.maximum(floors, rest.thresholds)
        elif not repeatable and k * min(len(floors), 2) >= LEAST_SAMPLED:
            likely = self._likely_floors(scanners, k)
        best = from_likely(lambda own: self._best(scanners, k, own, repeatable=repeatable), floors, likely)
        if ordered:
            best.sort()
        return best

    def _best(self, scanners: Sequence[Scanner], k: int, floors: NDArray[np.float64], *, repeatable: bool) -> TopK:
        # A thread goes on with its heaps from piece to piece, and all raise the same floors.
        heaps: dict[tuple[int, int], TopK] = {}
        raised = floors.copy()

        def over(piece: Piece) -> None:
            mine = id(piece) if repeatable else threading.get_ident(), piece.number
            if mine not in heaps:
                heaps[mine] = TopK(len(floors), k)
            self._over(scanners[piece.number], piece, heaps[mine], raised)

        over_items(over, self.pieces(scanners, each=1 if repeatable else PIECES_EACH))
        for (_, number), found in heaps.items():
            found.rows = scanners[number].codes.part.rows_at(found.rows)
            if number:
                found.rows = np.where(found.rows < 0, -1, found.rows + self.prepared.edges[number])
        best, *others = heaps.values() or [TopK(len(floors), k)]
        for other in others:
            best.collect(other)
        return best

    def _likely_floors(self, scanners: Sequence[Scanner], k: int) -> NDArray[np.float64] | None:
        """Return raw scores (q,) that somewhat more than k rows are likely to reach, by a sample of the rows.

        A scan then passes over most rows that it would hold for a while: a heap of k takes in k (1 + ln(n / k)) of n.
        None where that is not worth it, or the sample was not compared with its checksums.
        """
        found = self._sample(scanners, k, SHORT)
        return None if found is None else found[1].scores.min(axis=1)

    def sampled(self, scanners: Sequence[Scanner], k: int) -> Sampled | None:
        """Return such a sample for those who look at parts of the other rows, compared with its checksums first."""
        found = self._sample(scanners, k, LONG, check=True)
        return None if found is None else Sampled.of(*found, k)

    def _sample(
        self, scanners: Sequence[Scanner], k: int, run: int, *, check: bool = False
    ) -> tuple[Ranges, TopK] | None:
        if len(scanners) != 1 or self._region.picked(0) is not None or self.prepared.sections[0].cells is not None:
            return None
        part = scanners[0].codes.part
        found = sample(self._region.of(scanners[0], 0), k, run)
        if found is None or part.encoding is not None:
            return None
        some, rank = found
        if not part.are_checked(some):
            if not check:
                return None
            part.check_rows(rows_in(some))
        best = TopK(len(self.ranking.queries), rank)
        self._over(scanners[0], Piece(0, some), best, np.full(len(best.sizes), -np.inf))
        best.rows = part.rows_at(best.rows)
        return (some, best) if (best.sizes == rank).all() else None

    def reaching(
        self, scanners: Sequence[Scanner], floors: NDArray[np.float64], take: Callable[[int, TopK], None]
    ) -> None:
        """Hand over all rows whose raw scores reach the floors (q,), piece by piece, with the section."""
        step = max(RANGE_SCORES // len(floors) // 32, 1) * 32
        pieces = [
            Piece(number, some)
            for number, scanner in enumerate(scanners)
            for some in divided(self._region.of(scanner, number), step)
        ]

        def over(piece: Piece) -> None:
            found = TopK(len(floors), length_of(piece.ranges))
            self._over(scanners[piece.number], piece, found, floors.copy())
            found.rows = scanners[piece.number].codes.part.rows_at(found.rows)
            take(piece.number, found)

        over_items(over, pieces)

    def score(self, candidates: NDArray[np.int64], k: int, scorers: Sequence[Scanner]) -> TopK:
        """Return the best k of candidates (q, n), -1 for none, by exact scores."""
        best = TopK(len(candidates), min(k, candidates.shape[1]))
        candidates = np.sort(candidates, axis=1)
        indptr, rows, scores = self._scored(candidates, scorers)
        entries.offer_listed(scores, rows, indptr, best.heap(np.full(len(candidates), -np.inf)))
        best.sort()
        return best

    def exact(self, candidates: NDArray[np.int64], scorers: Sequence[Scanner]) -> NDArray[np.float64]:
        """Return the exact scores of candidates (q, n), -1 for none: (q, n), -inf there."""
        order = np.argsort(candidates, axis=1)
        rows, found = np.take_along_axis(candidates, order, axis=1), np.full(candidates.shape, -np.inf)
        found[rows >= 0] = self._scored(rows, scorers)[2]
        exact = np.empty_like(found)
        np.put_along_axis(exact, order, found, axis=1)
        return exact

    def _scored(
        self, candidates: NDArray[np.int64], scorers: Sequence[Scanner]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows among candidates (q, n), sorted, and exact scores; those of query q from indptr[q] on."""
        if len(candidates) == 1:
            rows = candidates[0, int(np.searchsorted(candidates[0], 0)) :]
            indptr = np.array([0, len(rows)])
        else:
            there, indptr = candidates >= 0, np.zeros(len(candidates) + 1, np.int64)
            np.cumsum(there.sum(axis=1), out=indptr[1:])
            rows = candidates[there]
        self.rescored += indptr[1:] - indptr[:-1]
        return indptr, rows, self._scores(indptr, rows, scorers)

    def _scores(
        self, indptr: NDArray[np.int64], rows: NDArray[np.int64], scorers: Sequence[Scanner]
    ) -> NDArray[np.float64]:
        """Return exact scores of rows for query q, where indptr[q] <= i < indptr[q + 1]: (n,)."""
        edges, out = self.prepared.edges, np.empty(len(rows))
        if len(scorers) == 1:
            slots = scorers[0].codes.part.slots_of(rows)

            def score_some(part: slice) -> None:
                own = indptr if part.stop - part.start == len(rows) else indptr.clip(part.start, part.stop)
                scorers[0].score(own, slots, out)

            over_slices(score_some, len(rows), at_least=SCORED_AT_ONCE)
            return out
        sections = np.searchsorted(edges, rows, side="right") - 1
        order = np.argsort(sections, kind="stable")  # section by section, and query by query
        cuts = np.searchsorted(sections[order], np.arange(len(edges)))

        def score(number: int) -> None:
            own = order[cuts[number] : cuts[number + 1]]
            found, slots = np.empty(len(own)), scorers[number].codes.part.slots_of(rows[own] - edges[number])
            scorers[number].score(np.searchsorted(own, indptr), slots, found)
            out[own] = found

        over_items(score, np.flatnonzero(np.diff(cuts)).tolist())
        return out

    def _over(self, scanner: Scanner, piece: Piece, best: TopK, floors: NDArray[np.float64]) -> None:
        """Scan rows of a section, or score them one by one where they are picked out."""
        picked = self._region.picked(piece.number)
        if picked is not None:
            some = picked[slice(*piece.ranges[0].tolist())]
            _pick(scanner, scanner.codes.part.slots_of(some), best, floors)
        else:
            allowed = self._region.selection.bits(piece.number, scanner.codes.part)
            scanner.over(piece.ranges, best, floors=floors, allowed=allowed)

    def pieces(self, scanners: Sequence[Scanner], *, each: int = PIECES_EACH) -> list[Piece]:
        """Cut the rows of all sections into pieces, `each` for every thread that is worth it."""
        looked_at = [self._region.of(scanner, number) for number, scanner in enumerate(scanners)]
        rows = list(map(length_of, looked_at))
        queries = len(self.ranking.queries)
        if len(rows) == 1 and 0 < rows[0] * scanners[0].codes.layer.code_bytes * queries < SHARED_BYTES:
            return [Piece(0, looked_at[0])]  # what follows gives the same, and takes as long as scanning 1,000 rows
        work = [max(some * scanner.codes.layer.code_bytes, 1) for some, scanner in zip(rows, scanners, strict=True)]
        threads = thread_count() if sum(work) * queries >= SHARED_BYTES else 1
        shares = threads * each if threads > 1 else 1
        size = max(sum(work) // shares, PIECE_BYTES // queries, 1)
        pieces = []
        for number, (scanner, ranges) in enumerate(zip(scanners, looked_at, strict=True)):
            count = max(1 if scanner.threaded else round(work[number] / size), -(-rows[number] // PIECE_ROWS), 1)
            step = max(-(-rows[number] // (32 * count)) * 32, 32)
            cut = [ranges] if 0 < rows[number] <= step else divided(ranges, step)
            pieces += [Piece(number, some) for some in cut]
        return pieces


def _pick(scanner: Scanner, slots: NDArray[np.int64], best: TopK, floors: NDArray[np.float64]) -> None:
    """Score single rows for all queries."""
    for at in range(0, len(slots), PICKED_AT_ONCE):
        some = slots[at : at + PICKED_AT_ONCE]
        listed, indptr = np.tile(some, len(floors)), np.arange(len(floors) + 1) * len(some)
        found = np.empty(len(listed))
        scanner.score(indptr, listed, found)
        entries.offer_listed(found, listed, indptr, best.heap(floors))
