"""Key indexes of several shards, asked for many keys by one call of compiled code."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.joined_part import joined_bytes
from vecstore.container.part import Part
from vecstore.kernels import entries
from vecstore.keys.index import TABLE_BUCKETS, KeyIndex
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys
from vecstore.keys.pages import PAGE_KEYS
from vecstore.parallel import over_slices

__all__ = ["KeyIndexes", "find_many"]

LEAST_EACH = 4096  # keys that are worth a thread


def find_many(index: KeyIndex, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """Return the row of each key in one index, -1 where there is none: (n,) int64."""
    if len(keys) >= KERNEL_KEYS:
        try:
            packed = PackedKeys(keys, index.key_type)
        except (TypeError, ValueError, AttributeError):  # some key is of another type, so it is not there
            pass
        else:
            return KeyIndexes([index]).find(packed, packed.hashes(), np.zeros(len(packed), np.int64))
    return np.array([index.find(key) for key in keys], np.int64)


class KeyIndexes:
    """The key indexes of some shards, whose keys are of one type. Their files stay mapped as long as it is referenced.

    Pages are counted through all of them, those of the tables and those of the keys.
    """

    def __init__(self, indexes: Sequence[KeyIndex]) -> None:
        self._indexes = list(indexes)
        tables, keys = [index.table for index in indexes], [index.key_pages.part for index in indexes]
        self._data, shifts = joined_bytes([index.data for index in indexes])
        self._tables = _Pages(tables, shifts, [index.opened_tables for index in indexes])
        self._pages = _Pages(keys, shifts, [index.key_pages.opened for index in indexes])
        self._words = self._data.view("<u4")
        # What describes each index to the kernels, see `kernels.lookup`.
        bits = np.array([[index.bucket_bits, index.row_bits] for index in indexes])
        counts = np.array([[len(self._pages.of(number)), len(index)] for number, index in enumerate(indexes)])
        self._about = np.column_stack([bits, self._tables.firsts[:-1], self._pages.firsts[:-1], counts])

    def find(self, packed: PackedKeys, hashes: NDArray[np.uint64], which: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each packed key in the index which[i]; -1 where there is none, or none is asked (-1)."""
        if self._tables.fresh or self._pages.fresh:
            asked = which >= 0
            self._open_for(hashes[asked], which[asked])
        out, integers = np.empty(len(packed), np.int64), packed.integers
        where = self._words, self._tables.offsets, self._tables.sizes, self._pages.offsets

        def find(part: slice) -> None:
            asked = self._about, which[part], hashes[part]
            if integers is not None:
                entries.find_integers(*where, *asked, integers[part], out[part])
                return
            keys = packed.text, packed.starts[part.start : part.stop + 1], packed.gap
            entries.find_texts(self._data, *where, self._pages.sizes, *asked, *keys, out[part])

        over_slices(find, len(packed), at_least=LEAST_EACH)
        return out

    def _open_for(self, hashes: NDArray[np.uint64], which: NDArray[np.int64]) -> None:
        """Check the pages that a lookup of keys with these hashes reads, where that has not been done."""
        about = self._about[which].T
        bucket_bits, row_bits, rows = about[0], about[1], about[5]
        per_page = np.minimum(np.int64(1) << bucket_bits, TABLE_BUCKETS)
        page, at = np.divmod(_top(hashes, bucket_bits), per_page)
        for number, own in self._tables.opening(about[2] + page):
            self._indexes[number].open_table(own)
        slots, owner = self._slots(about[2] + page, at, per_page)
        fingers = _top(hashes, bucket_bits + (32 - row_bits)) & ((np.int64(1) << 32 - row_bits) - 1)
        row = slots & ((np.int64(1) << row_bits) - 1)[owner]
        like = (slots >> row_bits[owner] == fingers[owner]) & (row < rows[owner])
        for number, own in self._pages.opening((about[3][owner] + row // PAGE_KEYS)[like]):
            self._indexes[number].key_pages.open((own,))

    def _slots(
        self, page: NDArray[np.int64], at: NDArray[np.int64], per_page: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what stands in all slots of buckets (n,), counted from the start of their pages, and in which of n."""
        words, base = self._words, self._tables.offsets[page] // 4
        room = self._tables.sizes[page] // 4 - per_page - 1
        low, high = words[base + at].astype(np.int64), words[base + at + 1].astype(np.int64)
        counts = np.where((low <= high) & (high <= room), high - low, 0)  # as the lookup does with malformed ones
        owner = np.repeat(np.arange(len(page)), counts)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        return words[(base + per_page + 1 + low)[owner] + place].astype(np.int64), owner


class _Pages:
    """Pages of several files, one behind the other, and which of them were opened.

    Attributes
    ----------
    firsts : (files + 1,) int64
        Those of file i are firsts[i] to firsts[i + 1].
    offsets, sizes : (pages,) int64
        In the bytes of all files.
    fresh : int
        How many were not opened yet.
    """

    def __init__(self, parts: Sequence[Part], shifts: NDArray[np.int64], opened: Sequence[NDArray[np.bool_]]) -> None:
        counts = [part.blocks for part in parts]
        self.firsts = np.concatenate([[0], np.cumsum(counts)])
        self.offsets = np.concatenate([part.offsets for part in parts]) + np.repeat(shifts, counts)
        self.sizes = np.concatenate([part.sizes for part in parts])
        self._opened = np.concatenate(opened)
        self.fresh = int(np.count_nonzero(~self._opened))

    def of(self, file: int) -> range:
        """Return the pages of a file."""
        return range(int(self.firsts[file]), int(self.firsts[file + 1]))

    def opening(self, pages: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Yield file, and number in it, of pages that were not opened yet; each is, when the next one is asked for."""
        for page in np.unique(pages[~self._opened[pages]]).tolist():
            file = bisect_right(self.firsts, page) - 1
            yield file, page - int(self.firsts[file])
            self._opened[page] = True
        self.fresh = len(self._opened) - int(np.count_nonzero(self._opened))


def _top(hashes: NDArray[np.uint64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first bits of hashes as numbers."""
    return (hashes >> np.uint64(1) >> (63 - bits).astype(np.uint64)).astype(np.int64)
