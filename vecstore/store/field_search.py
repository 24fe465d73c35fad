"""Searches of a field of a snapshot: what users give, checked, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.errors import OptionError, ShapeError
from vecstore.fields.multi.reader import MultiReader
from vecstore.fields.multi.tokens import as_items
from vecstore.search.maxsim import EVERYTHING, MaxSim
from vecstore.search.options import SearchOptions
from vecstore.search.result import SearchResult
from vecstore.search.topk import TopK
from vecstore.store.dense_field import dense_field
from vecstore.store.fields import described, kind_of, readers_of
from vecstore.store.searching import check_count, findable, refuse_foreign_rows, result_of, search
from vecstore.store.snapshot import Snapshot

__all__ = ["DENSE", "RESCORE", "FieldRequest", "maxsim_of", "queries_of", "ready_of", "search_field"]

DENSE = "dense"  # what the store's own vectors are called
RESCORE = 4  # times k rows are scored again by what their codes decode to


@dataclass(frozen=True)
class FieldRequest:
    """How a field is searched; see `vecstore.store.store.Store.search` for what each means."""

    name: str
    candidates: int | tuple[str, int] | None = None
    dense: Any = None
    vectors: int | None = None
    metric: Any = None


def search_field(
    snapshot: Snapshot, queries: Any, k: int, request: FieldRequest, options: SearchOptions
) -> SearchResult:
    """Return the k best rows by what they have in a field; see `Store.search`."""
    check_count("k", k)
    refuse_foreign_rows(snapshot, options)
    if kind_of(snapshot, request.name) == "dense":
        return _search_dense(snapshot, queries, int(k), request, options)
    _refuse_unfit(snapshot, options)
    ready = ready_of(snapshot, request.name)
    each, single = queries_of(queries, ready.dimensions)
    most = _vectors(ready, request.vectors)
    rows = _findable(snapshot, options)
    wanted = min(int(k), max(snapshot.living, 1))
    candidates = _candidates(snapshot, request, each, rows)
    best, rescored = TopK(len(each), wanted), np.zeros(len(each), np.int64)
    factor = RESCORE if options.rescore == "auto" else int(options.rescore)
    for number, query in enumerate(each):
        own = rows if candidates is None else candidates[number]
        if options.exact:
            chosen = np.arange(snapshot.rows) if own is None else own
            best.put(number, ready.exactly(query, chosen, most=most), chosen)
        else:
            scores, found, rescored[number] = ready.find(query, wanted, own, rescore=factor, most=most)
            best.put(number, scores, found)
    best = best.least(np.full(len(each), max(options.least, np.finfo(np.float64).min)))
    best = best.cut(int(best.sizes.max(initial=0)))
    return result_of(snapshot, best, np.asarray(best.scores, np.float32), rescored, None, single=single)


def _search_dense(
    snapshot: Snapshot, queries: Any, k: int, request: FieldRequest, options: SearchOptions
) -> SearchResult:
    """Return the k best rows by a dense field."""
    if any(given is not None for given in (request.candidates, request.dense, request.vectors)) or options.calibrated:
        raise OptionError("candidates=, dense= and vectors= are for token vectors, calibrated= for the store's own")
    ready = dense_field(snapshot, request.name)
    x, single = ready.queries(queries)
    asked = replace(options, metric=request.metric or ready.metric)
    best, rescored = ready.find(x, k, asked, _findable(snapshot, options))
    shown = np.asarray(-best.scores if asked.distance else best.scores, np.float32)
    return result_of(snapshot, best, shown, rescored, None, single=single)


def maxsim_of(snapshot: Snapshot, query: Any, keys: Any, name: str | None) -> Floats:
    """Return the exact scores of keys for a query (t, d): (n,) float32; see `Store.maxsim`."""
    if name is None:
        known = [field["name"] for field in described(snapshot.shards) if field["kind"] == "multi"]
        if len(known) != 1:
            raise OptionError(f"field= names token vectors; there are {', '.join(known) or 'none'}")
        (name,) = known
    ready, rows = ready_of(snapshot, name), snapshot.rows_of(keys)
    missing = np.flatnonzero(rows < 0).tolist()
    if missing:
        raise snapshot.not_found(*(keys[at] for at in missing))
    each, single = queries_of(query, ready.dimensions)
    if not single:
        raise ShapeError("maxsim takes the vectors of one query, (t, d)")
    return np.asarray(ready.exactly(each[0], rows), np.float32)


def _findable(snapshot: Snapshot, options: SearchOptions) -> NDArray[np.int64] | None:
    """Return the numbers of the rows that a search may find, rising; None for all."""
    mask = findable(snapshot, options)
    return None if mask is None else np.flatnonzero(mask)


def ready_of(snapshot: Snapshot, name: str) -> MaxSim:
    """Return a field ready to be searched, made once."""
    known = snapshot.ready.get(name)
    if not isinstance(known, MaxSim):  # two threads may both make it
        readers = readers_of(snapshot.shards, name, snapshot.path)
        there = [reader for reader in readers if reader is not None]
        of_tokens = [reader for reader in there if isinstance(reader, MultiReader)]
        if len(of_tokens) < len(there):
            raise OptionError(f"field {name!r} is {there[0].about['kind']}: search({{{name!r}: query}})")
        if len({reader.dimensions for reader in of_tokens}) > 1:
            raise OptionError(f"{snapshot.path}: shards have other dimensions in field {name!r}; search one by one")
        known = snapshot.ready[name] = MaxSim(
            [r if isinstance(r, MultiReader) else None for r in readers], snapshot.edges
        )
    return known


def queries_of(given: Any, dimensions: int) -> tuple[list[Floats], bool]:
    """Return the vectors of each query, and whether there is one query that stands alone."""
    first = given[0] if isinstance(given, (list, tuple)) and len(given) else None
    single = np.ndim(first) == 1 if first is not None else getattr(given, "ndim", 0) == 2
    try:
        items = as_items([given] if single else given)
        found = [items.of(np.array([number]), dimensions)[0] for number in range(len(items))]
    except ShapeError as error:
        raise ShapeError(f"queries: {error}") from None
    if not found or not all(map(len, found)):
        raise ShapeError("queries: each has one vector or more, (t, d); one has none")
    return found, single


def _vectors(ready: MaxSim, vectors: int | None) -> int:
    if vectors is None:
        return EVERYTHING
    if isinstance(vectors, bool) or not isinstance(vectors, (int, np.integer)) or vectors < 1:
        raise OptionError(f"vectors is a positive number of first vectors of a row, found {vectors!r}")
    if ready.pooled:
        raise OptionError("vectors: those of this field were merged (pool=), so that none of them comes first")
    return int(vectors)


def _candidates(
    snapshot: Snapshot, request: FieldRequest, queries: list[Floats], rows: NDArray[np.int64] | None
) -> list[NDArray[np.int64]] | None:
    """Return the rows, rising, that are scored for each query; None where all are."""
    if request.candidates is None:
        if request.dense is not None:
            raise OptionError("dense= is the query that finds candidates=; give both")
        return None
    name, wanted = _wanted(request.candidates)
    if name == request.name:
        ready = ready_of(snapshot, name)
        if not ready.in_cells or request.dense is not None:
            raise OptionError(
                f"candidates=({name!r}, ...) are found by the centroids of token vectors: write the field with cells, "
                "such as cells:1024,tcq:24, and leave dense= away"
            )
        return [ready.by_cells(query, wanted, rows, most=_vectors(ready, request.vectors)) for query in queries]
    if name != DENSE:
        field = dense_field(snapshot, name)
        of_dense = queries if field.encoding is not None else _asked(request.dense, queries, field.dimensions)
        options = SearchOptions(metric=field.metric, rescore=_again(field.prepared.sections[0].codec))
        found = field.find(field.queries(of_dense)[0], wanted, options, rows)[0].rows
    else:
        x = _asked(request.dense, queries, snapshot.dimensions)
        options = SearchOptions(
            metric=snapshot.metric,
            rows=None if rows is None else snapshot.own(rows),
            rescore=_again(snapshot.shards[0].codec),
        )
        found = np.asarray(search(snapshot, x, wanted, options).rows)
    return [np.sort(own[own >= 0]).view(np.ndarray) for own in found]


def _again(codec: Codec) -> Literal["auto", 0]:
    """Return how many candidates are scored again: of one layer none, as it hardly matters which come last."""
    return 0 if len(codec.layers) == 1 else "auto"


def _wanted(candidates: Any) -> tuple[str, int]:
    """Return the field that finds candidates, and how many."""
    name, wanted = candidates if isinstance(candidates, (tuple, list)) and len(candidates) == 2 else (DENSE, candidates)
    fits = isinstance(name, str) and isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool)
    if not fits or wanted < 1:
        raise OptionError(f'candidates is a positive number of rows, or ("field", number); found {candidates!r:.60}')
    return name, int(wanted)


def _asked(dense: Any, queries: list[Floats], dimensions: int) -> Floats:
    """Return the queries of a dense vector: those given, or the means of queries' token vectors: (q, d)."""
    if dense is None:
        if queries[0].shape[1] != dimensions:
            raise OptionError(f"candidates= are the best by dense vectors, of {dimensions} dimensions; give dense=")
        return np.stack([query.mean(axis=0) for query in queries])
    asked = np.atleast_2d(np.asarray(dense))
    if len(asked) != len(queries):
        raise ShapeError(f"dense= has {len(asked)} queries, there are {len(queries)}")
    return asked


def _refuse_unfit(snapshot: Snapshot, options: SearchOptions) -> None:
    """Raise `OptionError` for options of dense vectors."""
    given = {
        "metric=": options.metric != snapshot.metric,
        "max_distance=": options.max_distance is not None,
        "recall=": options.recall is not None,
        "scan_bytes=": options.scan_bytes != "auto",
        "nprobe=": options.nprobe is not None,
        "calibrated=": options.calibrated,
    }
    named = [name for name, is_given in given.items() if is_given]
    if named:
        raise OptionError(f"{' and '.join(named)}: for dense vectors; a field is scored by sums of largest products")
