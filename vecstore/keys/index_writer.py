"""Write a key index as keys arrive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import ContainerWriter
from vecstore.container.mapped_file import mapped
from vecstore.errors import DuplicateKeyError, OptionError
from vecstore.keys.index import TABLE_BUCKETS
from vecstore.keys.kind import KINDS, KeyType
from vecstore.keys.packed import PackedKeys
from vecstore.keys.pages import MAX_KEY_BYTES, PAGE_KEYS, pages_of

__all__ = ["MAX_KEY_BYTES", "KeyIndexWriter"]

HELD_ROWS = 1 << 15  # whose hashes are held in memory; those of more go to a file
SORT_ROWS = 1 << 24  # rows whose slots are sorted in memory at once


class KeyIndexWriter:
    """Write the parts of a key index as keys arrive; memory stays bounded however many there are."""

    def __init__(self, container: ContainerWriter, key_type: KeyType) -> None:
        self._container, self.key_type = container, key_type
        self._pages = pages_of(key_type)
        self._count = 0
        self._pending: list[PackedKeys] = []
        self._pending_keys = 0
        self._held: list[NDArray[np.uint64]] = []
        self._file: IO[bytes] | None = None

    def add(self, keys: Sequence[Any] | NDArray[Any]) -> None:
        """Append the keys of the next rows."""
        self.add_packed(self.packed(keys))

    def packed(self, keys: Sequence[Any] | NDArray[Any]) -> PackedKeys:
        """Return keys as `add_packed` takes them; raises `OptionError` for those that no index holds."""
        packed = PackedKeys(keys, self.key_type)
        longest = int(packed.lengths.max(initial=0))
        if longest > MAX_KEY_BYTES:
            raise OptionError(f"a key of {longest} bytes: keys have at most {MAX_KEY_BYTES}")
        return packed

    def add_packed(self, packed: PackedKeys) -> None:
        """Append the keys of the next rows."""
        self._held.append(packed.hashes())
        self._count += len(packed)
        if self._file is not None or self._count > HELD_ROWS:
            self._spill()
        self._pending.append(packed.without_gaps())
        self._pending_keys += len(packed)
        if self._pending_keys >= PAGE_KEYS:
            self._write_pages(self._pending_keys // PAGE_KEYS * PAGE_KEYS)

    def close(self) -> dict[str, Any]:
        """Write what is left and the hash table; return the index's entry of the shard description.

        Raises
        ------
        DuplicateKeyError
            A key came twice; the message names both rows.
        OptionError
            There are more rows than a shard holds.
        """
        if self._pending_keys:
            self._write_pages(self._pending_keys)
        bucket_bits = max((self._count >> 3).bit_length() - 1, 0)  # 8 to 16 keys a bucket
        row_bits = max((self._count - 1).bit_length(), 1)
        if row_bits > 32:
            raise OptionError("a shard holds at most 2**32 rows; give a shard size")
        self._write_table(bucket_bits, row_bits)
        pages = self._pages
        more: dict[str, Any] = {} if pages.encoding is None else {"encoding": pages.encoding}
        self._container.declare(pages.part_name, pages.dtype, (self._count,), block_rows=PAGE_KEYS, **more)
        self.abort()
        return {"type": self.key_type, "bucket_bits": bucket_bits, "row_bits": row_bits}

    def abort(self) -> None:
        """Give up."""
        if self._file is not None:
            self._file.close()

    def hashes(self) -> NDArray[np.uint64]:
        """Return the hash of every key so far, by row; those of many are mapped from a file without a name."""
        if self._file is None:
            self._held = [np.concatenate([np.empty(0, np.uint64), *self._held])]
            return self._held[0]
        self._file.flush()
        return mapped(self._file.fileno(), 8 * self._count).view(np.uint64)

    def _spill(self) -> None:
        """Move the hashes that are held to a file."""
        if self._file is None:
            import tempfile

            # Anonymous: nothing stays behind however the process ends.
            self._file = tempfile.TemporaryFile(dir=Path(self._container.path).parent)  # noqa: SIM115
        for hashes in self._held:
            self._file.write(hashes.tobytes())
        self._held.clear()

    def _write_pages(self, count: int) -> None:
        """Write so many of the keys that wait, page by page."""
        waiting = PackedKeys.joined(self._pending)
        for start in range(0, count, PAGE_KEYS):
            page = waiting.part(start, min(start + PAGE_KEYS, count))
            self._container.put_block(self._pages.part_name, self._pages.written(page))
        self._pending_keys -= count
        self._pending = [waiting.part(count, len(waiting))] if self._pending_keys else []

    def _write_table(self, bucket_bits: int, row_bits: int) -> None:
        buckets, finger_bits = 1 << bucket_bits, 32 - row_bits
        per_page = min(buckets, TABLE_BUCKETS)
        pages = buckets // per_page
        hashes = self.hashes()
        passes = -(-self._count // SORT_ROWS) or 1
        edges = np.linspace(0, pages, min(passes, pages) + 1).astype(np.int64)
        for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            # entry = bucket << 32 | further hash bits << row_bits | row: sorting the entries builds the table
            entries = np.concatenate(
                [
                    self._entries(hashes, start, bucket_bits, row_bits, finger_bits, first * per_page, end * per_page)
                    for start in range(0, max(self._count, 1), 1 << 20)
                ]
            )
            entries.sort()
            self._refuse_duplicates(entries, hashes, row_bits)
            ends = np.searchsorted(entries >> np.uint64(32), np.arange(first * per_page, end * per_page + 1))
            for page in range(end - first):
                own = ends[page * per_page : (page + 1) * per_page + 1]
                slots = (entries[own[0] : own[-1]] & np.uint64(0xFFFFFFFF)).astype("<u4")
                self._container.put_block("keys.table", (own - own[0]).astype("<u4").tobytes() + slots.tobytes())
        self._container.declare("keys.table", "<u4", (self._count,), block_rows=per_page, encoding="key-table")

    @staticmethod
    def _entries(
        hashes: NDArray[np.uint64], start: int, bucket_bits: int, row_bits: int, finger_bits: int, low: int, high: int
    ) -> NDArray[np.uint64]:
        h = np.asarray(hashes[start : start + (1 << 20)])
        rows = np.arange(start, start + len(h), dtype=np.uint64)
        bucket = (h >> np.uint64(1)) >> np.uint64(63 - bucket_bits)
        inside = (bucket >= low) & (bucket < high)
        h, rows, bucket = h[inside], rows[inside], bucket[inside]
        finger = (h >> np.uint64(64 - bucket_bits - finger_bits)) & np.uint64((1 << finger_bits) - 1)
        return np.asarray(bucket << np.uint64(32) | finger << np.uint64(row_bits) | rows, np.uint64)

    def _refuse_duplicates(self, entries: NDArray[np.uint64], hashes: NDArray[np.uint64], row_bits: int) -> None:
        same = np.flatnonzero((entries[1:] >> np.uint64(row_bits)) == (entries[:-1] >> np.uint64(row_bits)))
        if not len(same):
            return
        rows = (entries & np.uint64((1 << row_bits) - 1)).astype(np.int64)
        # A run of equal fingerprints is short, but two equal keys need not be neighbours in it: compare by hash.
        suspects = np.unique(np.concatenate([rows[same], rows[same + 1]]))
        order = suspects[np.argsort(hashes[suspects], kind="stable")]
        for a, b in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
            if hashes[a] == hashes[b] and self._raw(a) == self._raw(b):
                raise DuplicateKeyError(
                    f"duplicate key {KINDS[self.key_type].decoded(self._raw(a))!r} in rows {a} and {b}; "
                    'keys must be unique (convert takes on_duplicate="first" or on_duplicate="last")'
                )

    def _raw(self, row: int) -> bytes:
        page, row = divmod(row, PAGE_KEYS)
        return self._pages.key_in(self._container.read_block(self._pages.part_name, page), row)
