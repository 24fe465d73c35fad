"""Search a snapshot's rows: options and queries in, the best rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.container.ranges import without
from vecstore.parallel import over_items, thread_count
from vecstore.search.batch import Batch
from vecstore.search.candidates import Candidates
from vecstore.search.explain import explain
from vecstore.search.options import SearchMetric, SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.request import Request
from vecstore.search.resolve import cells_to_probe, resolve_range
from vecstore.search.sampling import Rest, Share
from vecstore.search.single import known_single, note_single
from vecstore.search.strategy import Strategy
from vecstore.search.topk import TopK

__all__ = ["best_of", "decided", "find", "find_all", "find_candidates", "sampled", "score_rows"]

QUERIES_AT_ONCE = 64
LEAST_TOGETHER = 8  # queries, of which kernels gain by taking them together
FEW_BYTES = 16 * 1024 * 1024  # of code: scanning them again costs less than making a query's tables again


def find(
    prepared: Prepared, queries: Floats, k: int, options: SearchOptions, least: float
) -> tuple[TopK, NDArray[np.int64]]:
    """Return the best k rows of each query, and how many rows were rescored.

    Parameters
    ----------
    prepared : Prepared
    queries : (q, d) float32
    k : int
    options : SearchOptions
    least : float
        What a row has to score; that of the options, unless scores are calibrated.

    Returns
    -------
    TopK
        In the metric's scores, larger being better: a distance has its sign changed.
    (q,) int64
    """
    request, alone = Request(prepared, options, k, len(queries)), len(queries) == 1 and least == -np.inf
    single = known_single(prepared, options, request.wanted) if alone else None
    if single is not None and (selection := request.selection).listed is None:
        done = single.find(prepared, queries, selection)
        if done is not None:
            return request.left(done[0]), done[1]

    def find_at_once(some: Floats) -> tuple[TopK, NDArray[np.int64]]:
        batch = request.batch(some)
        found = request.strategy.find(batch, request.wanted, batch.ranking.floors(least))
        found.scores = batch.ranking.final(found.scores)
        found.rows = prepared.numbered(found.rows)
        if alone:
            note_single(request, batch)
        return request.left(found), batch.rescored

    if len(queries) == 1:
        return find_at_once(queries)
    best, rescored = TopK(len(queries), k), np.zeros(len(queries), np.int64)

    def find_part(part: slice) -> None:
        found, rescored[part] = find_at_once(queries[part])
        best.scores[part], best.rows[part], best.sizes[part] = found.scores, found.rows, found.sizes

    _over_queries(find_part, request)
    return best, rescored


def score_rows(prepared: Prepared, query: Floats, rows: NDArray[np.int64], metric: SearchMetric) -> NDArray[np.float64]:
    """Return the metric's scores of rows, given rising, for a query (d,): (n,), larger being better.

    They are scored where they lie, by the codes of the last layer.
    """
    batch = Batch(prepared, query[None], metric, prepared.selection(None, None), None)
    out, cuts = np.empty(len(rows)), np.searchsorted(rows, prepared.edges).tolist()
    for number, scorer in enumerate(batch.scorers(-1)):
        own = slice(cuts[number], cuts[number + 1])
        if own.start < own.stop:
            places = prepared.sections[number].positions(rows[own] - prepared.edges[number])
            out[own] = scorer.of_rows(0, places)
    return batch.ranking.final(out[None])[0]


def find_candidates(
    prepared: Prepared,
    queries: Floats,
    k: int,
    options: SearchOptions,
    least: float,
    share: Share,
) -> Candidates:
    """Return what `find` finds among the rows of a share: whoever merges those of all shares has its result."""
    request, rest = Request(prepared, options, k, len(queries)), share.rest
    strategy = request.strategy.without_plan() if share.whole else request.strategy

    def find_part(part: slice) -> Candidates:
        batch = request.batch(queries[part], share.scope, None if rest is None else rest.of(part))
        found = strategy.candidates(batch, request.wanted, batch.ranking.floors(least))
        return _decided(found, batch, strategy) if share.decide else found

    every = _of_queries(find_part, request)
    return every if rest is None else replace(every, least=every.rows.shape[1])


def sampled(
    prepared: Prepared,
    queries: Floats,
    k: int,
    options: SearchOptions,
    least: float,
    scopes: Sequence[tuple[int, int]],
) -> tuple[list[Rest], Candidates] | None:
    """Look at a sample of the rows; return what is left of each of some parts, and the sample's own candidates.

    They are not decided among. None where a sample would tell nothing, or is not worth it.
    """
    request = Request(prepared, options, k, len(queries))
    if least > -np.inf or request.nprobe is not None:
        return None
    told, found = [], []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        batch = request.batch(queries[start : start + QUERIES_AT_ONCE])
        own = request.strategy.sampled(batch, request.wanted)
        if own is None:
            return None
        told.append(own)
        found.append(Candidates(own.best.scores, own.best.rows, None, batch.rescored))
    part, thresholds = prepared.sections[0].layers[request.strategy.layer].part, [own.thresholds for own in told]
    left = [without(part.ranges_of(np.array([scope])), told[0].ranges) for scope in scopes]
    return [Rest(ranges, np.concatenate(thresholds)) for ranges in left], Candidates.stacked(found)


def decided(
    candidates: Candidates, prepared: Prepared, queries: Floats, k: int, options: SearchOptions, least: float
) -> Candidates:
    """Return candidates with the scores that decide among them."""
    request = Request(prepared, options, k, len(queries))
    strategy = request.strategy
    if strategy.decides_by is None:
        return candidates
    return _of_queries(lambda own: _decided(candidates.of(own), request.batch(queries[own]), strategy), request)


def _decided(candidates: Candidates, batch: Batch, strategy: Strategy) -> Candidates:
    layer = strategy.decides_by
    if layer is None:
        return candidates
    return replace(candidates, exact=batch.exact(candidates.rows, batch.scorers(layer)))


def best_of(
    candidates: Candidates, prepared: Prepared, queries: Floats, k: int, options: SearchOptions, least: float
) -> tuple[TopK, NDArray[np.int64]]:
    """Return what `find` does, from the candidates of all rows."""
    request = Request(prepared, options, k, len(queries))
    ranking = prepared.ranking(options.metric, queries)
    best, rescored = candidates.best(request.wanted, ranking.floors(least))
    best.scores, best.rows = ranking.final(best.scores), prepared.numbered(best.rows)
    return request.left(best), rescored


def find_all(
    prepared: Prepared, queries: Floats, options: SearchOptions, least: float
) -> list[tuple[NDArray[np.float64], NDArray[np.int64], int]]:
    """Return the scores and rows of all that score `least`, best first, and rows rescored, for each query."""
    strategy, nprobe = resolve_range(options, prepared), cells_to_probe(options, prepared)
    selection = prepared.selection(options.rows, options.exclude, options.where)
    found = []
    together = QUERIES_AT_ONCE if nprobe is None else 1
    for start in range(0, len(queries), together):
        batch = Batch(prepared, queries[start : start + together], options.metric, selection, nprobe)
        for query, (raw, rows) in enumerate(strategy.find_all(batch, batch.ranking.floors(least))):
            order = np.lexsort((rows, -raw))
            scores = raw[order] * batch.ranking.slope + batch.ranking.shifts[query]
            found.append((scores, prepared.numbered(rows[order]), int(batch.rescored[query])))
    return found


def _of_queries(function: Callable[[slice], Candidates], request: Request) -> Candidates:
    """Return the candidates of all queries, by a function of those that share a scan."""
    found: dict[int, Candidates] = {}

    def of_some(part: slice) -> None:
        found[part.start] = function(part)

    _over_queries(of_some, request)
    return Candidates.stacked([found[start] for start in sorted(found)])


def _over_queries(function: Callable[[slice], None], request: Request) -> None:
    """Call `function` with the queries that share a scan: one, where each looks into cells of its own.

    Threads share out the rows of the layer that is scanned, or the queries where rows are few: each makes what its own
    queries need, once.
    Where rows are decoded, all queries share that.
    """
    count, prepared, options = request.queries, request.prepared, request.options
    together = QUERIES_AT_ONCE if request.nprobe is None else 1
    much = prepared.scanned_bytes(request.strategy.layer) > FEW_BYTES
    if options.exact or much or explain(prepared, options.metric).decodes:
        for start in range(0, count, together):
            function(slice(start, start + together))
        return
    together = min(together, max(-(-count // thread_count()), LEAST_TOGETHER))
    over_items(function, [slice(start, start + together) for start in range(0, count, together)])
