"""The vectors of a store as a read-only array that is decoded when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import ShapeError
from vecstore.store.tombstones import Tombstones

__all__ = ["Vectors", "row_numbers"]

PIECE_ROWS = 8192


class Source(Protocol):
    """What vectors are read from: a snapshot, or what looks like one."""

    dead: Tombstones

    def vector(self, row: int, /) -> Floats: ...
    def vector_range(self, start: int, stop: int, /) -> Floats: ...
    def vectors(self, rows: NDArray[np.int64], /) -> Floats: ...


class Vectors:
    """Decoded vectors, shape (rows, dimensions), float32.

    Indexing follows numpy for rows: an integer gives (d,), a slice, list, integer array or boolean mask gives
    (n, d), an array of integers of more dimensions (..., d); a second index selects dimensions. What comes back is a
    new array. ``np.asarray(vectors)`` decodes all.
    Rows that were deleted have numbers still: iteration passes over them, reading one by its number raises
    `IndexError`. ``vectors[store.living_rows]`` are all that are there.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, int], source: Callable[[], Source]) -> None:
        self._source, self._held = source, source()  # of the same generation, whatever is refreshed meanwhile
        self.shape = shape

    def __reduce__(self) -> Any:
        return Vectors, (self.shape, self._source)

    def _open(self) -> Source:
        """Return the snapshot of this view, or raise `ClosedError` where the store was closed."""
        self._source()
        return self._held

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Numbers in all."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that all vectors take when decoded."""
        return 4 * self.size

    @property
    def T(self) -> Floats:
        """All vectors, decoded, as columns: (dimensions, rows), so that queries multiply them: ``q @ vectors.T``."""
        return np.asarray(self).T

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """Return all vectors, decoded piece by piece into an array of another type."""
        out = np.empty(self.shape, dtype)
        for start in range(0, self.shape[0], PIECE_ROWS):
            out[start : start + PIECE_ROWS] = self[start : start + PIECE_ROWS]
        return out

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, np.ndarray) and index.ndim == 0:
            index = index[()]
        if isinstance(index, (int, np.integer)) and not isinstance(index, (bool, np.bool_)):
            row = int(index)
            if not -self.shape[0] <= row < self.shape[0]:
                raise IndexError(f"row {row} of a store with {self.shape[0]} rows")
            row = row if row >= 0 else row + self.shape[0]
            snapshot = self._open()
            if snapshot.dead:
                snapshot.dead.refuse(np.array([row]))
            return snapshot.vector(row)
        if isinstance(index, tuple):
            return self._two(index)
        if index is Ellipsis:
            return self[:]
        if isinstance(index, slice):
            start, stop, step = index.indices(self.shape[0])
            return self._range(start, stop) if step == 1 else self._some(np.arange(start, stop, step))
        given = np.asarray(index)
        if given.ndim > 1 and given.dtype.kind in "iu":
            # Tables of tokens are read so, and a text repeats its tokens: each is decoded once.
            distinct, places = np.unique(row_numbers(given.reshape(-1), self.shape[0]), return_inverse=True)
            return self._some(distinct)[places.reshape(given.shape)]
        return self._some(row_numbers(given, self.shape[0]))

    def __iter__(self) -> Iterator[Floats]:
        for start in range(0, self.shape[0], 1024):
            stop = min(start + 1024, self.shape[0])
            snapshot = self._open()
            living = snapshot.dead.living(start, stop) if snapshot.dead else None
            yield from snapshot.vector_range(start, stop) if living is None else snapshot.vectors(living)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the vectors are decoded, so an array of them is always a copy")
        everything = self._range(0, self.shape[0])
        return everything if dtype is None else everything.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<vectors {self.shape[0]} x {self.shape[1]} float32, decoded when read>"

    def _some(self, rows: NDArray[np.int64]) -> Floats:
        snapshot = self._open()
        snapshot.dead.refuse(rows)
        return snapshot.vectors(rows)

    def _range(self, start: int, stop: int) -> Floats:
        snapshot = self._open()
        if snapshot.dead:
            snapshot.dead.refuse(np.arange(start, stop))
        return snapshot.vector_range(start, stop)

    def _two(self, index: tuple[Any, ...]) -> Any:
        if index and index[0] is Ellipsis:
            index = (slice(None), *index[1:]) if len(index) < 3 else index[1:]
        if len(index) > 2:
            raise IndexError(f"too many indices: vectors have 2 dimensions, found {len(index)}")
        if not index:
            return self[:]
        rows = self[index[0]]
        if len(index) == 1:
            return rows
        if rows.ndim == 1:
            return rows[index[1]]
        if isinstance(index[0], slice) or isinstance(index[1], (slice, int, np.integer)):
            return rows[(slice(None),) * (rows.ndim - 1) + (index[1],)]
        if rows.ndim > 2:
            raise ShapeError(f"with rows of shape {rows.shape[:-1]} dimensions are selected by a number or a slice")
        return rows[np.arange(len(rows)), index[1]]  # two lists are paired, as in numpy


def row_numbers(index: Any, total: int) -> NDArray[np.int64]:
    """Return what a list, integer array or boolean mask selects of `total` rows, as row numbers in range."""
    rows = np.asarray(index)
    if rows.ndim != 1:
        raise ShapeError(f"rows are selected by a one-dimensional array, found shape {rows.shape}")
    if rows.dtype == bool:
        if len(rows) != total:
            raise ShapeError(f"a mask of {len(rows)} for {total} rows")
        return np.flatnonzero(rows)
    if not len(rows):
        return np.empty(0, np.int64)
    if rows.dtype.kind not in "iu":
        raise ShapeError(f"rows are selected by integers or a mask, found {rows.dtype}; keys go to store[keys]")
    rows = rows.astype(np.int64)
    low, high = int(rows.min()), int(rows.max())
    if low < -total or high >= total:
        raise IndexError(f"row {low if low < -total else high} of a store with {total} rows")
    return np.where(rows < 0, rows + total, rows) if low < 0 else rows
