"""The key index: key -> row and row -> key, static and compact, read where it is mapped.

Three parts of a shard (docs/format.md, section 7 (Key index), has the bytes):

``keys.text``   pages of 16,384 keys: a start every 32 keys, a length byte a key, then the key text, once.
``keys.int64``  instead of the text when keys are integers: the integers.
``keys.table``  a hash table without empty slots: XXH64 of the key picks a bucket by its top bits; a bucket's slots
                are sorted, each 32 bits: some further bits of the hash, then the row.

Beside the text that is 4 bytes a slot, 4 bytes for every 8 to 16 keys of bucket directory, and 1.125 bytes of
lengths and starts: at most 5.6 bytes a key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.container.document import whole
from vecstore.errors import CorruptError, UnsupportedVersionError
from vecstore.keys.kind import KINDS, Key, KeyType
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys
from vecstore.keys.pages import PAGE_KEYS, pages_of

__all__ = ["TABLE_BUCKETS", "KeyIndex"]

TABLE_BUCKETS = 4096

xxh64 = xxhash.xxh64_intdigest


class KeyIndex:
    """The key index of a shard.

    Attributes
    ----------
    key_type : {"str", "bytes", "int64"}
    raw : callable
        ``raw(key)`` returns the bytes under which a key is hashed and compared; None when it cannot be a key here.
    """

    def __init__(self, container: Container, about: dict[str, Any], rows: int) -> None:
        self._container, self._rows = container, rows
        path = container.path
        key_type: Any = about.get("type")
        if not isinstance(key_type, str) or key_type not in KINDS:
            raise UnsupportedVersionError(
                "has keys of a type unknown to this vecstore: upgrade it",
                path=path,
                expected="str, bytes or int64",
                found=repr(key_type)[:40],
            )
        self.key_type: KeyType = key_type
        self.raw: Callable[[Any], bytes | None] = KINDS[key_type].raw
        self._bucket_bits = whole(about, "bucket_bits", path, most=32)
        self._row_bits = whole(about, "row_bits", path, least=1, most=32)
        self._row_mask = (1 << self._row_bits) - 1
        self._finger_bits = 32 - self._row_bits
        self._per_page = min(1 << self._bucket_bits, TABLE_BUCKETS)
        self._table = container.expect("keys.table", "<u4", encoding="key-table")
        self._pages = pages_of(key_type)(container, key_type, rows)
        self._require_whole_index(path)
        self._tables: list[memoryview | None] = [None] * self._table.blocks
        self._raw_of = self._pages.raw

    def _require_whole_index(self, path: str) -> None:
        """Check what the compiled lookup takes for granted: every page that a hash or a row can lead to is there."""
        table = self._table
        sound = (
            self._rows <= 1 << self._row_bits
            and table.blocks == (1 << self._bucket_bits) // self._per_page
            and bool((table.sizes >= 4 * (self._per_page + 1)).all())
            and not (table.sizes % 4).any()
            and self._pages.are_whole
        )
        if not sound:
            raise CorruptError("the key index does not agree with its description", path=path)

    def __len__(self) -> int:
        return self._rows

    def find(self, key: Any) -> int:
        """Return the row of `key`, or -1."""
        raw = self.raw(key)
        if raw is None:
            return -1
        h = xxh64(raw)
        page, at = divmod(h >> 64 - self._bucket_bits, self._per_page)
        table = self._tables[page] or self._open_table(page)
        first = self._per_page + 1
        low, high = first + table[at], first + table[at + 1]
        finger = (h >> 64 - self._bucket_bits - self._finger_bits) & ((1 << self._finger_bits) - 1)
        wanted = finger << self._row_bits
        slot = bisect_left(table, wanted, low, high)
        while slot < high:
            entry = table[slot]
            if entry >> self._row_bits != finger:
                break
            row = entry & self._row_mask
            if self._raw_of(row) == raw:
                return row
            slot += 1
        return -1

    def find_many(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each key, -1 where there is none: (n,) int64."""
        if len(keys) < KERNEL_KEYS:
            return np.array([self.find(key) for key in keys], np.int64)
        try:
            packed = PackedKeys(keys, self.key_type)
        except (TypeError, ValueError, AttributeError):  # some key is of another type, so it is not there
            return np.array([self.find(key) for key in keys], np.int64)
        return self.find_packed(packed)

    def find_packed(self, packed: PackedKeys) -> NDArray[np.int64]:
        """As `find_many`, compiled."""
        if self._table.unchecked or self._pages.unopened:
            self._check_pages_of(packed)
        table = (self._table.offsets, self._table.sizes, self._bucket_bits, self._row_bits)
        return self._pages.find(self._container.data.view("<u4"), table, packed)

    def key(self, row: int) -> Key:
        """Return the key of a row."""
        return self._pages.decoded(self._raw_of(row))

    def keys(self, rows: NDArray[np.int64]) -> list[Key]:
        """Return the keys of rows."""
        return self._pages.keys_of(rows)

    def packed_keys(self, rows: NDArray[np.int64]) -> PackedKeys:
        """Return the keys of rows in range, packed."""
        return PackedKeys(self.keys(rows), self.key_type)

    def __iter__(self) -> Iterator[Key]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[Key]]:
        """Yield all keys in row order, in lists of up to 16,384."""
        for page in range(self._pages.part.blocks):
            yield self._pages.keys(page)

    def packed_pages(self) -> list[PackedKeys]:
        """Return the same as runs of bytes, which lie where the file is mapped."""
        return [self._pages.packed(page) for page in range(self._pages.part.blocks)]

    def _open_table(self, page: int) -> memoryview:
        view = self._table.block_bytes(page).cast("I")
        words = np.frombuffer(view, "<u4")
        starts, slots = words[: self._per_page + 1], words[self._per_page + 1 :]
        sound = starts[0] == 0 and bool((starts[1:] >= starts[:-1]).all()) and starts[-1] <= len(slots)
        slots = slots[: starts[-1]] if sound else slots[:0]
        falls = np.flatnonzero(slots[1:] < slots[:-1]) + 1  # as they may from bucket to bucket: lookups bisect each
        sound = sound and bool((starts[np.searchsorted(starts, falls)] == falls).all())
        if not sound or int((slots & np.uint32(self._row_mask)).max(initial=0)) >= max(self._rows, 1):
            raise CorruptError("the key table points outside the store; restore the file", path=self._container.path)
        self._tables[page] = view
        return view

    def _check_pages_of(self, packed: PackedKeys) -> None:
        """Check the pages that a lookup of these keys reads."""
        table, pages = self._table, self._pages.part.blocks
        if len(packed) >= table.blocks + pages:  # it reads about all there are
            self._check_table(range(table.blocks))
            self._pages.open(range(pages))
            return
        hashes = packed.hashes()
        page, at = np.divmod(_top(hashes, self._bucket_bits), self._per_page)
        self._check_table(np.unique(page).tolist())
        slots, owner = self._slots(page, at)
        fingers = _top(hashes, self._bucket_bits + self._finger_bits) & ((1 << self._finger_bits) - 1)
        rows = (slots & self._row_mask)[slots >> self._row_bits == fingers[owner]]
        self._pages.open(np.unique(rows[rows < self._rows] // PAGE_KEYS).tolist())

    def _check_table(self, pages: Iterable[int]) -> None:
        for page in pages:
            if self._tables[page] is None:
                self._open_table(page)

    def _slots(self, page: NDArray[np.int64], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what stands in all slots of buckets (n,), counted from the start of their pages, and in which of n."""
        words, base = self._container.data.view("<u4"), self._table.offsets[page] // 4
        room = self._table.sizes[page] // 4 - self._per_page - 1
        low, high = words[base + at].astype(np.int64), words[base + at + 1].astype(np.int64)
        counts = np.where((low <= high) & (high <= room), high - low, 0)  # as the lookup does with malformed ones
        owner = np.repeat(np.arange(len(page)), counts)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        return words[(base + self._per_page + 1 + low)[owner] + place].astype(np.int64), owner


def _top(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """Return the first bits of hashes as numbers."""
    return (hashes >> np.uint64(1) >> np.uint64(63 - bits)).astype(np.int64)
