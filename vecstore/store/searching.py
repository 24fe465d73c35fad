"""Searches of a snapshot as users see them: arrays in, keys and shown scores out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_array, as_vectors
from vecstore.errors import OptionError, ShapeError
from vecstore.search.options import SearchOptions
from vecstore.search.planned import Planned, planned
from vecstore.search.prepared import Prepared
from vecstore.search.result import SearchResult
from vecstore.search.search import find, find_all
from vecstore.search.selection import as_rows
from vecstore.search.topk import TopK
from vecstore.search.where import mask_of
from vecstore.store.columns import some_columns
from vecstore.store.own_rows import OwnRows
from vecstore.store.shown_scores import ShownScores
from vecstore.store.snapshot import Snapshot

__all__ = [
    "Finder",
    "as_queries",
    "check_count",
    "columns_of",
    "findable",
    "keys_of",
    "range_search",
    "refuse_foreign_rows",
    "result_of",
    "search",
]


Finder: TypeAlias = Callable[[Prepared, Floats, int, SearchOptions, float], tuple[TopK, NDArray[np.int64]]]


def search(
    snapshot: Snapshot, queries: ArrayLike, k: int, options: SearchOptions, *, finder: Finder = find
) -> SearchResult:
    """Return the k best rows of a query (d,), or of each of a batch (q, d); see `Store.search`.

    The `finder` does what `vecstore.search.search.find` does, perhaps elsewhere.
    """
    check_count("k", k)
    refuse_foreign_rows(snapshot, options)
    shown, given = ShownScores.of(options, snapshot), as_array(queries)
    x, wanted = as_queries(snapshot, given), min(int(k), max(snapshot.living, 1))
    best, rescored = finder(snapshot.prepared, x, wanted, options, shown.least)
    if shown.least > -np.inf or any(given is not None for given in (options.rows, options.exclude, options.where)):
        best = best.cut(int(best.sizes.max(initial=0)))
    plan = partial(planned, snapshot.prepared, x[:1].copy(), wanted, options)
    return result_of(snapshot, best, shown.shown(best.scores), rescored, plan, single=given.ndim == 1)


def range_search(snapshot: Snapshot, queries: ArrayLike, options: SearchOptions) -> SearchResult | list[SearchResult]:
    """Return all rows that reach the limit of the options; see `Store.range_search`."""
    if options.least == -np.inf:
        raise OptionError("range_search needs min_score= (cosine, dot) or max_distance= (l2, hamming)")
    refuse_foreign_rows(snapshot, options)
    shown, given = ShownScores.of(options, snapshot), as_array(queries)
    x, beside = as_queries(snapshot, given), columns_of(snapshot)
    plan = partial(planned, snapshot.prepared, x[:1].copy(), 0, options)
    results = [
        SearchResult(keys_of(snapshot, rows), snapshot.own(rows), shown.shown(scores), rescored, beside, plan)
        for scores, rows, rescored in find_all(snapshot.prepared, x, options, shown.least)
    ]
    return results[0] if given.ndim == 1 else results


def check_count(name: str, given: Any) -> None:
    """Raise `OptionError` for what is no positive whole number."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise OptionError(f"{name} is a positive whole number, found {given!r}")


def refuse_foreign_rows(snapshot: Snapshot, options: SearchOptions) -> None:
    """Raise `OptionError` for numbers and masks of the dump where rows have other numbers than there."""
    if snapshot.numbering.of_dump:
        return
    for name, given in (("rows", options.rows), ("exclude", options.exclude)):
        if given is not None and not isinstance(given, OwnRows) and np.size(given):
            known = "numbers" if snapshot.key_type is None else "keys"
            own = f"{name}=store.rows_of({known}), or rows that a search found"
            raise OptionError(snapshot.numbering.refusal(name, own))


def findable(snapshot: Snapshot, options: SearchOptions) -> NDArray[np.bool_] | None:
    """Return which rows a search may find, by number; None for all."""
    if options.rows is options.exclude is options.where is None and not snapshot.dead:
        return None
    mask = np.full(snapshot.rows, options.rows is None)
    if options.rows is not None:
        mask[as_rows(snapshot.rows, options.rows, "rows")] = True
    if options.where is not None:
        mask &= mask_of(options.where, snapshot.shards)
    if options.exclude is not None:
        mask[as_rows(snapshot.rows, options.exclude, "exclude")] = False
    mask[snapshot.dead.rows] = False
    return mask


def as_queries(snapshot: Snapshot, given: NDArray[Any]) -> Floats:
    """Return queries as checked vectors (q, d), cut to the dimensions that are read; raises `ShapeError`."""
    if given.ndim not in (1, 2):
        raise ShapeError(f"a query is a vector (d,) or a batch (q, d), found shape {given.shape}")
    x = given if given.ndim == 2 else given[None]
    if snapshot.prefix is not None and x.shape[1] == snapshot.shards[0].stored_dimensions:
        x = x[:, : snapshot.prefix]
    return as_vectors(x, snapshot.dimensions)


def result_of(
    snapshot: Snapshot,
    best: TopK,
    scores: Floats,
    rescored: NDArray[np.int64],
    plan: Callable[[], Planned] | None,
    *,
    single: bool,
) -> SearchResult:
    """Return what was found as users see it."""
    beside = columns_of(snapshot)
    if single:
        rows = best.rows[0, : int(best.sizes[0])]
        own = keys_of(snapshot, rows), snapshot.own(rows), scores[0, : len(rows)], int(rescored[0])
        return SearchResult(*own, beside, plan)
    scores[best.rows < 0] = np.nan
    return SearchResult(keys_of(snapshot, best.rows), snapshot.own(best.rows), scores, rescored, beside, plan)


def columns_of(snapshot: Snapshot) -> Callable[[NDArray[np.int64]], Any] | None:
    """Return what reads the columns of rows; None in a store without columns."""
    if not snapshot.has_columns:
        return None
    return lambda rows: some_columns(snapshot.columns, None, np.asarray(rows))


def keys_of(snapshot: Snapshot, rows: NDArray[np.int64]) -> Callable[[], list[Any]]:
    """Return what reads the keys of rows (k,), or of those of each query (q, k), -1 for none."""
    rows = rows.copy()  # users may write into theirs

    def read() -> list[Any]:
        if rows.ndim == 1:
            return list(snapshot.keys_of(rows))
        found = rows >= 0
        keys = iter(snapshot.keys_of(rows[found]))
        return [list(islice(keys, size)) for size in found.sum(axis=1).tolist()]

    return read
