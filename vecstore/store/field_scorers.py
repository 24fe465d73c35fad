"""What the fields of a store score: the best rows of each, and any rows at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.checks import as_array
from vecstore.errors import OptionError
from vecstore.fields.sparse.entries import as_queries as as_sparse
from vecstore.fields.sparse.reader import SparseReader
from vecstore.search.explain import explain
from vecstore.search.fusion import Found
from vecstore.search.options import SearchOptions
from vecstore.search.search import find, score_rows
from vecstore.search.topk import TopK
from vecstore.store.dense_field import dense_field
from vecstore.store.field_search import DENSE, queries_of, ready_of
from vecstore.store.fields import StoreField
from vecstore.store.searching import as_queries
from vecstore.store.snapshot import Snapshot

__all__ = ["Scorer", "scorer_of"]

LEAST = np.nextafter(0.0, 1.0)  # rows that share no term with a query are not found


class Scorer(ABC):
    """The queries of one field.

    Attributes
    ----------
    queries : int
    single : bool
        Whether one query was given by itself.
    everything : bool
        Whether the field scores every row.
    approximate : bool
        Whether `scores` are about what `exactly` finds.
    finds : bool
        Whether `best` finds rows; else what other fields find is scored only.
    """

    queries: int
    single: bool
    everything = False
    approximate = False
    finds = True

    @abstractmethod
    def best(self, query: int, count: int) -> Found:
        """Return the `count` best rows for a query."""

    @abstractmethod
    def scores(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what rising rows score, larger being better; NaN where they score nothing: (n,)."""

    def exactly(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what rows score, by what their codes decode to."""
        return self.scores(query, rows)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return scores as users see them."""
        return scores.astype(np.float32)


def scorer_of(
    snapshot: Snapshot, name: str, given: Any, options: SearchOptions, allowed: NDArray[np.bool_] | None, alpha: float
) -> Scorer:
    """Return what scores rows by a field; raises `OptionError` for one that is not there, `ShapeError` for queries."""
    if name == DENSE:
        return _Dense(snapshot, given, options)
    field = StoreField(name, snapshot)
    if field.kind == "dense":
        return _Vectors(snapshot, name, given, allowed)
    kinds: dict[str, type[_Terms | _Tokens]] = {"sparse": _Terms, "multi": _Tokens}
    return kinds[field.kind](snapshot, field, given, allowed, alpha)


class _Dense(Scorer):
    everything = True

    def __init__(self, snapshot: Snapshot, given: Any, options: SearchOptions) -> None:
        array = as_array(given)
        self._snapshot, self._options, self._x = snapshot, options, as_queries(snapshot, array)
        self.queries, self.single = len(self._x), array.ndim == 1
        if options.metric == "hamming":
            raise OptionError("fusion scores rows exactly, by cosine, dot or l2; hamming does not")
        self._metric = options.metric
        exact = options.exact or not explain(snapshot.prepared, self._metric).rescores
        self._exact = options.nprobe is None and exact

    def best(self, query: int, count: int) -> Found:
        wanted = min(count, living := max(self._snapshot.living, 1))
        found, _ = find(self._snapshot.prepared, self._x[query : query + 1], wanted, self._options, -np.inf)
        size = int(found.sizes[0])
        return Found(
            found.rows[0, :size],
            found.scores[0, :size],
            self._exact,
            self._exact and (size < count or wanted == living),
        )

    def scores(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return score_rows(self._snapshot.prepared, self._x[query], rows, self._metric)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(-scores if self._options.distance else scores, np.float32)


class _Vectors(Scorer):
    """A dense field, by its own metric."""

    def __init__(self, snapshot: Snapshot, name: str, given: Any, allowed: NDArray[np.bool_] | None) -> None:
        self._field = field = dense_field(snapshot, name)
        self._x, self.single = field.queries(given)
        self.queries = len(self._x)
        self._rows = None if allowed is None else np.flatnonzero(allowed)
        self._options = SearchOptions(metric=field.metric)
        self._exact = not explain(field.prepared, field.metric).rescores

    def best(self, query: int, count: int) -> Found:
        found, _ = self._field.find(self._x[query : query + 1], count, self._options, self._rows)
        size = int(found.sizes[0])
        return Found(found.rows[0, :size], found.scores[0, :size], self._exact, self._exact and size < count)

    def scores(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._field.scores(self._x[query], rows, self._field.metric)

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(-scores if self._options.distance else scores, np.float32)


class _Terms(Scorer):
    def __init__(
        self, snapshot: Snapshot, field: StoreField, given: Any, allowed: NDArray[np.bool_] | None, alpha: float
    ) -> None:
        self._snapshot, self._alpha, self._readers = snapshot, alpha, field.readers
        self._given, self.single = as_sparse(given)
        self.queries = len(self._given.indptr) - 1
        self._allowed = np.empty(0, np.uint32)
        if allowed is not None:
            padding = np.zeros(-len(allowed) % 32, np.bool_)
            self._allowed = np.packbits(np.concatenate([allowed, padding]), bitorder="little").view("<u4")

    def best(self, query: int, count: int) -> Found:
        top = TopK(1, min(count, max(self._snapshot.living, 1)))
        heap = top.heap(np.full(1, LEAST))
        for number, reader in enumerate(self._readers):
            if isinstance(reader, SparseReader):
                first = int(self._snapshot.edges[number])
                reader.scan(*self._query(query), heap, first=first, allowed=self._allowed, alpha=self._alpha)
        top.sort()
        size, exact = int(top.sizes[0]), self._alpha == 1
        return Found(top.rows[0, :size], top.scores[0, :size], exact, exact and size < count)

    def scores(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        out = np.zeros(len(rows))
        for number, chosen in self._snapshot.by_shard(rows):
            reader = self._readers[number]
            if isinstance(reader, SparseReader):
                out[chosen] = reader.scores(*self._query(query), rows[chosen] - self._snapshot.edges[number])
        out[out == 0] = np.nan
        return out

    def _query(self, query: int) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        own = slice(self._given.indptr[query], self._given.indptr[query + 1])
        return self._given.terms[own], self._given.weights[own].astype(np.float64)


class _Tokens(Scorer):
    """Scored only: what is found comes from other fields."""

    finds = False

    def __init__(
        self, snapshot: Snapshot, field: StoreField, given: Any, allowed: NDArray[np.bool_] | None, alpha: float
    ) -> None:
        self._ready = ready_of(snapshot, field.name)
        self._given, self.single = queries_of(given, self._ready.dimensions)
        self.queries, self.approximate = len(self._given), self._ready.approximate

    def best(self, query: int, count: int) -> Found:
        return Found(np.empty(0, np.int64), np.empty(0), exact=False, complete=False)

    def scores(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return _or_nan(self._ready.scores(self._given[query], rows))

    def exactly(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return _or_nan(self._ready.exactly(self._given[query], rows))


def _or_nan(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(scores == -np.inf, np.nan, scores)
