"""Which rows a search may find: what users give, a mask or row numbers, as positions or as a bit a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.container.part import Part
from vecstore.errors import OptionError
from vecstore.kernels import entries
from vecstore.search.section import Section

__all__ = ["EVERYTHING", "Selection", "as_numbers", "as_rows", "worth_picking"]

EVERYTHING = np.empty(0, np.uint32)  # bits of rows that may be found, where all may
PICKED_BYTES = 4000  # scanning so many bytes of codes takes as long as picking out one row
SCATTERED = 4  # times as long takes a group of rows that lies alone, not in a run: nothing fetches it ahead
LEAST_LISTED = 32  # not more rows than one in so many are kept as a list instead of a mask, however long codes are


class Selection:
    """The rows that a search may find: all, or some, without others.

    Parameters
    ----------
    sections : sequence of Section
    edges : list of int
        Rows edges[i] to edges[i + 1] are in section i.
    rows, exclude : array or None
        A mask (rows of the store,) of bool, or row numbers.

    Attributes
    ----------
    count : int
        How many rows may be found.
    narrowed : bool
        Whether some were selected, not only others left out.
    listed : (count,) int64 or None
        Their positions, sorted, where they are few.

    Raises
    ------
    OptionError
        Neither a mask nor numbers, or a number that is not a row.
    """

    def __init__(
        self, sections: Sequence[Section], edges: list[int], rows: ArrayLike | None, exclude: ArrayLike | None
    ) -> None:
        self._sections, self._edges, total = sections, edges, edges[-1]
        self.narrowed = rows is not None
        self.count = total
        self.listed: NDArray[np.int64] | None = None
        self._mask: NDArray[np.bool_] | None = None  # by position
        self._bits: dict[tuple[int, Part], NDArray[np.uint32]] = {}
        self._counts: dict[int, NDArray[np.int64]] = {}  # of each section, how many rows of each cell may be found
        some = None if rows is None else _given(total, rows, "rows")
        others = None if exclude is None else _given(total, exclude, "exclude")
        if some is not None and some.dtype != bool and self._is_few(len(some)):
            self._list(_rising(_checked(total, some, "rows")), others)
        elif some is not None or others is not None:
            self._set_mask(_mask(total, some, others))

    def in_section(self, number: int) -> NDArray[np.int64]:
        """Return the positions in a section of the rows in it that are listed: sorted."""
        assert self.listed is not None
        first, end = self._edges[number], self._edges[number + 1]
        low, high = np.searchsorted(self.listed, [first, end])
        return np.asarray(self.listed[low:high] - first)

    def among(self, number: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some positions in a section, sorted, that may be found."""
        if self.listed is not None:
            return np.intersect1d(self.in_section(number), positions, assume_unique=True)
        return positions if self._mask is None else positions[self._mask[positions + self._edges[number]]]

    def counts(self, number: int, ranges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows that may be found lie in the cells of a section, whose ranges are (..., 2): (...)."""
        if number not in self._counts:  # two threads may both do it
            if self.listed is not None:
                before = np.searchsorted(self.in_section(number), ranges)
            elif self._mask is not None:
                mask = self._mask[self._edges[number] : self._edges[number + 1]]
                before = np.concatenate([[0], np.cumsum(mask)])[ranges]
            else:
                before = ranges
            self._counts[number] = np.asarray(before[..., 1] - before[..., 0])
        return self._counts[number]

    def bits(self, number: int, part: Part) -> NDArray[np.uint32]:
        """Return which rows of a section may be found: bit i of item t for slot 32 t + i of a part; empty for all."""
        if self.count == self._edges[-1]:
            return EVERYTHING
        key = number, part
        if key not in self._bits:  # two threads may both do it
            first, end = self._edges[number], self._edges[number + 1]
            if self._mask is not None:
                mask = self._mask[first:end]
            else:
                mask = np.zeros(end - first, bool)
                mask[self.in_section(number)] = True
            self._bits[key] = _packed(part.placed(mask))
        return self._bits[key]

    def _is_few(self, count: int) -> bool:
        """Return whether so many rows are kept as a list: where picking them out may be faster than a scan."""
        code_bytes = max([1, *(section.layers[0].layer.code_bytes for section in self._sections)])
        return count * max(PICKED_BYTES / code_bytes, LEAST_LISTED) <= self._edges[-1]

    def _list(self, rows: NDArray[np.int64], others: NDArray[Any] | None) -> None:
        if others is not None:
            total = self._edges[-1]
            kept = ~others[rows] if others.dtype == bool else ~np.isin(rows, _checked(total, others, "exclude"))
            rows = rows[kept]
        positions = self._positions(rows)
        self.listed, self.count = rows if positions is rows else np.sort(positions), len(rows)

    def _set_mask(self, mask: NDArray[np.bool_]) -> None:
        self.count = int(np.count_nonzero(mask))
        if self._is_few(self.count):
            self._list(np.flatnonzero(mask), None)
            return
        for section, first, end in zip(self._sections, self._edges, self._edges[1:], strict=False):
            if not section.in_order:
                section.place(mask[first:end])
        self._mask = mask

    def _positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where sorted rows lie."""
        positions = rows
        cuts = np.searchsorted(rows, self._edges)
        for section, first, low, high in zip(self._sections, self._edges, cuts[:-1], cuts[1:], strict=False):
            if not section.in_order and low < high:
                positions = positions.copy() if positions is rows else positions
                positions[low:high] = section.positions(rows[low:high] - first) + first
        return positions


def as_rows(total: int, given: ArrayLike, name: str) -> NDArray[Any]:
    """Return a mask (total,) of bool as it is, row numbers (n,) as int64; raises `OptionError` for anything else."""
    found = _given(total, given, name)
    return found if found.dtype == bool else _checked(total, found, name)


def as_numbers(total: int, given: ArrayLike, name: str) -> NDArray[np.int64]:
    """As `as_rows`, with the numbers of a mask's rows."""
    found = as_rows(total, given, name)
    return np.flatnonzero(found) if found.dtype == bool else found


def _given(total: int, given: ArrayLike, name: str) -> NDArray[Any]:
    """As `as_rows`, but numbers may be those of no row."""
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
    return np.ascontiguousarray(found, np.int64)


def _checked(total: int, numbers: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """Return row numbers; raises `OptionError` for those of no row."""
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=-1))
    if low < 0 or high >= total:
        missing = "; rows_of gives -1 for a key that is not there: leave it out by rows[rows >= 0]" if low == -1 else ""
        raise OptionError(f"{name}: {low if low < 0 else high} is no row of a store with {total:,} rows{missing}")
    return numbers


def _rising(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers in order, each once; the array itself where they are."""
    if (rows[1:] > rows[:-1]).all():
        return rows
    rows = np.sort(rows)
    return rows[np.diff(rows, prepend=-1) > 0]


def _mask(total: int, some: NDArray[Any] | None, others: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Return a new mask of some rows (None for all) without others."""
    if some is not None and some.dtype == bool:
        mask = some.copy()
    else:
        mask = np.full(total, some is None)
        if some is not None:
            _mark(mask, some, True, "rows")
    if others is not None and others.dtype == bool:
        mask &= ~others
    elif others is not None:
        _mark(mask, others, False, "exclude")
    return mask


def _mark(mask: NDArray[np.bool_], numbers: NDArray[np.int64], value: bool, name: str) -> None:
    if entries.mark_rows(numbers, value, mask) < len(numbers):
        _checked(len(mask), numbers, name)


def _packed(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    packed = np.zeros(-(-len(mask) // 32) * 4, np.uint8)
    packed[: -(-len(mask) // 8)] = np.packbits(mask, bitorder="little")
    return packed.view("<u4")


def worth_picking(part: Part, rows: NDArray[np.int64], code_bytes: int) -> bool:
    """Return whether some rows of a part, rising, are sooner scored one by one than by a scan.

    That passes over groups of rows without one of them.
    """
    together = max(part.tile_rows, 32)
    groups = int(np.count_nonzero(np.diff(part.slots_of(rows) // together))) + 1 if len(rows) else 0
    return len(rows) * PICKED_BYTES <= min(groups * SCATTERED * together, part.rows) * code_bytes
