"""The permutation of a shard whose rows are stored in the order of their cells but keep the dump's numbers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.errors import CorruptError

__all__ = ["ORDER_BYTES", "ROW_OF", "Order"]

ROW_OF = "order.row_of"
ORDER_BYTES = 4  # of a row: its number, where that is not its position


class Order:
    """Which row lies at which position; mapped, four bytes a row.

    The way back, `positions`, is worked out when it is first asked for, and kept in memory.
    """

    def __init__(self, container: Container, rows: int) -> None:
        self._part, self._rows, self._path = container.expect(ROW_OF, "<u4", (rows,)), rows, container.path

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows at positions in range: (n,)."""
        found = self._part.values(positions).astype(np.int64)
        if int(found.max(initial=0)) >= self._rows:
            raise self._damaged()
        return found

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of rows in range: (n,)."""
        return self._positions[rows].astype(np.int64)

    def placed(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        """Return values (rows,) by position that are given by row: a new array."""
        found = np.empty_like(of_rows)
        found[self._positions] = of_rows
        return found

    def verify(self) -> None:
        """Raise `CorruptError` unless every row lies somewhere."""
        _ = self._positions

    @cached_property
    def _positions(self) -> NDArray[np.uint32]:
        row_of = self._part.array()
        if int(row_of.max(initial=0)) >= self._rows:
            raise self._damaged()
        positions, seen = np.zeros(self._rows, np.uint32), np.zeros(self._rows, bool)
        positions[row_of], seen[row_of] = np.arange(self._rows, dtype=np.uint32), True
        if not seen.all():
            raise self._damaged()
        return positions

    def _damaged(self) -> CorruptError:
        return CorruptError("the order of the rows is no permutation; restore the file from a copy", path=self._path)
