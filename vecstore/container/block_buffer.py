"""Rows on their way into blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

__all__ = ["BlockBuffer"]


class BlockBuffer:
    """Collects rows until a block of them is full.

    Parameters
    ----------
    block : (block rows, ...) array
        Where rows are collected; what it held is overwritten.

    Attributes
    ----------
    rows : int
        How many were added in all.
    """

    def __init__(self, block: NDArray[Any]) -> None:
        self.block = block
        self.rows = self._filled = 0

    def add(self, rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Append rows (n, ...) and yield the block whenever it is full, valid until the next step.

        Where enough rows come at once for a block, it is a view of them.
        """
        alike = rows.dtype == self.block.dtype and rows.flags.c_contiguous
        while len(rows):
            if alike and not self._filled and len(rows) >= len(self.block):
                self.rows += len(self.block)
                yield rows[: len(self.block)]
                rows = rows[len(self.block) :]
                continue
            take = min(len(rows), len(self.block) - self._filled)
            self.block[self._filled : self._filled + take] = rows[:take]
            self._filled += take
            self.rows += take
            rows = rows[take:]
            if self._filled == len(self.block):
                yield self.rest()

    def rest(self) -> NDArray[Any]:
        """Return the rows that are waiting, possibly none, and begin the block anew."""
        filled, self._filled = self._filled, 0
        return self.block[:filled]
