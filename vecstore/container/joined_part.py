"""Parts of one layout, in several files, seen as one: what is scanned of a store of many shards."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from vecstore.container.part import CHUNK_BYTES, Part
from vecstore.container.ranges import Ranges, cut

__all__ = ["JoinedPart", "join", "joined_bytes"]


def join(parts: Sequence[Part]) -> Part:
    """Return parts as one; they agree in everything but the number of rows."""
    return parts[0] if len(parts) == 1 else JoinedPart(parts)


def joined_bytes(files: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes between the lowest and the highest address of mapped files, and where in them each begins.

    Others' bytes are among them, which nobody may touch. The files stay mapped as long as somebody references them.
    """
    starts = np.array([file.ctypes.data for file in files])
    ends = starts + np.array([len(file) for file in files])
    lowest = int(starts.argmin())
    size = int(ends.max()) - int(starts[lowest])
    return as_strided(files[lowest], (size,), (1,), subok=False, writeable=False), starts - starts[lowest]


class JoinedPart(Part):
    """Parts of one layout, in several files, seen as one; valid as long as it is referenced.

    The blocks of one file lie behind those of another, and each begins with slots of its own: where the last block of
    a file is not full, slots are empty.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        first = parts[0]
        self._parts = list(parts)
        self.name, self.about, self.path, self.encoding = first.name, first.about, first.path, first.encoding
        self.dtype, self.block_rows, self.tile_rows = first.dtype, first.block_rows, first.tile_rows
        self.row_bytes, self.together = first.row_bytes, first.together
        self.rows = sum(part.rows for part in parts)
        self.shape = (self.rows, *first.shape[1:])
        self.data, shifts = joined_bytes([part.data for part in parts])
        blocks = np.array([part.blocks for part in parts])
        self.blocks = int(blocks.sum())
        self._owners = np.repeat(np.arange(len(parts)), blocks)  # of each block, the file it is in
        self._first_blocks = np.cumsum(blocks) - blocks
        self.offsets = np.concatenate([part.offsets for part in parts]) + shifts[self._owners]
        self.ends = (shifts + np.array([len(part.data) for part in parts]))[self._owners]
        self.sizes = np.concatenate([part.sizes for part in parts])
        self.counts = np.concatenate([part.counts for part in parts])
        self._chunk_starts = np.concatenate([[0], np.cumsum(-(-self.sizes // CHUNK_BYTES))])
        self._checked = np.concatenate([part._checked for part in parts])
        self.unchecked, self._lock = int((~self._checked).sum()), threading.Lock()
        self._edges = np.concatenate([[0], np.cumsum([part.rows for part in parts])])
        self._shifts = self._first_blocks * self.block_rows - self._edges[:-1]  # from rows to slots

    def slots_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows + self._shifts[np.searchsorted(self._edges, rows, side="right") - 1]

    def rows_at(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(slots < 0, -1, slots - self._shifts[self._owners[slots // self.block_rows]])

    def ranges_of(self, rows: Ranges) -> Ranges:
        pieces, own = cut(rows, self._edges)
        return pieces + self._shifts[own, None]

    def placed(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        out = np.zeros(self.blocks * self.block_rows, of_rows.dtype)
        for (first, end), shift in zip(pairwise(self._edges.tolist()), self._shifts.tolist(), strict=True):
            out[first + shift : end + shift] = of_rows[first:end]
        return out

    def _compare(self, block: int, chunks: Sequence[int]) -> None:
        owner = int(self._owners[block])
        first = int(self._first_blocks[owner])
        before = int(self._chunk_starts[first])
        self._parts[owner]._compare(block - first, [chunk - before for chunk in chunks])
        self._mark(chunks)

    def _compare_many(self, chunks: NDArray[np.int64]) -> None:
        blocks = np.searchsorted(self._chunk_starts, chunks, side="right") - 1
        owners = self._owners[blocks]
        cuts = np.flatnonzero(np.diff(owners)) + 1
        for owner, own in zip(owners[[0, *cuts]].tolist(), np.split(chunks, cuts), strict=True):
            self._parts[owner]._compare_many(own - self._chunk_starts[self._first_blocks[owner]])
        self._mark(chunks)
