"""Which rows a search may find: what users give, a mask or row numbers, as a bit a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import OptionError

__all__ = ["Selection", "packed_bits"]


class Selection:
    """The rows that a search may find: some, or all, without others.

    Parameters
    ----------
    total : int
        Rows of the store.
    rows, exclude : array or None
        A mask (total,) of bool, or row numbers.

    Attributes
    ----------
    left_out : int
        How many rows may not be found, or more: those that both leave out count twice.

    Raises
    ------
    OptionError
        Neither, or a number that is not a row.
    """

    def __init__(self, total: int, rows: ArrayLike | None, exclude: ArrayLike | None) -> None:
        self._rows = None if rows is None else _given(total, rows, "rows")
        self._exclude = None if exclude is None else _given(total, exclude, "exclude")
        self.left_out = 0
        if self._rows is not None:
            self.left_out += total - _count(self._rows)
        if self._exclude is not None:
            self.left_out += _count(self._exclude)

    @property
    def everything(self) -> bool:
        """Whether no row is left out by what was given."""
        return self._rows is None and self._exclude is None

    def mask(self, first: int, count: int) -> NDArray[np.bool_]:
        """Return which of `count` rows from `first` on may be found."""
        chosen = np.ones(count, bool) if self._rows is None else _mask(self._rows, first, count)
        if self._exclude is not None:
            chosen &= ~_mask(self._exclude, first, count)
        return chosen

    def mask_of(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of these rows may be found: (n,)."""
        chosen = np.ones(len(rows), bool) if self._rows is None else _mask_of(self._rows, rows)
        if self._exclude is not None:
            chosen &= ~_mask_of(self._exclude, rows)
        return chosen


def packed_bits(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return a mask with bit i of item t for its item 32 t + i."""
    packed = np.zeros(-(-len(mask) // 32) * 4, np.uint8)
    packed[: -(-len(mask) // 8)] = np.packbits(mask, bitorder="little")
    return packed.view("<u4")


def _given(total: int, given: ArrayLike, name: str) -> NDArray[Any]:
    """Return a mask as it is, row numbers sorted."""
    found = np.asarray(given)
    if found.size == 0:
        return np.empty(0, np.int64)
    if found.ndim == 1 and found.dtype == bool:
        if len(found) != total:
            raise OptionError(f"{name}: a mask has one value a row, {total:,} here; found {len(found):,}")
        return found
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise OptionError(
            f"{name} is a mask of {total:,} bool or a list of row numbers, found {found.shape} of {found.dtype}; "
            "store.rows_of(keys) turns keys into row numbers"
        )
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= total:
        raise OptionError(f"{name}: {low if low < 0 else high} is no row of a store with {total:,} rows")
    return np.sort(found.astype(np.int64))


def _count(given: NDArray[Any]) -> int:
    """Return how many different rows a mask, or sorted row numbers, name."""
    if given.dtype == bool:
        return int(np.count_nonzero(given))
    return min(len(given), 1) + int(np.count_nonzero(np.diff(given)))


def _mask(given: NDArray[Any], first: int, count: int) -> NDArray[np.bool_]:
    if given.dtype == bool:
        return given[first : first + count].copy()
    mask = np.zeros(count, bool)
    low, high = np.searchsorted(given, [first, first + count])
    mask[given[low:high] - first] = True
    return mask


def _mask_of(given: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    if given.dtype == bool:
        return given[rows]
    if not len(given):
        return np.zeros(len(rows), bool)
    return given[np.minimum(np.searchsorted(given, rows), len(given) - 1)] == rows
