"""Several stores as one space: each word from whichever store has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.conversion import convert
from vecstore.conversion.report import Report
from vecstore.errors import KeyNotFoundError, OptionError
from vecstore.formats import Batch, Dump
from vecstore.search.result import SearchResult
from vecstore.search.topk import TopK
from vecstore.spaces.blends import blends
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store

__all__ = ["Combined", "combine"]

AT_ONCE = 16  # queries that are scored together
BLOCK_ROWS = 8192
How = Literal["concatenate", "average", "svd"]


def combine(
    stores: Sequence[Store],
    how: How = "concatenate",
    *,
    weights: Sequence[float] | None = None,
    dimensions: int | None = None,
) -> Combined:
    """See stores as one whose keys are those of any of them.

    Every vector counts with length one, times its store's weight. Where a store lacks a key, its part is mapped from
    the stores that have it, by orthogonal maps of the keys that both share (`align`).

    Parameters
    ----------
    stores : 2 to 8 stores with keys of one type
    how : {"concatenate", "average", "svd"}
        "concatenate": vectors behind each other. "average": their mean in the space of the first store, into which the
        others are mapped. "svd": the concatenation in fewer dimensions, those that keep most of the keys that all share
        (Yin & Schütze, Learning word meta-embeddings, 2016).
    weights : sequence of float, optional
        One a store, above 0; alike by default.
    dimensions : int, optional
        Of "svd"; those of the first store by default.

    Raises
    ------
    OptionError
        Fewer than two stores, keys of several types or none, or two stores without a shared key where one is needed.
    """
    own = [1.0] * len(stores) if weights is None else [float(weight) for weight in weights]
    if not 2 <= len(stores) <= 8 or len(own) != len(stores) or min(own) <= 0:
        raise OptionError(f"2 to 8 stores, and a weight above 0 for each; found {len(stores)} and {own}")
    if len({store.key_type for store in stores}) > 1 or stores[0].key_type is None:
        raise OptionError(f"stores of keys of one type, found {[store.key_type for store in stores]}")
    keys, rows = _union(stores)
    return Combined(stores, keys, rows, blends(stores, rows, how, own, dimensions))


class Combined:
    """Several stores seen as one, by cosine. Made by `combine`; nothing is written.

    Attributes
    ----------
    stores : list of Store
    keys : list
        Those of the first store, then those that only later ones have.
    rows : (n, stores) int64
        Where each store has each key, -1 where it has not.
    dimensions : int
    """

    def __init__(
        self,
        stores: Sequence[Store],
        keys: list[Any],
        rows: NDArray[np.int64],
        blended: dict[int, dict[int, Floats]],
    ) -> None:
        self.stores, self.keys, self.rows = list(stores), keys, rows
        self._blends = blended  # of the stores that have a key, as bits: the matrix of each one's vector
        self._patterns = ((rows >= 0) << np.arange(len(stores))).sum(axis=1)
        self.dimensions = next(iter(next(iter(blended.values())).values())).shape[1]

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: Any) -> bool:
        return any(key in store for store in self.stores)

    def __getitem__(self, key: Any) -> Floats:
        """Return the vector of a key, (d,) float32, or of a list of keys, (n, d)."""
        if isinstance(key, (list, tuple, np.ndarray)):
            return self.vectors(self.rows_of(list(key)))
        return self.vectors(self.rows_of([key]))[0]

    def rows_of(self, keys: Sequence[Any]) -> NDArray[np.int64]:
        """Return the number of each key; raises `KeyNotFoundError` for one that no store has."""
        missing = [key for key in keys if key not in self._numbers]
        if missing:
            raise KeyNotFoundError(f"no store has {', '.join(map(repr, missing[:5]))}")
        return np.array([self._numbers[key] for key in keys], np.int64)

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows: (n, d) float32."""
        out = np.zeros((len(rows), self.dimensions), np.float32)
        for chosen, store, matrix, of_store in self._parts(rows):
            out[chosen] += unit(store.vectors[of_store]) @ matrix
        return out

    def scores(self, queries: ArrayLike) -> Floats:
        """Return the cosine of every row with each query, (q, n) float32: weighted sums of what each store scores."""
        asked = as_vectors(np.atleast_2d(np.asarray(queries)), self.dimensions)
        lengths = np.linalg.norm(asked, axis=1)
        out = np.zeros((len(asked), len(self)), np.float32)
        for chosen, store, matrix, of_store in self._parts(np.arange(len(self))):
            own = asked @ matrix.T
            there = np.linalg.norm(own, axis=1)
            known = there > 0
            if known.any():
                found = store.scores(own[known], of_store, metric="cosine")
                out[np.ix_(known, chosen)] += found * there[known][:, None]
        scale = lengths[:, None] * self._lengths
        return np.asarray(out / np.where(scale > 0, scale, 1), np.float32)

    def search(self, queries: ArrayLike, k: int = 10, *, exclude: Sequence[Any] = ()) -> SearchResult:
        """Find the k rows of largest cosine with each query, but for some keys; exact, by scoring all rows.

        Queries are vectors (d,) or (q, d) of this space: `combined[key]`, or what several models make of a text, put
        together in the same way.
        """
        given = np.asarray(queries)
        asked = np.atleast_2d(given)
        out = self.rows_of(list(exclude)) if len(exclude) else np.empty(0, np.int64)
        best = TopK(len(asked), min(k, len(self) - len(out)))
        for start in range(0, len(asked), AT_ONCE):
            scores = self.scores(asked[start : start + AT_ONCE])
            scores[:, out] = -np.inf
            for at, own in enumerate(scores):
                rows = np.argpartition(-own, best.k - 1)[: best.k]
                best.put(start + at, own[rows].astype(np.float64), rows)
        keys = [[self.keys[row] for row in rows] for rows in best.rows.tolist()]
        found = SearchResult(keys, best.rows, best.scores.astype(np.float32), np.zeros(len(asked), np.int64))
        return found.each()[0] if given.ndim == 1 else found

    def write(self, path: str | Path, codec: str = "sq:8", **options: Any) -> Report:
        """Write a store of the combined vectors; options are those of `vecstore.convert`."""
        return convert(_CombinedDump(self), path, codec, **options)

    def _parts(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Store, Floats, NDArray[np.int64]]]:
        """Yield places in `rows`, a store that has a part of their vectors, its matrix, and its own rows of them."""
        patterns = self._patterns[rows]
        for pattern, matrices in self._blends.items():
            chosen = np.flatnonzero(patterns == pattern)
            for store, matrix in matrices.items() if len(chosen) else ():
                of_store = snapshot_of(self.stores[store]).own(self.rows[rows[chosen], store])
                yield chosen, self.stores[store], matrix, of_store

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {key: number for number, key in enumerate(self.keys)}

    @cached_property
    def _lengths(self) -> Floats:
        """The length of every vector: (n,) float32, one pass over all."""
        every = np.arange(len(self))
        pieces = [self.vectors(every[at : at + BLOCK_ROWS]) for at in range(0, len(self), BLOCK_ROWS)]
        return np.concatenate([np.linalg.norm(piece, axis=1) for piece in pieces])


def _union(stores: Sequence[Store]) -> tuple[list[Any], NDArray[np.int64]]:
    keys: list[Any] = list(stores[0])
    for number, store in enumerate(stores[1:], 1):
        more = list(store)
        known = np.zeros(len(more), bool)
        for before in stores[:number]:
            known |= np.asarray(before.rows_of(more)) >= 0
        keys += [more[at] for at in np.flatnonzero(~known).tolist()]
    return keys, np.stack([np.asarray(store.rows_of(keys)) for store in stores], axis=1)


class _CombinedDump(Dump):
    """The rows of a combination, made as they are read."""

    def __init__(self, combined: Combined) -> None:
        path = Path(snapshot_of(combined.stores[0]).shards[0].path)
        key_type: Any = combined.stores[0].key_type
        rows, dimensions = len(combined), combined.dimensions
        super().__init__(path, format="combination", rows=rows, dimensions=dimensions, key_type=key_type)
        self._combined = combined

    def _batches(self, rows: int) -> Iterator[Batch]:
        total = len(self._combined)
        as_keys: Callable[[Any], Any] = np.array if self.key_type == "int64" else list
        for start in range(0, total, rows):
            stop = min(start + rows, total)
            keys = as_keys(self._combined.keys[start:stop])
            yield Batch(self._combined.vectors(np.arange(start, stop)), keys, {}, stop / total)
