"""Search a snapshot's rows: options and queries in, the best rows out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.search.batch import Batch
from vecstore.search.options import SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.resolve import cells_to_probe, resolve, resolve_range
from vecstore.search.selection import Selection, as_rows
from vecstore.search.topk import TopK

__all__ = ["find", "find_all"]

QUERIES_AT_ONCE = 64
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
    strategy, nprobe = resolve(options, prepared, wanted), cells_to_probe(options, prepared)
    selection = Selection(prepared.sections, prepared.edges, options.rows, None if len(few) else options.exclude)

    def find_at_once(some: Floats) -> tuple[TopK, NDArray[np.int64]]:
        batch = Batch(prepared, some, options.metric, selection, nprobe)
        found = strategy.find(batch, wanted, batch.ranking.floors(least))
        found.scores = batch.ranking.final(found.scores)
        found.rows = batch.numbered(found.rows)
        return (found.without(few).cut(k) if len(few) else found), batch.rescored

    together = _together(nprobe)
    if 0 < len(queries) <= together:
        return find_at_once(queries)
    best, rescored = TopK(len(queries), k), np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), together):
        part = slice(start, start + together)
        found, rescored[part] = find_at_once(queries[part])
        best.scores[part], best.rows[part], best.sizes[part] = found.scores, found.rows, found.sizes
    return best, rescored


def find_all(
    prepared: Prepared, queries: Floats, options: SearchOptions, least: float
) -> list[tuple[NDArray[np.float64], NDArray[np.int64], int]]:
    """Return the scores and rows of all that score `least`, best first, and rows rescored, for each query."""
    strategy, nprobe = resolve_range(options, prepared), cells_to_probe(options, prepared)
    selection = Selection(prepared.sections, prepared.edges, options.rows, options.exclude)
    together, found = _together(nprobe), []
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


def _together(nprobe: int | None) -> int:
    """Return how many queries share a scan: one, where each looks into cells of its own."""
    return QUERIES_AT_ONCE if nprobe is None else 1
