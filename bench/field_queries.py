"""Queries whose relevant row is known, for fields: their reciprocal ranks, exactly and in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vecstore.formats import Dump

from vecstore.conversion.sources.field_columns import pieces_of
from vecstore.errors import ShapeError
from vecstore.fields.columns import terms_of, tokens_of
from vecstore.fields.multi.agreement import maxsim
from vecstore.fields.runs import starts_of
from vecstore.fields.sparse.agreement import products
from vecstore.fields.sparse.entries import Entries, entries_of
from vecstore.store.store import Store

__all__ = ["FieldQueries", "relevant_rows"]

BEST = 10
CHUNK_VECTORS = 1 << 18  # that are float32 at a time


class FieldQueries(NamedTuple):
    """What asks a field, and the row that answers each: token vectors, (t, d), or mappings of terms to weights."""

    queries: Sequence[Any]
    relevant: NDArray[np.int64]

    @classmethod
    def of_tokens(cls, dump: Dump, name: str, relevant: NDArray[np.int64], room: Path) -> FieldQueries:
        """Read a column of lists of vectors."""
        x, counts = tokens_of(pieces_of(dump, (name,)), name, room)
        return cls(np.split(np.array(x, np.float32), np.cumsum(counts)[:-1]), relevant)

    @classmethod
    def of_terms(cls, dump: Dump, names: Sequence[str], relevant: NDArray[np.int64]) -> FieldQueries:
        """Read terms with their weights."""
        given = entries_of(*terms_of(pieces_of(dump, tuple(names)), names))
        spans = zip(given.indptr[:-1], given.indptr[1:], strict=True)
        queries = [
            dict(zip(given.terms[low:high].tolist(), given.weights[low:high].tolist(), strict=True))
            for low, high in spans
        ]
        return cls(queries, relevant)

    def in_store(self, store: Store, field: str) -> float:
        """Return the mean reciprocal rank of relevant rows among the ten best that the store finds, else 0."""
        gains = np.zeros(len(self.queries))
        for i, query in enumerate(self.queries):
            if len(query):
                by_terms = isinstance(query, dict)
                found = store.search({field: query}, k=BEST) if by_terms else store.search(query, k=BEST, field=field)
                gains[i] = sum(1 / (rank + 1) for rank in np.flatnonzero(found.rows == self.relevant[i]))
        return float(gains.mean())

    def by_tokens(self, x: NDArray[Any], counts: NDArray[np.int64]) -> float:
        """Return the same by exact MaxSim with vectors (T, d), of which rows have `counts`."""
        starts, before = starts_of(counts), np.zeros(len(self.queries), np.int64)
        best = [
            maxsim(query, np.asarray(x[starts[row] : starts[row + 1]], np.float32), counts[row : row + 1])[0]
            for query, row in zip(self.queries, self.relevant, strict=True)
        ]
        low = 0
        while low < len(counts):
            high = max(low + 1, int(np.searchsorted(starts, starts[low] + CHUNK_VECTORS, side="right")) - 1)
            vectors = np.asarray(x[starts[low] : starts[high]], np.float32)
            for i, query in enumerate(self.queries):
                before[i] += _before(maxsim(query, vectors, counts[low:high]), best[i], self.relevant[i] - low)
            low = high
        there = np.array([len(query) > 0 for query in self.queries]) & (counts[self.relevant] > 0)
        return _mean_reciprocal(before, there)

    def by_terms(self, x: Entries) -> float:
        """Return the same by exact products with sparse rows."""
        n = len(x.indptr) - 1
        row_of, order = np.repeat(np.arange(n), np.diff(x.indptr)), np.argsort(x.terms, kind="stable")
        inverted = x.terms[order], row_of[order], x.weights[order]
        before, there = np.zeros(len(self.queries), np.int64), np.zeros(len(self.queries), bool)
        for i, (query, row) in enumerate(zip(self.queries, self.relevant, strict=True)):
            scores = products(*inverted, n, list(query), list(query.values()))
            before[i], there[i] = _before(scores, scores[row], row), scores[row] != 0
        return _mean_reciprocal(before, there)


def relevant_rows(dump: Dump, name: str, rows: int) -> NDArray[np.int64]:
    """Return a column of row numbers; raises `ShapeError` for anything else."""
    parts = [piece[name].to_numpy(zero_copy_only=False) for piece in pieces_of(dump, (name,))]
    found = np.concatenate([np.empty(0, np.int64), *parts]) if parts else np.empty(0)
    if found.dtype.kind not in "iu" or not len(found) or found.min() < 0 or found.max() >= rows:
        raise ShapeError(f"column {name!r} of the queries holds row numbers of the dump, 0 to {rows - 1}, and no null")
    return found.astype(np.int64)


def _before(scores: NDArray[Any], best: float, row: int) -> int:
    """Return how many rows come before one, with such a score, among these; of equals the first is better."""
    ahead = scores > best
    ahead[: max(row, 0)] |= scores[: max(row, 0)] == best
    if 0 <= row < len(scores):
        ahead[row] = False  # its score may differ in the last bit between products of other shapes
    return int(np.count_nonzero(ahead))


def _mean_reciprocal(before: NDArray[np.int64], there: NDArray[np.bool_]) -> float:
    return float(np.mean(np.where(there & (before < BEST), 1 / (before + 1), 0)))
