"""Tombstones: the numbers of rows that were deleted. Their codes and keys stay where they are until compaction.

docs/format.md, section 8 (Sharded stores), has the bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import Container, ContainerWriter
from vecstore.container.document import refuse_features
from vecstore.container.opener import open_container
from vecstore.errors import CorruptError, FormatError
from vecstore.remote.urls import Place

__all__ = ["NO_TOMBSTONES", "Tombstones", "read_tombstones", "write_tombstones"]

KIND, ROWS = "tombstones", "rows"
KNOWN_FEATURES: frozenset[str] = frozenset()  # what a file of tombstones may require of its reader; none yet
NAMED = 5  # rows that a message names


class Tombstones:
    """The deleted rows of a snapshot. False where there are none.

    Attributes
    ----------
    rows : (n,) int64
        Their numbers, rising.
    """

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        self._sorted = memoryview(rows)

    @classmethod
    def joined(cls, each: Sequence[NDArray[np.int64]], firsts: Sequence[int]) -> Tombstones:
        """Return those of several shards, whose first rows have these numbers."""
        moved = [rows + first for rows, first in zip(each, firsts, strict=True) if len(rows)]
        return cls(np.concatenate(moved)) if moved else NO_TOMBSTONES

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, row: int) -> bool:
        at = bisect_left(self._sorted, row)
        return at < len(self._sorted) and self._sorted[at] == row

    def mark(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some rows were deleted: (n,)."""
        at = np.searchsorted(self.rows, rows)
        return np.append(self.rows, -2)[at] == rows

    def living(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the rows from `start` to `stop` that were not deleted."""
        mask = np.ones(max(stop - start, 0), bool)
        low, high = np.searchsorted(self.rows, [start, stop])
        mask[self.rows[low:high] - start] = False
        return np.flatnonzero(mask) + start

    def within(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the deleted rows from `start` to `stop`, counted from `start`."""
        low, high = np.searchsorted(self.rows, [start, stop])
        return self.rows[low:high] - start

    def refuse(self, rows: NDArray[np.int64]) -> None:
        """Raise `IndexError` where one of some rows was deleted."""
        dead = rows[self.mark(rows)]
        if len(dead):
            named = ", ".join(map(str, dead[:NAMED].tolist())) + (" ..." if len(dead) > NAMED else "")
            raise IndexError(f"deleted: row {named}; store.living_rows has the numbers of those that are there")


NO_TOMBSTONES = Tombstones(np.empty(0, np.int64))


def read_tombstones(path: Place, rows: int, *, check: bool, safe: bool) -> tuple[NDArray[np.int64], Container]:
    """Return which rows of a shard of so many were deleted, rising, and the file that says so."""
    container = open_container(path, check=check, safe=safe)
    about = container.description
    if about.get("kind") != KIND:
        raise FormatError("no tombstones of a store", path=path)
    refuse_features(about, KNOWN_FEATURES, path)
    found = container.expect(ROWS, "<u4").array().astype(np.int64)
    if found.ndim != 1 or (np.diff(found) <= 0).any() or (len(found) and found[-1] >= rows):
        raise CorruptError("deleted rows do not rise, or are none of the shard; restore the file", path=path)
    return found, container


def write_tombstones(path: Path, rows: NDArray[np.int64]) -> None:
    """Write which rows of a shard were deleted: rising numbers, (n,)."""
    container = ContainerWriter(path)
    container.put_array(ROWS, rows.astype("<u4"))
    container.close({"kind": KIND, "features": []})
