"""Search of a store's shards on their codes: sweep, rescore, merge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import ShapeError
from vecstore.metric import Metric
from vecstore.parallel import over_items, thread_count
from vecstore.search.cellsweeping import CellSweep, cell_sweep_of
from vecstore.search.ranking import Ranking
from vecstore.search.selection import Selection, packed_bits
from vecstore.search.sweeping import Sweep, scorer_of, sweep_of
from vecstore.search.topk import TopK
from vecstore.search.trellis_sweeping import Plan, TrellisSweep, trellis_of
from vecstore.shard.cells import runs_of
from vecstore.shard.layer_distances import LayerDistances
from vecstore.shard.shard import Shard

__all__ = ["Question", "SearchResult", "find", "find_all"]

PIECE_BYTES = 2 * 1024 * 1024  # of code, times queries: less is not worth a thread of its own
PIECES_EACH = 4  # for each thread: one that wakes up late, or is held up, leaves the rest to the others
PIECE_ROWS = 1 << 23  # at most, so that what a filter takes is bounded
LEAST_CANDIDATES = 64  # of a sweep by approximate scores, however few rows are wanted
SPARSE = 64  # where a filter leaves fewer than one row in so many, they are picked out instead of swept
QUERIES_AT_ONCE = 64
RANGE_SCORES = 1 << 18  # scores that a piece of a range search may hold
RESCORED_AT_ONCE = 256
PICKED_AT_ONCE = 4096
SEEDS = 4  # rows of the coarse layer scored for each one wanted before an exact search looks for what they missed


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first.

    For one query (a vector) every field has length k; for a batch, one such row a query. k is smaller than asked
    when there are fewer rows; where one query of a batch found fewer than another (because of `min_score`), its rows
    are filled up with -1 and NaN, its keys are not.

    Attributes
    ----------
    keys : list of keys, or list of such lists
        Row numbers in a store without keys.
    rows : (k,) or (q, k) int64
    scores : (k,) or (q, k) float32
        Cosine, dot product, squared Euclidean or Hamming distance, as the metric says.
    rescored : int or (q,) int64
        Rows that were scored by the fine layer of a two-layer store.
    """

    keys: list[Any]
    rows: NDArray[np.int64]
    scores: Floats
    rescored: Any

    def each(self) -> list[SearchResult]:
        """Return the result of each query of a batch by itself, without what rows were filled up with."""
        sizes = (self.rows >= 0).sum(axis=1).tolist()
        return [
            SearchResult(keys, rows[:size], scores[:size], int(rescored))
            for keys, rows, scores, rescored, size in zip(
                self.keys, self.rows, self.scores, self.rescored, sizes, strict=True
            )
        ]


@dataclass(frozen=True)
class Question:
    """What is asked of a store, apart from the queries.

    Attributes
    ----------
    metric : {"cosine", "dot", "l2", "hamming"}
    selection : Selection
    least : float
        Rows that score less (a distance has its sign changed) do not count; -inf for no such limit.
    oversample : int
        Of a two-layer store: rows rescored for each one wanted; 0 for the coarse scores as they are.
    exact : bool
        Of a two-layer store: find exactly what a scan of the fine layer would.
    nprobe : int or None
        Of a store with cells: how many, the nearest ones, are looked into; None for all.
    plan : Plan or None
        Sweep `tcq` codes where they lie; None: decode them.
    """

    metric: Metric | Literal["hamming"]
    selection: Selection
    least: float
    oversample: int
    exact: bool
    nprobe: int | None = None
    plan: Plan | None = None

    @property
    def queries_at_once(self) -> int:
        """How many queries share a sweep: one, where each looks into cells of its own."""
        return QUERIES_AT_ONCE if self.nprobe is None else 1


def find(
    shards: Sequence[Shard], edges: Sequence[int], queries: Floats, k: int, asked: Question
) -> tuple[TopK, NDArray[np.int64]]:
    """Return the best k rows for each query (q, d), in the metric's scores, larger being better; and rows rescored."""
    together = asked.queries_at_once
    if 0 < len(queries) <= together:
        return _find_at_once(shards, edges, queries, k, asked)
    best, rescored = TopK(len(queries), k), np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), together):
        part = slice(start, start + together)
        found, rescored[part] = _find_at_once(shards, edges, queries[part], k, asked)
        best.scores[part], best.rows[part], best.sizes[part] = found.scores, found.rows, found.sizes
    return best, rescored


def _find_at_once(
    shards: Sequence[Shard], edges: Sequence[int], queries: Floats, k: int, asked: Question
) -> tuple[TopK, NDArray[np.int64]]:
    rows = edges[len(shards)]
    if asked.plan is not None:
        asked = replace(asked, plan=asked.plan.finding(k + asked.selection.left_out, rows))
    search = Search(shards, edges, queries, asked, wanted=k)
    floors = search.ranking.floors(asked.least)
    least = min(k, rows - asked.selection.left_out)
    if not asked.oversample:
        found = search.candidates(k, floors, least)
    elif asked.exact:
        found = search.exact(k, floors, min(k * SEEDS, rows))
    else:
        wanted = max(k * asked.oversample, 0 if asked.plan is None else LEAST_CANDIDATES)
        candidates = search.candidates(min(wanted, rows), np.full(len(floors), -np.inf), least, ordered=False)
        found = search.fine(candidates.rows, k)
        if asked.least > -np.inf:
            found = found.least(floors)
    found.scores = search.ranking.final(found.scores)
    found.rows = search.numbered(found.rows)
    return found, search.rescored


def find_all(
    shards: Sequence[Shard], edges: Sequence[int], queries: Floats, asked: Question
) -> list[tuple[NDArray[np.float64], NDArray[np.int64], int]]:
    """Return the scores and rows of all that reach `asked.least`, best first, and rows rescored, for each query."""
    found = []
    for start in range(0, len(queries), asked.queries_at_once):
        search = Search(shards, edges, queries[start : start + asked.queries_at_once], asked)
        floors = search.ranking.floors(asked.least)
        each = search.all_fine(floors) if asked.oversample else search.within(floors)
        for query, (raw, rows) in enumerate(each):
            order = np.lexsort((rows, -raw))
            scores = raw[order] * search.ranking.slope + search.ranking.shifts[query]
            found.append((scores, search.numbered(rows[order]), int(search.rescored[query])))
    return found


class Search:
    """A batch of queries against the shards of a store.

    Rows are positions in here: `numbered` gives their numbers.

    Parameters
    ----------
    shards : sequence of Shard
    edges : sequence of int
        First row of each shard in the store.
    queries : (q, d) float32
        One, where `asked.nprobe` says how many cells it looks into.
    asked : Question
    wanted : int
        Rows for each query, that a plan has to find.
    """

    def __init__(
        self, shards: Sequence[Shard], edges: Sequence[int], queries: Floats, asked: Question, *, wanted: int = 1
    ) -> None:
        self._shards, self._edges, self._selection = shards, edges, asked.selection
        self._queries, self._asked, self._plan, self._wanted = queries, asked, asked.plan, wanted
        self.ranking = Ranking.of(asked.metric, queries, unit_rows=shards[0].prefix is not None)
        self.rescored = np.zeros(len(queries), np.int64)
        self._probed = None if asked.nprobe is None else [self._near(shard, asked.nprobe) for shard in shards]

    def _near(self, shard: Shard, nprobe: int) -> NDArray[np.int64]:
        """Return the positions of the rows in the cells nearest to the query; all of them in a shard without cells."""
        if shard.cells is None:
            return np.arange(shard.rows)
        return shard.cells.nearest(self.ranking.queries[0], nprobe, by_product=self.ranking.raw == "product")

    def numbered(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the rows at positions of the store, -1 for -1, in the same shape."""
        if all(shard.order is None for shard in self._shards):
            return places
        rows = places.copy()
        for shard, first, end in zip(self._shards, self._edges, self._edges[1:], strict=False):
            inside = (places >= first) & (places < end)
            if shard.order is not None:
                rows[inside] = shard.order.rows(places[inside] - first) + first
        return rows

    def candidates(self, k: int, floors: NDArray[np.float64], least: int, *, ordered: bool = True) -> TopK:
        """Return what `coarse` does, but at least so many rows of each query, where they reach the floors.

        Limits of first bytes that were measured with other queries can be too high for one: all bytes are swept then.
        """
        found = self.coarse(k, floors, ordered=ordered)
        few = np.flatnonzero(found.sizes < least)
        if len(few) and self._plan is not None and self._plan.sizes:
            asked = replace(self._asked, plan=Plan())
            again = Search(self._shards, self._edges, self._queries[few], asked, wanted=self._wanted)
            whole = again.coarse(k, floors[few])
            for at, query in enumerate(few.tolist()):
                found.set(query, whole.of(at))
        return found

    def coarse(self, k: int, floors: NDArray[np.float64], *, ordered: bool = True) -> TopK:
        """Return the best k rows by the coarse layer whose raw scores reach the floors (q,), best first if ordered."""
        sweeps = [self._sweep(shard) for shard in self._shards]
        # A thread goes on with its heaps from piece to piece, and all raise the same floors. But what a sweep of first
        # bytes loses depends on the rows that went into the heaps before.
        heaps: dict[tuple[int, int], TopK] = {}
        raised, by_piece = floors.copy(), self._plan is not None and bool(self._plan.sizes)

        def over(piece: tuple[int, int, int]) -> None:
            number, start, stop = piece
            mine = start if by_piece else threading.get_ident(), number
            if mine not in heaps:
                heaps[mine] = TopK(len(floors), k)
            self._over(sweeps[number], number, start, stop, heaps[mine], raised)

        over_items(over, self._pieces(sweeps))
        if len(heaps) == 1 and len(sweeps) == 1:
            (only,) = heaps.values()
            if ordered:
                only.sort()
            return only
        best = TopK(len(floors), k)
        for (_, number), found in heaps.items():
            best.merge(found, first=self._edges[number])
        return best

    def within(self, floors: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Return all raw scores that reach the floors (q,), by the coarse layer, and their rows, for each query."""
        found: list[list[tuple[NDArray[np.float64], NDArray[np.int64]]]] = [[] for _ in floors]
        collecting = threading.Lock()

        def take(number: int, best: TopK) -> None:
            with collecting:
                for query, size in enumerate(best.sizes):
                    rows = best.rows[query, :size] + self._edges[number]
                    found[query].append((best.scores[query, :size].copy(), rows))

        self._in_pieces(floors, take)
        return [tuple(np.concatenate(both) for both in zip(*pieces, strict=True)) for pieces in found]  # type: ignore[misc]

    def all_fine(self, floors: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Return all raw scores that reach the floors (q,), by the fine layer, and their rows, for each query."""
        found: list[list[tuple[NDArray[np.float64], NDArray[np.int64]]]] = [[] for _ in floors]
        scorers, collecting = [self._scorer(shard) for shard in self._shards], threading.Lock()

        def take(number: int, best: TopK) -> None:
            residuals = self._residuals(number)
            for query, size in enumerate(best.sizes):
                rows = np.sort(best.rows[query, :size])
                order = np.argsort(best.rows[query, :size])
                bounds = self.ranking.bound(query, best.scores[query, :size][order], residuals.of(rows))
                rows = rows[bounds >= floors[query]]
                scores = scorers[number].of_rows(query, rows)
                kept = scores >= floors[query]
                with collecting:
                    self.rescored[query] += len(rows)
                    found[query].append((scores[kept], rows[kept] + self._edges[number]))

        self._in_pieces(self.ranking.reaching(floors, self._largest_residual()), take)
        return [tuple(np.concatenate(both) for both in zip(*pieces, strict=True)) for pieces in found]  # type: ignore[misc]

    def exact(self, k: int, floors: NDArray[np.float64], seeds: int) -> TopK:
        """Return the best k rows by the fine layer, provably: no row is passed over that its bound lets in.

        The best `seeds` rows of the coarse layer are scored first, for a threshold to start with.
        """
        seeded = self.coarse(seeds, np.full(len(floors), -np.inf)).rows
        best = self.fine(seeded, k)
        scorers = [self._scorer(shard) for shard in self._shards]
        thresholds, merging = (
            np.maximum(floors, np.where(best.sizes == k, best.scores[:, -1], -np.inf)),
            threading.Lock(),
        )

        def take(number: int, found: TopK) -> None:
            residuals, first = self._residuals(number), self._edges[number]
            for query, size in enumerate(found.sizes):
                rows = found.rows[query, :size]
                fresh = ~np.isin(rows + first, seeded[query])
                rows, scores = rows[fresh], found.scores[query, :size][fresh]
                bounds = self.ranking.bound(query, scores, residuals.of(rows))
                order = np.argsort(-bounds, kind="stable")
                rows, bounds = rows[order], bounds[order]
                for at in range(0, len(rows), RESCORED_AT_ONCE):
                    if bounds[at] < thresholds[query]:
                        break
                    some = rows[at : at + RESCORED_AT_ONCE]
                    some = some[bounds[at : at + RESCORED_AT_ONCE] >= thresholds[query]]
                    new = TopK(1, min(k, len(some)))
                    new.put(0, scorers[number].of_rows(query, some), some + first)
                    with merging:
                        self.rescored[query] += len(some)
                        own = best.of(query)
                        own.merge(new)
                        best.set(query, own)
                        if own.sizes[0] == k:
                            thresholds[query] = max(thresholds[query], own.scores[0, -1])

        self._in_pieces(self.ranking.reaching(thresholds, self._largest_residual()), take)
        return best.least(floors)

    def _residuals(self, number: int) -> LayerDistances:
        found = self._shards[number].layer_distances
        if found is None:
            raise ShapeError(
                f"{self._shards[number].path} does not keep how far its layers lie apart, which exact scores need: "
                "convert the dump again, or search with rescore= and without exact="
            )
        return found

    def _largest_residual(self) -> float:
        return max(self._residuals(number).largest for number in range(len(self._shards)))

    def _in_pieces(self, floors: NDArray[np.float64], take: Callable[[int, TopK], None]) -> None:
        """Hand over all rows of the coarse layer that reach the floors (q,), piece by piece, with the shard."""
        sweeps = [self._sweep(shard) for shard in self._shards]
        step = max(RANGE_SCORES // len(floors) // 32, 1) * 32
        pieces = [
            (number, start, min(start + step, rows))
            for number, rows in enumerate(self._sweepable)
            for start in range(0, rows, step)
        ]

        def over(piece: tuple[int, int, int]) -> None:
            number, start, stop = piece
            found = TopK(len(floors), stop - start)
            self._over(sweeps[number], number, start, stop, found, floors.copy())
            take(number, found)

        over_items(over, pieces)

    def fine(self, candidates: NDArray[np.int64], k: int) -> TopK:
        """Return the best k of candidates (q, n), -1 for none, by the fine layer."""
        best = TopK(len(candidates), min(k, candidates.shape[1]))
        scorers = [self._scorer(shard) for shard in self._shards]

        def score(query: int) -> None:
            rows = np.sort(candidates[query][candidates[query] >= 0])
            scores = np.empty(len(rows))
            cuts = np.searchsorted(rows, [*self._edges[: len(scorers)], self._edges[len(scorers)]])
            for scorer, first, low, high in zip(scorers, self._edges, cuts[:-1], cuts[1:], strict=False):
                if low < high:
                    scores[low:high] = scorer.of_rows(query, rows[low:high] - first)
            best.put(query, scores, rows)
            self.rescored[query] += len(rows)

        if len(candidates) == 1:
            score(0)
        else:
            over_items(score, range(len(candidates)))
        return best

    @property
    def _sweepable(self) -> list[int]:
        """How many rows of each shard are looked at."""
        return [shard.rows for shard in self._shards] if self._probed is None else [len(p) for p in self._probed]

    def _over(self, sweep: Sweep, number: int, start: int, stop: int, best: TopK, floors: NDArray[np.float64]) -> None:
        """Sweep rows of a shard (of those probed, where not all are), or score single ones where few are selected."""
        if self._probed is not None:
            chosen = self._probed[number][start:stop]
            if not self._selection.everything:
                chosen = chosen[self._selected(number, chosen)]
            elif isinstance(sweep, (CellSweep, TrellisSweep)):
                for first, last in runs_of(chosen):
                    sweep.over(first, last, best, floors=floors, allowed=self._selection.bits(0, 0))
                return
            self._pick(sweep, chosen, best, floors)
            return
        if self._selection.everything:
            sweep.over(start, stop, best, floors=floors, allowed=self._selection.bits(0, 0))
            return
        selected = self._selected(number, np.arange(start, stop))
        if np.count_nonzero(selected) * SPARSE >= stop - start:
            allowed = np.zeros(-(-stop // 32), np.uint32)
            allowed[start // 32 :] = packed_bits(selected)
            sweep.over(start, stop, best, floors=floors, allowed=allowed)
            return
        self._pick(sweep, np.flatnonzero(selected) + start, best, floors)

    def _selected(self, number: int, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the rows at these positions, consecutive ones unless cells are probed, may be found."""
        order, first = self._shards[number].order, self._edges[number]
        if order is None and self._probed is None:
            return self._selection.mask(first + int(places[0]), len(places))
        return self._selection.mask_of((places if order is None else order.rows(places)) + first)

    @staticmethod
    def _pick(sweep: Sweep, chosen: NDArray[np.int64], best: TopK, floors: NDArray[np.float64]) -> None:
        """Score single rows."""
        from vecstore.kernels.heap import offer_all

        for at in range(0, len(chosen), PICKED_AT_ONCE):
            rows = chosen[at : at + PICKED_AT_ONCE]
            found = sweep.scores(sweep.codes.gather(rows), rows)
            offer_all(np.ascontiguousarray(found), rows, best.heap(floors))

    def _sweep(self, shard: Shard) -> Sweep:
        if self._plan is not None:
            return self._by_plan[shard]
        choose = sweep_of if shard.cells is None else cell_sweep_of
        return choose(shard.layers[0], self.ranking, shard.coarse_lengths, self._row_lengths(shard))

    def _scorer(self, shard: Shard) -> Sweep:
        if self._plan is not None:
            return self._by_plan[shard]
        return scorer_of(shard.layers[-1], self.ranking, self._row_lengths(shard))

    @cached_property
    def _by_plan(self) -> dict[Shard, TrellisSweep]:
        """What sweeps the shards by the plan, and scores single rows."""
        assert self._plan is not None
        found = {
            shard: TrellisSweep(trellis, self.ranking, self._plan, wanted=self._wanted)
            for shard in self._shards
            if (trellis := trellis_of(shard)) is not None
        }
        TrellisSweep.share_limits([*found.values()])
        return found

    @staticmethod
    def _row_lengths(shard: Shard) -> Any:
        return shard.lengths if shard.norms is not None and shard.prefix is None else None

    def _pieces(self, sweeps: Sequence[Sweep]) -> list[tuple[int, int, int]]:
        """Cut the rows of all shards into (shard, start, stop) for as many threads as are worth it."""
        sizes = zip(sweeps, self._sweepable, strict=True)
        work = [max(rows * sweep.codes.layer.code_bytes, 1) for sweep, rows in sizes]
        threads = thread_count()
        # A sweep by first bytes knows the better what matters the more rows it has seen.
        pieces_each = PIECES_EACH if self._plan is None or not self._plan.sizes else 1
        shares = threads * pieces_each if threads > 1 else 1
        each = max(sum(work) // shares, PIECE_BYTES // len(self.ranking.queries), 1)
        pieces = []
        for number, (sweep, rows) in enumerate(zip(sweeps, self._sweepable, strict=True)):
            count = max(1 if sweep.threaded else round(work[number] / each), -(-rows // PIECE_ROWS), 1)
            step = max(-(-rows // (32 * count)) * 32, 32)
            pieces += [(number, start, min(start + step, rows)) for start in range(0, rows, step)]
        return pieces
