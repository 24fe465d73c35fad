"""A batch of queries against the shards of a snapshot: scanned in pieces by all threads, and single rows scored.

Strategies are written in terms of this; rows are positions in here, counted through all shards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.kernels import entries
from vecstore.parallel import over_items, over_slices, thread_count
from vecstore.search.cell_scanner import CellScanner
from vecstore.search.kinds import scanner_of, scorer_of
from vecstore.search.options import SearchMetric
from vecstore.search.plan import Plan
from vecstore.search.prepared import Prepared
from vecstore.search.ranking import Ranking
from vecstore.search.scanner import RowLengths, Scanner
from vecstore.search.selection import Selection
from vecstore.search.topk import TopK
from vecstore.search.trellis_scanner import TrellisScanner
from vecstore.shard.cells import runs_of
from vecstore.shard.shard import Shard

__all__ = ["Batch", "Found", "joined"]

PIECE_BYTES = 2 * 1024 * 1024  # of code, times queries: less is not worth a thread of its own
PIECES_EACH = 4  # for each thread: one that wakes up late, or is held up, leaves the rest to the others
PIECE_ROWS = 1 << 23  # at most, so that what a filter takes is bounded
PICKED_BYTES = 2000  # scanning so many bytes takes as long as picking out one row
RANGE_SCORES = 1 << 18  # scores that a piece of a range search may hold
PICKED_AT_ONCE = 4096
SCORED_AT_ONCE = 256  # rows, at least, that are worth a thread

Found: TypeAlias = list[tuple[NDArray[np.float64], NDArray[np.int64]]]  # raw scores and rows of each query


class Batch:
    """Queries, ready to be compared with the rows.

    Parameters
    ----------
    prepared : Prepared
    queries : (q, d) float32
        One, where `nprobe` says into how many cells it looks.
    metric : {"cosine", "dot", "l2", "hamming"}
    selection : Selection
        The rows that may be found.
    nprobe : int or None
        Look into so many cells, the nearest ones; None for all.

    Attributes
    ----------
    ranking : Ranking
    rescored : (q,) int64
        Rows of each query that `score` has scored so far.
    """

    def __init__(
        self, prepared: Prepared, queries: Floats, metric: SearchMetric, selection: Selection, nprobe: int | None
    ) -> None:
        self.prepared, self.metric, self.selection, self.nprobe = prepared, metric, selection, nprobe
        self._queries = queries
        self.ranking = Ranking.of(metric, queries, unit_rows=prepared.shards[0].prefix is not None)
        self.rescored = np.zeros(len(queries), np.int64)
        self._by_trellis: list[TrellisScanner] = []  # the first layer of each shard, once it was scanned so
        self._rows = [self._rows_of(number) for number in range(len(prepared.shards))]

    def of(self, queries: NDArray[np.int64]) -> Batch:
        """Return a batch of some of the queries."""
        return Batch(self.prepared, self._queries[queries], self.metric, self.selection, self.nprobe)

    def numbered(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the rows at positions, -1 for -1, in the same shape."""
        shards, edges = self.prepared.shards, self.prepared.edges
        if all(shard.order is None for shard in shards):
            return positions
        rows = positions.copy()
        for shard, first, end in zip(shards, edges, edges[1:], strict=False):
            inside = (positions >= first) & (positions < end)
            if shard.order is not None:
                rows[inside] = shard.order.rows(positions[inside] - first) + first
        return rows

    # Scanners, one a shard

    def exact_scanners(self, layer: int = 0) -> list[Scanner]:
        """Return what scans a layer of each shard with exact scores."""
        return [self._exact_scanner(shard, layer) for shard in self.prepared.shards]

    def fast_scanners(self, *, wanted: int, plan: Plan | None = None) -> list[Scanner]:
        """Return the fastest scanners of the first layer, whose scores may be approximate.

        A `plan` says how many first bytes of trellis codes are scanned, so that the best `wanted` rows are found.
        """
        if not self.prepared.scanned_by_trellis(self.metric):
            return self.exact_scanners()
        scanners = [
            TrellisScanner(trellis, self.ranking, plan or Plan(), wanted=wanted)
            for number in range(len(self.prepared.shards))
            if (trellis := self.prepared.trellis(number, 0, self.metric)) is not None
        ]
        TrellisScanner.share_limits(scanners)
        self._by_trellis = scanners
        return list(scanners)

    def scorers(self, layer: int) -> list[Scanner]:
        """Return what scores single rows of a layer of each shard exactly."""
        if self._by_trellis and layer == 0:
            return list(self._by_trellis)  # scores of single rows are exact
        return [
            scorer_of(
                shard.layers[layer],
                self.ranking,
                _row_lengths(shard),
                self.prepared.trellis(number, layer, self.metric),
            )
            for number, shard in enumerate(self.prepared.shards)
        ]

    def _exact_scanner(self, shard: Shard, layer: int) -> Scanner:
        ranking = self.ranking
        if ranking.hamming and shard.norms is not None:  # rows were made bits when they had length one
            ranking = replace(ranking, queries=unit(ranking.queries))
        lengths = None if layer else shard.coarse_lengths
        return scanner_of(shard.layers[layer], ranking, lengths, _row_lengths(shard))

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
        # A thread goes on with its heaps from piece to piece, and all raise the same floors.
        heaps: dict[tuple[int, int], TopK] = {}
        raised, edges = floors.copy(), self.prepared.edges

        def over(piece: tuple[int, int, int]) -> None:
            number, start, stop = piece
            mine = start if repeatable else threading.get_ident(), number
            if mine not in heaps:
                heaps[mine] = TopK(len(floors), k)
            self._over(scanners[number], number, start, stop, heaps[mine], raised)

        over_items(over, self._pieces(scanners, each=1 if repeatable else PIECES_EACH))
        if len(heaps) == 1 and len(scanners) == 1:
            (only,) = heaps.values()
            if ordered:
                only.sort()
            return only
        best = TopK(len(floors), k)
        for (_, number), found in heaps.items():
            best.merge(found, first=edges[number])
        return best

    def reaching(
        self, scanners: Sequence[Scanner], floors: NDArray[np.float64], take: Callable[[int, TopK], None]
    ) -> None:
        """Hand over all rows whose raw scores reach the floors (q,), piece by piece, with the shard."""
        step = max(RANGE_SCORES // len(floors) // 32, 1) * 32
        pieces = [
            (number, start, min(start + step, rows))
            for number, rows in enumerate(self._scanned)
            for start in range(0, rows, step)
        ]

        def over(piece: tuple[int, int, int]) -> None:
            number, start, stop = piece
            found = TopK(len(floors), stop - start)
            self._over(scanners[number], number, start, stop, found, floors.copy())
            take(number, found)

        over_items(over, pieces)

    def score(self, candidates: NDArray[np.int64], k: int, scorers: Sequence[Scanner]) -> TopK:
        """Return the best k of candidates (q, n), -1 for none, by exact scores."""
        best = TopK(len(candidates), min(k, candidates.shape[1]))
        candidates = np.sort(candidates, axis=1)
        counts = np.count_nonzero(candidates >= 0, axis=1)
        self.rescored += counts
        indptr = np.concatenate([[0], np.cumsum(counts)])  # rows of query q: indptr[q] to indptr[q + 1]
        rows, everything = candidates[candidates >= 0], np.full(len(counts), -np.inf)
        entries.offer_listed(self._scores(indptr, rows, scorers), rows, indptr, best.heap(everything))
        best.sort()
        return best

    def _scores(
        self, indptr: NDArray[np.int64], rows: NDArray[np.int64], scorers: Sequence[Scanner]
    ) -> NDArray[np.float64]:
        """Return exact scores of rows for query q, where indptr[q] <= i < indptr[q + 1]: (n,)."""
        edges, out = self.prepared.edges, np.empty(len(rows))
        if len(scorers) == 1:
            over_slices(
                lambda part: scorers[0].score(indptr.clip(part.start, part.stop), rows, out),
                len(rows),
                at_least=SCORED_AT_ONCE,
            )
            return out
        shards = np.searchsorted(edges, rows, side="right") - 1
        order = np.argsort(shards, kind="stable")  # shard by shard, and query by query
        cuts = np.searchsorted(shards[order], np.arange(len(edges)))

        def score(number: int) -> None:
            own = order[cuts[number] : cuts[number + 1]]
            found = np.empty(len(own))
            scorers[number].score(np.searchsorted(own, indptr), rows[own] - edges[number], found)
            out[own] = found

        over_items(score, np.flatnonzero(np.diff(cuts)).tolist())
        return out

    def _near(self, shard: Shard, nprobe: int) -> NDArray[np.int64]:
        """Return the positions of the rows in the cells nearest to the query; all of them in a shard without cells."""
        if shard.cells is None:
            return np.arange(shard.rows)
        return shard.cells.nearest(self.ranking.queries[0], nprobe, by_product=self.ranking.raw == "product")

    def _rows_of(self, number: int) -> NDArray[np.int64] | None:
        """Return the positions of a shard that are looked at, sorted: in cells probed, or picked; None for all."""
        shard, selection = self.prepared.shards[number], self.selection
        if self.nprobe is not None:
            near = self._near(shard, self.nprobe)
            return near if selection.listed is None else selection.among(number, near)
        if (
            selection.listed is None
            or selection.count * PICKED_BYTES > self.prepared.rows * shard.layers[0].layer.code_bytes
        ):
            return None
        return selection.in_shard(number)

    @property
    def _scanned(self) -> list[int]:
        """How many rows of each shard are looked at."""
        shards = self.prepared.shards
        return [shard.rows if rows is None else len(rows) for shard, rows in zip(shards, self._rows, strict=True)]

    def _over(
        self, scanner: Scanner, number: int, start: int, stop: int, best: TopK, floors: NDArray[np.float64]
    ) -> None:
        """Scan rows of a shard, those that are looked at, or score them one by one where few are selected."""
        rows, selection = self._rows[number], self.selection
        if rows is None:
            scanner.over(start, stop, best, floors=floors, allowed=selection.bits(number))
        elif selection.listed is None and isinstance(scanner, (CellScanner, TrellisScanner)):
            for first, last in runs_of(rows[start:stop]):
                scanner.over(first, last, best, floors=floors, allowed=selection.bits(number))
        else:
            some = rows[start:stop]
            _pick(scanner, some if selection.listed is not None else selection.among(number, some), best, floors)

    def _pieces(self, scanners: Sequence[Scanner], *, each: int) -> list[tuple[int, int, int]]:
        """Cut the rows of all shards into (shard, start, stop), `each` for every thread that is worth it."""
        sizes = list(zip(scanners, self._scanned, strict=True))
        work = [max(rows * scanner.codes.layer.code_bytes, 1) for scanner, rows in sizes]
        threads = thread_count()
        shares = threads * each if threads > 1 else 1
        size = max(sum(work) // shares, PIECE_BYTES // len(self.ranking.queries), 1)
        pieces = []
        for number, (scanner, rows) in enumerate(sizes):
            count = max(1 if scanner.threaded else round(work[number] / size), -(-rows // PIECE_ROWS), 1)
            step = max(-(-rows // (32 * count)) * 32, 32)
            pieces += [(number, start, min(start + step, rows)) for start in range(0, rows, step)]
        return pieces


def joined(pieces: Sequence[Found]) -> Found:
    """Return what pieces of the rows gave for each query (q lists of scores and rows) as one pair for each."""
    none = np.empty(0), np.empty(0, np.int64)  # where no piece has a row that may be found
    every = [own or [none] for own in pieces]
    return [(np.concatenate([s for s, _ in own]), np.concatenate([r for _, r in own])) for own in every]


def _pick(scanner: Scanner, rows: NDArray[np.int64], best: TopK, floors: NDArray[np.float64]) -> None:
    """Score single rows for all queries."""
    for at in range(0, len(rows), PICKED_AT_ONCE):
        some = rows[at : at + PICKED_AT_ONCE]
        listed, indptr = np.tile(some, len(floors)), np.arange(len(floors) + 1) * len(some)
        found = np.empty(len(listed))
        scanner.score(indptr, listed, found)
        entries.offer_listed(found, listed, indptr, best.heap(floors))


def _row_lengths(shard: Shard) -> RowLengths | None:
    return shard.lengths if shard.norms is not None and shard.prefix is None else None
