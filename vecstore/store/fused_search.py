"""Search by several fields at once: candidates of each field are scored in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, ShapeError
from vecstore.parallel import over_items
from vecstore.search.fused_result import FusedResult, filled
from vecstore.search.fusion import Found, Fused, Rrf, Weighted, fusion_of
from vecstore.search.options import SearchOptions
from vecstore.store.field_scorers import Scorer, scorer_of
from vecstore.store.field_search import RESCORE
from vecstore.store.searching import check_count, columns_of, findable, keys_of, refuse_foreign_rows
from vecstore.store.snapshot import Snapshot

__all__ = ["search_fields"]

LEAST_CANDIDATES, EACH = 100, 10  # of a field: at least, and for each row that is wanted
ROUNDS, GROWTH = 3, 8  # so often the lists are made longer, where better rows may have been missed


def search_fields(
    snapshot: Snapshot,
    queries: Mapping[str, Any],
    k: int,
    options: SearchOptions,
    *,
    fuse: Any = None,
    candidates: Any = None,
    alpha: float = 1.0,
) -> FusedResult:
    """Return the k best rows for queries by name of field; see `Store.search`."""
    _check(queries, k, options, candidates, alpha)
    refuse_foreign_rows(snapshot, options)
    allowed = findable(snapshot, options)
    names = list(queries)
    fusion = fusion_of(fuse, names)
    scorers = [scorer_of(snapshot, name, queries[name], options, allowed, alpha) for name in names]
    if not any(scorer.finds for scorer in scorers):
        told = f"search(Q, field={names[0]!r}) does"
        raise OptionError(f"token vectors find no rows in a search by fields, {told}; or ask another field beside them")
    counts = {scorer.queries for scorer in scorers}
    if len(counts) > 1 or len({scorer.single for scorer in scorers}) > 1:
        told = ", ".join(f"{one.queries} of {name!r}" for name, one in zip(names, scorers, strict=True))
        raise ShapeError(f"as many queries of every field, or one of each by itself; found {told}")
    found: list[_One] = [_One()] * counts.pop()

    def over(query: int) -> None:
        found[query] = _search(scorers, query, min(int(k), max(snapshot.living, 1)), fusion, candidates, snapshot.rows)

    over_items(over, range(len(found)))
    return _result(snapshot, names, scorers, found)


class _One:
    """What was found for one query: numbers of rows, their scores, and by field (f, k)."""

    def __init__(
        self, rows: Any = (), scores: Any = (), by_field: Any = (), certain: bool = False, seen: int = 0
    ) -> None:
        self.rows, self.scores, self.by_field, self.certain, self.seen = rows, scores, by_field, certain, seen


def _search(
    scorers: list[Scorer], query: int, k: int, fusion: Weighted | Rrf, candidates: int | None, total: int
) -> _One:
    alone = len(scorers) == 1
    count = candidates or (k if alone else max(LEAST_CANDIDATES, EACH * k))
    rounds = 1 if candidates else ROUNDS
    while True:
        rounds -= 1
        lists = [scorer.best(query, max(count, k)) for scorer in scorers]
        if alone:
            rows, scores = lists[0].rows, lists[0].scores[None]
        else:
            rows = np.unique(np.concatenate([one.rows for one in lists]))
            scores = np.full((len(scorers), len(rows)), np.nan)
            for own, scorer, one in zip(scores, scorers, lists, strict=True):
                _fill(own, scorer, query, rows, one)
        if any(scorer.approximate for scorer in scorers):
            near = fusion.best(lists, rows, scores, RESCORE * k).places
            for own, scorer in zip(scores, scorers, strict=True):
                if scorer.approximate:
                    own[near] = scorer.exactly(query, rows[near])
        best: Fused = fusion.best(lists, rows, scores, k)
        whole = any(one.complete and scorer.everything for one, scorer in zip(lists, scorers, strict=True))
        certain = best.certain or whole  # then all rows are candidates
        if certain or not rounds or count >= total or not all(one.exact for one in lists):
            return _One(rows[best.places], best.scores, scores[:, best.places], certain, len(rows))
        count *= GROWTH


def _fill(own: NDArray[np.float64], scorer: Scorer, query: int, rows: NDArray[np.int64], listed: Found) -> None:
    """Set what candidates, whose numbers rise, score in a field, of which some are listed."""
    places = np.searchsorted(rows, listed.rows)
    own[places] = listed.scores
    if not listed.complete:
        missing = np.ones(len(rows), np.bool_)
        missing[places] = False
        if missing.any():
            own[missing] = scorer.scores(query, rows[missing])


def _check(queries: Mapping[str, Any], k: Any, options: SearchOptions, candidates: Any, alpha: Any) -> None:
    if not queries or not all(isinstance(name, str) for name in queries):
        raise OptionError('queries by field are named, such as {"dense": vector, "terms": {7: 1.5}}')
    check_count("k", k)
    if candidates is not None:
        check_count("candidates", candidates)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha <= 1:
        raise OptionError(f"alpha is a number above 0, up to 1, where nothing is missed; found {alpha!r}")
    if options.calibrated or options.least > -np.inf:
        raise OptionError("a search by fields takes no min_score=, max_distance= or calibrated=: cut by found.scores")


def _result(snapshot: Snapshot, names: list[str], scorers: list[Scorer], found: list[_One]) -> FusedResult:
    alone = len(scorers) == 1
    shown = scorers[0].shown if alone else (lambda scores: np.asarray(scores, np.float32))
    width = max((len(one.rows) for one in found), default=0)
    rows = filled([one.rows for one in found], width, -1) if found else np.empty((0, 0), np.int64)
    values = filled([shown(one.scores) for one in found], width, np.nan)
    by_field = {
        name: filled([scorer.shown(one.by_field[at]) for one in found], width, np.nan)
        for at, (name, scorer) in enumerate(zip(names, scorers, strict=True))
    }
    certain: Any = np.array([one.certain for one in found], np.bool_)
    seen: Any = np.array([one.seen for one in found], np.int64)
    if scorers[0].single:
        rows, values, by_field = rows[0], values[0], {name: own[0] for name, own in by_field.items()}
        certain, seen = bool(certain[0]), int(seen[0])
    rescored = 0 if scorers[0].single else np.zeros(len(found), np.int64)
    own = partial(FusedResult, keys_of(snapshot, rows), snapshot.own(rows), values, rescored, columns_of(snapshot))
    return own(by_field=by_field, certain=certain, candidates=seen)
