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
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.container.document import whole
from vecstore.errors import CorruptError, UnsupportedVersionError
from vecstore.keys.kind import KINDS, Key, KeyType
from vecstore.keys.packed import PackedKeys
from vecstore.keys.pages import pages_of

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
    table : Part
        The hash table, in pages of `TABLE_BUCKETS` buckets.
    bucket_bits, row_bits : int
    key_pages : KeyPages
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
        self.bucket_bits = whole(about, "bucket_bits", path, most=32)
        self.row_bits = whole(about, "row_bits", path, least=1, most=32)
        self._row_mask = (1 << self.row_bits) - 1
        self._finger_bits = 32 - self.row_bits
        self._per_page = min(1 << self.bucket_bits, TABLE_BUCKETS)
        self.table = container.expect("keys.table", "<u4", encoding="key-table")
        self.key_pages = pages_of(key_type)(container, key_type, rows)
        self._require_whole_index(path)
        self._tables: list[memoryview | None] = [None] * self.table.blocks
        self._raw_of = self.key_pages.raw

    def _require_whole_index(self, path: str) -> None:
        """Check what the compiled lookup takes for granted: every page that a hash or a row can lead to is there."""
        table = self.table
        sound = (
            self._rows <= 1 << self.row_bits
            and table.blocks == (1 << self.bucket_bits) // self._per_page
            and bool((table.sizes >= 4 * (self._per_page + 1)).all())
            and not (table.sizes % 4).any()
            and self.key_pages.are_whole
        )
        if not sound:
            raise CorruptError("the key index does not agree with its description", path=path)

    def __len__(self) -> int:
        return self._rows

    @property
    def data(self) -> NDArray[np.uint8]:
        """The whole file."""
        return self._container.data

    @property
    def opened_tables(self) -> NDArray[np.bool_]:
        """Which pages of the table were checked: (pages,)."""
        return np.array([table is not None for table in self._tables], bool)

    def find(self, key: Any) -> int:
        """Return the row of `key`, or -1."""
        raw = self.raw(key)
        return -1 if raw is None else self.row_of(raw, xxh64(raw))

    def row_of(self, raw: bytes, h: int) -> int:
        """Return the row of the key that is hashed and compared as `raw`, h being its hash, or -1."""
        page, at = divmod(h >> 64 - self.bucket_bits, self._per_page)
        table = self._tables[page] or self.open_table(page)
        first = self._per_page + 1
        low, high = first + table[at], first + table[at + 1]
        finger = (h >> 64 - self.bucket_bits - self._finger_bits) & ((1 << self._finger_bits) - 1)
        wanted = finger << self.row_bits
        slot = bisect_left(table, wanted, low, high)
        while slot < high:
            entry = table[slot]
            if entry >> self.row_bits != finger:
                break
            row = entry & self._row_mask
            if self._raw_of(row) == raw:
                return row
            slot += 1
        return -1

    def key(self, row: int) -> Key:
        """Return the key of a row."""
        return self.key_pages.decoded(self._raw_of(row))

    def keys(self, rows: NDArray[np.int64]) -> list[Key]:
        """Return the keys of rows."""
        return self.key_pages.keys_of(rows)

    def packed_keys(self, rows: NDArray[np.int64]) -> PackedKeys:
        """Return the keys of rows in range, packed."""
        return PackedKeys(self.keys(rows), self.key_type)

    def __iter__(self) -> Iterator[Key]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[Key]]:
        """Yield all keys in row order, in lists of up to 16,384."""
        for page in range(self.key_pages.part.blocks):
            yield self.key_pages.keys(page)

    def packed_pages(self) -> list[PackedKeys]:
        """Return the same as runs of bytes, which lie where the file is mapped."""
        return [self.key_pages.packed(page) for page in range(self.key_pages.part.blocks)]

    def open_table(self, page: int) -> memoryview:
        """Check a page of the table; raises `CorruptError`."""
        view = self.table.block_bytes(page).cast("I")
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
