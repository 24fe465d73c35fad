"""Searches of a dense field of a snapshot, with the scanners that search the store's own vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_array, as_vectors
from vecstore.errors import OptionError, ShapeError
from vecstore.fields.dense.encoding import Encoding
from vecstore.fields.dense.reader import DenseReader
from vecstore.fields.multi.tokens import as_items
from vecstore.fields.reader import FieldReader
from vecstore.metric import Metric
from vecstore.search.options import SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.search import find, score_rows
from vecstore.search.topk import TopK
from vecstore.shard.shard import Shard
from vecstore.store.fields import readers_of
from vecstore.store.snapshot import Snapshot

__all__ = ["DenseField", "dense_field"]


class DenseField:
    """A dense field of a store's shards, ready to be searched.

    Parameters
    ----------
    readers : sequence of DenseReader or None
        One a shard; None where one has none, whose rows are not found.
    snapshot : Snapshot

    Attributes
    ----------
    dimensions : int
    metric : {"cosine", "dot", "l2"}
        What scores are, unless a search is told otherwise.
    encoding : Encoding or None
        What makes vectors of token vectors, where the field is made of these.
    prepared : Prepared
        Of the shards that have the field. Searches in it count their rows only.
    """

    def __init__(self, readers: Sequence[DenseReader | None], snapshot: Snapshot) -> None:
        own = [(number, reader) for number, reader in enumerate(readers) if reader is not None]
        first = self._first = own[0][1]
        self.dimensions, self.metric, self.encoding = first.dimensions, first.metric, first.encoding
        firsts = np.array([snapshot.edges[number] for number, _ in own])
        edges = np.cumsum([0, *(reader.rows for _, reader in own)])
        # Row r of the store is row r - shift of the shards that have the field.
        self._firsts, self._edges, self._readers = firsts, edges, [reader for _, reader in own]
        self._whole = len(own) == len(readers)
        missing = [reader.missing + edge for (_, reader), edge in zip(own, edges, strict=False)]
        dead = np.union1d(np.concatenate(missing), self._numbers_of(snapshot.dead.rows))
        shards = cast(Sequence[Shard], [reader.shard for reader in self._readers])
        self.prepared = Prepared(shards, dead)

    def find(
        self, x: Floats, k: int, options: SearchOptions, rows: NDArray[np.int64] | None
    ) -> tuple[TopK, NDArray[np.int64]]:
        """Return the best k of rows (all for None) of each query (q, d), and how many were rescored."""
        own = None if rows is None else self._numbers_of(rows)
        asked = replace(options, rows=own, exclude=None, where=None)
        wanted = min(k, max(self.prepared.rows - len(self.prepared.dead), 1))
        best, rescored = find(self.prepared, x, wanted, asked, options.least)
        if not self._whole:
            shard = np.searchsorted(self._edges, best.rows, side="right") - 1
            best.rows = np.where(best.rows < 0, -1, best.rows + (self._firsts - self._edges[:-1])[shard])
        return best.cut(int(best.sizes.max(initial=0))), rescored

    def scores(self, query: Floats, rows: NDArray[np.int64], metric: Metric) -> NDArray[np.float64]:
        """Return what rows score for a query (d,), larger being better; NaN for those without a vector: (n,)."""
        out = np.full(len(rows), np.nan)
        chosen, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for first, edge, reader in zip(self._firsts, self._edges, self._readers, strict=False):
            own = np.flatnonzero((rows >= first) & (rows < first + reader.rows))
            own = own[~np.isin(rows[own] - first, reader.missing)]
            chosen.append(own)
            numbers.append(rows[own] - first + edge)
        there = np.concatenate(chosen)
        out[there] = score_rows(self.prepared, query, np.concatenate(numbers), metric)
        return out

    def queries(self, given: Any) -> tuple[Floats, bool]:
        """Return what users give as queries (q, d), and whether one was given by itself; raises `ShapeError`."""
        if self.encoding is not None:
            return _token_queries(given, self.encoding)
        array = as_array(given)
        if array.ndim not in (1, 2):
            raise ShapeError(f"a query is a vector (d,) or a batch (q, d), found shape {array.shape}")
        return as_vectors(np.atleast_2d(array), self.dimensions), array.ndim == 1

    def _numbers_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return rising rows of the store as those of the shards that have the field; others are left out."""
        cuts = np.searchsorted(rows, [self._firsts, self._firsts + np.diff(self._edges)])
        parts = [
            rows[low:high] - first + edge
            for low, high, first, edge in zip(*cuts, self._firsts, self._edges, strict=False)
        ]
        return np.concatenate(parts) if not self._whole else rows


def dense_field(snapshot: Snapshot, name: str) -> DenseField:
    """Return a dense field ready to be searched, made once; raises `OptionError` for another kind."""
    known = snapshot.ready.get(name)
    if not isinstance(known, DenseField):  # two threads may both make it
        readers = readers_of(snapshot.shards, name, snapshot.path)
        found = [_dense(reader, name) for reader in readers]
        there = [reader for reader in found if reader is not None]
        alike = {(reader.dimensions, reader.metric, reader.of) for reader in there}
        if len(alike) > 1 or len({reader.likeness for reader in there if reader.encoding is not None}) > 1:
            raise OptionError(f"{snapshot.path}: shards have other vectors in field {name!r}; search one by one")
        known = snapshot.ready[name] = DenseField(found, snapshot)
    return known


def _token_queries(given: Any, encoding: Encoding) -> tuple[Floats, bool]:
    """Return the encodings of queries, token vectors (t, d) of one or of several, and whether it is one."""
    single = getattr(given, "ndim", 3) == 2
    items = as_items([given] if single else given)
    x, counts = items.of(np.arange(len(items)), encoding.token_dimensions)
    if not len(counts) or not counts.all():
        raise ShapeError("queries: each has one vector or more, (t, d); one has none")
    return encoding.queries(x, counts), single


def _dense(reader: FieldReader | None, name: str) -> DenseReader | None:
    if reader is None or isinstance(reader, DenseReader):
        return reader
    raise OptionError(f"field {name!r} is {reader.about['kind']}, and has no dense vectors")
