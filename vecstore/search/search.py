"""Search a snapshot's rows: options and queries in, the best rows out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.parallel import over_items, thread_count
from vecstore.search.batch import Batch
from vecstore.search.explain import explain
from vecstore.search.options import SearchMetric, SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.resolve import cells_to_probe, resolve, resolve_range
from vecstore.search.selection import as_rows
from vecstore.search.topk import TopK

__all__ = ["find", "find_all"]

QUERIES_AT_ONCE = 64
LEAST_TOGETHER = 8  # queries, of which kernels gain by taking them together
PARTS_EACH = 2  # of the queries, for each thread
FEW_BYTES = 16 * 1024 * 1024  # of code: scanning them again costs less than making a query's tables again
FEW = 16  # rows left out, for which so many more are looked for
NONE = np.empty(0, np.int64)


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
    few = _few(options, prepared.rows)
    wanted = min(k + len(few), prepared.rows)
    nprobe = cells_to_probe(options, prepared)
    strategy = resolve(options, prepared, wanted, len(queries) if nprobe is None else 1)
    selection = prepared.selection(options.rows, None if len(few) else options.exclude, options.where)

    def find_at_once(some: Floats) -> tuple[TopK, NDArray[np.int64]]:
        batch = Batch(prepared, some, options.metric, selection, nprobe, wanted)
        found = strategy.find(batch, wanted, batch.ranking.floors(least))
        found.scores = batch.ranking.final(found.scores)
        found.rows = batch.numbered(found.rows)
        return (found.without(few).cut(k) if len(few) else found), batch.rescored

    if len(queries) == 1:
        return find_at_once(queries)
    best, rescored = TopK(len(queries), k), np.zeros(len(queries), np.int64)

    def find_part(part: slice) -> None:
        found, rescored[part] = find_at_once(queries[part])
        best.scores[part], best.rows[part], best.sizes[part] = found.scores, found.rows, found.sizes

    _over_queries(find_part, len(queries), prepared, options, strategy.layer, nprobe)
    return best, rescored


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
            found.append((scores, batch.numbered(rows[order]), int(batch.rescored[query])))
    return found


def _few(options: SearchOptions, total: int) -> NDArray[np.int64]:
    """Return the rows that are left out, where they are so few that looking for as many more costs less than a mask."""
    if options.rows is not None or options.exclude is None or np.size(options.exclude) > FEW:
        return NONE
    found = as_rows(total, options.exclude, "exclude")
    return NONE if found.dtype == bool else found


def _over_queries(
    function: Callable[[slice], None],
    count: int,
    prepared: Prepared,
    options: SearchOptions,
    layer: int,
    nprobe: int | None,
) -> None:
    """Call `function` with the queries that share a scan: one, where each looks into cells of its own.

    Threads share out the rows of the layer that is scanned, or the queries where rows are few: each makes what its own
    queries need, once.
    Where rows are decoded, all queries share that.
    """
    together = QUERIES_AT_ONCE if nprobe is None else 1
    if options.exact or prepared.scanned_bytes(layer) > FEW_BYTES or _decodes(prepared, options.metric):
        for start in range(0, count, together):
            function(slice(start, start + together))
        return
    together = min(together, max(-(-count // (PARTS_EACH * thread_count())), LEAST_TOGETHER))
    over_items(function, [slice(start, start + together) for start in range(0, count, together)])


def _decodes(prepared: Prepared, metric: SearchMetric) -> bool:
    """Return whether a search by a metric decodes all rows; found out once."""
    if metric not in prepared.decoded:
        prepared.decoded[metric] = explain(prepared, metric).decodes
    return prepared.decoded[metric]
