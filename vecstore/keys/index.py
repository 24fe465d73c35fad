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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.container.container import Container, ContainerWriter
from vecstore.container.document import whole
from vecstore.errors import CorruptError, ShapeError, UnsupportedVersionError
from vecstore.keys.packed import KERNEL_KEYS, Key, KeyType, PackedKeys, key_from_bytes
from vecstore.parallel import over_slices

__all__ = ["MAX_KEY_BYTES", "PAGE_KEYS", "KeyIndex", "KeyIndexWriter"]

GROUP_KEYS = 32
PAGE_KEYS = 16384
TABLE_BUCKETS = 4096
MAX_KEY_BYTES = 65535
LONG_KEY_BYTES = 255  # this length byte says: the true length is in the page's list of long keys
SORT_ROWS = 1 << 24  # rows whose slots are sorted in memory at once

xxh64 = xxhash.xxh64_intdigest


class KeyIndexWriter:
    """Write the parts of a key index as keys arrive; memory stays bounded however many there are."""

    def __init__(self, container: ContainerWriter, key_type: KeyType) -> None:
        self._container, self.key_type = container, key_type
        import tempfile

        self._count = 0
        self._pending: list[bytes] = []
        # Anonymous: nothing stays behind however the process ends.
        self._hashes = tempfile.TemporaryFile(dir=Path(container.path).parent)  # noqa: SIM115

    def add(self, keys: Sequence[Any] | NDArray[Any]) -> None:
        """Append the keys of the next rows."""
        self.add_packed(self.packed(keys))

    def packed(self, keys: Sequence[Any] | NDArray[Any]) -> PackedKeys:
        """Return keys as `add_packed` takes them; raises `ShapeError` for those that no index holds."""
        packed = PackedKeys(keys, self.key_type)
        longest = int(packed.lengths.max(initial=0))
        if longest > MAX_KEY_BYTES:
            raise ShapeError(f"a key of {longest} bytes: keys have at most {MAX_KEY_BYTES}")
        return packed

    def add_packed(self, packed: PackedKeys) -> None:
        """Append the keys of the next rows."""
        lengths = packed.lengths
        self._hashes.write(packed.hashes().tobytes())
        self._count += len(packed)
        text = packed.text.tobytes()
        starts = packed.starts[:-1].tolist()
        self._pending += [text[at : at + length] for at, length in zip(starts, lengths.tolist(), strict=True)]
        while len(self._pending) >= PAGE_KEYS:
            self._write_page(PAGE_KEYS)

    def close(self) -> dict[str, Any]:
        """Write what is left and the hash table; return the index's entry of the shard description."""
        if self._pending:
            self._write_page(len(self._pending))
        bucket_bits = max((self._count >> 3).bit_length() - 1, 0)  # 8 to 16 keys a bucket
        row_bits = max((self._count - 1).bit_length(), 1)
        if row_bits > 32:
            raise ShapeError("a shard holds at most 2**32 rows; give a shard size")
        self._write_table(bucket_bits, row_bits)
        text = "keys.int64" if self.key_type == "int64" else "keys.text"
        if self.key_type == "int64":
            rows = PAGE_KEYS
            self._container.declare(text, "<i8", (self._count,), block_rows=rows)
        else:
            self._container.declare(text, "|u1", (self._count,), block_rows=PAGE_KEYS, encoding="key-pages")
        self._hashes.close()
        return {"type": self.key_type, "bucket_bits": bucket_bits, "row_bits": row_bits}

    def abort(self) -> None:
        """Give up."""
        self._hashes.close()

    def hashes(self) -> NDArray[np.uint64]:
        """Return the hash of every key so far, by row, mapped from a temporary file that ends with `close`."""
        self._hashes.flush()
        if not self._count:
            return np.empty(0, np.uint64)
        return np.memmap(self._hashes, np.uint64, "r", shape=(self._count,))

    def _write_page(self, count: int) -> None:
        page = self._pending[:count]
        del self._pending[:count]
        if self.key_type == "int64":
            self._container.put_block("keys.int64", b"".join(page))
            return
        lengths = np.fromiter(map(len, page), np.int64, count)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])[::GROUP_KEYS]
        long_rows = np.flatnonzero(lengths >= LONG_KEY_BYTES)
        longs = np.stack([long_rows, lengths[long_rows]], axis=1)
        pieces = [
            np.array([count, len(longs)], "<u4").tobytes(),
            starts.astype("<u4").tobytes(),
            np.minimum(lengths, LONG_KEY_BYTES).astype("u1").tobytes().ljust(-(-count // 4) * 4, b"\0"),
            longs.astype("<u4").tobytes(),
            *page,
        ]
        self._container.put_block("keys.text", b"".join(pieces))

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
            if hashes[a] == hashes[b] and self._key_bytes(a) == self._key_bytes(b):
                raise ShapeError(
                    f"duplicate key {key_from_bytes(self._key_bytes(a), self.key_type)!r} in rows {a} and {b}; "
                    "keys must be unique (convert takes --on-duplicate first or last)"
                )

    def _key_bytes(self, row: int) -> bytes:
        page, row = divmod(row, PAGE_KEYS)
        part = "keys.int64" if self.key_type == "int64" else "keys.text"
        block = self._container.read_block(part, page)
        if self.key_type == "int64":
            return block[8 * row : 8 * row + 8]
        return _TextPage(memoryview(block)).key(row)


class _TextPage:
    """One page of key text, as views."""

    __slots__ = ("_first_text", "_lengths", "_longs", "_starts", "count", "view")

    def __init__(self, view: memoryview, path: str | None = None) -> None:
        count, longs = view[:8].cast("I")
        lengths = 8 + 4 * -(-count // GROUP_KEYS)
        long_list = lengths + -(-count // 4) * 4
        self._first_text = long_list + 8 * longs
        if self._first_text > len(view):
            raise CorruptError("a page of keys is shorter than it says; restore the file", path=path)
        self.view, self.count = view, count
        self._starts = view[8:lengths].cast("I")
        self._lengths = view[lengths : lengths + count]
        self._longs = view[long_list : self._first_text].cast("I").tolist()
        if max(self._longs[::2], default=-1) >= count:
            raise CorruptError("a page of keys names a long key that it lacks; restore the file", path=path)

    def key(self, row: int) -> bytes:
        group = row // GROUP_KEYS
        at = self._first_text + self._starts[group] + sum(self._lengths[group * GROUP_KEYS : row])
        length = self._lengths[row]
        for i in range(0, len(self._longs), 2):
            long_row, extra = self._longs[i], self._longs[i + 1] - LONG_KEY_BYTES
            if group * GROUP_KEYS <= long_row < row:
                at += extra
            elif long_row == row:
                length += extra
        return bytes(self.view[at : at + length])

    def all_keys(self) -> list[bytes]:
        lengths = np.frombuffer(self._lengths, np.uint8).astype(np.int64)
        lengths[self._longs[::2]] = self._longs[1::2]
        ends = self._first_text + np.cumsum(lengths)
        text = self.view
        return [bytes(text[a:b]) for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]


class KeyIndex:
    """The key index of a shard."""

    def __init__(self, container: Container, about: dict[str, Any], rows: int) -> None:
        self._container, self._rows = container, rows
        path = container.path
        self.key_type: KeyType = about.get("type")  # type: ignore[assignment]
        if self.key_type not in ("str", "bytes", "int64"):
            raise UnsupportedVersionError(
                "has keys of a type unknown to this vecstore: upgrade it",
                path=path,
                expected="str, bytes or int64",
                found=repr(self.key_type)[:40],
            )
        self._bucket_bits = whole(about, "bucket_bits", path, most=32)
        self._row_bits = whole(about, "row_bits", path, least=1, most=32)
        self._row_mask = (1 << self._row_bits) - 1
        self._finger_bits = 32 - self._row_bits
        self._per_page = min(1 << self._bucket_bits, TABLE_BUCKETS)
        self._table = container.part("keys.table")
        self._text = container.part("keys.int64" if self.key_type == "int64" else "keys.text")
        self._require_whole_index(path)
        self._tables: list[memoryview | None] = [None] * self._table.blocks
        self._pages: list[_TextPage | None] = [None] * self._text.blocks

    def _require_whole_index(self, path: str) -> None:
        """Check what the compiled lookup takes for granted: every page that a hash or a row can lead to is there."""
        table, text = self._table, self._text
        layout = (None, "<i8", 1) if self.key_type == "int64" else ("key-pages", "|u1", 1)
        sound = (
            table.blocks == (1 << self._bucket_bits) // self._per_page
            and bool((table.sizes >= 4 * (self._per_page + 1)).all())
            and text.shape == (self._rows,)
            and text.block_rows == PAGE_KEYS
            and text.blocks == -(-self._rows // PAGE_KEYS)
            and (text.encoding, text.dtype, text.tile_rows) == layout
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
            if self._key_bytes(row) == raw:
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
        from vecstore.kernels import lookup

        if self._table.unchecked or self._text.unchecked:
            self._check_all()
        out = np.empty(len(packed), np.int64)
        data = self._container.data
        words = data.view("<u4")
        table = (self._table.offsets, self._table.sizes, self._bucket_bits, self._row_bits)
        if self.key_type == "int64":
            integers, text = packed.integers, packed.text
            lookup.find_integers(words, *table, self._text.offsets, self._rows, text, integers, out)
            return out
        where = (self._text.offsets, self._text.sizes)

        def find(part: slice) -> None:
            starts = packed.starts[part.start : part.stop + 1]
            lookup.find_texts(data, words, *table, *where, packed.text, starts, packed.gap, out[part])

        over_slices(find, len(packed), at_least=4096)
        return out

    def key(self, row: int) -> Key:
        """Return the key of a row."""
        return self._decoded(self._key_bytes(row))

    def keys(self, rows: NDArray[np.int64]) -> list[Key]:
        """Return the keys of rows."""
        if self.key_type == "int64":
            return [self.key(row) for row in rows.tolist()]
        pages, at = np.divmod(rows, PAGE_KEYS)
        return [self._decoded(self._page(p).key(r)) for p, r in zip(pages.tolist(), at.tolist(), strict=True)]

    def packed_keys(self, rows: NDArray[np.int64]) -> PackedKeys:
        """Return the keys of rows in range, packed."""
        found: Any = self.keys(rows)
        return PackedKeys(np.array(found, np.int64) if self.key_type == "int64" else found, self.key_type)

    def __iter__(self) -> Iterator[Key]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[Key]]:
        """Yield all keys in row order, in lists of up to 16,384."""
        for page in range(self._text.blocks):
            if self.key_type == "int64":
                yield self._text.block(page).tolist()
            else:
                yield [self._decoded(raw) for raw in self._page(page).all_keys()]

    def raw(self, key: Any) -> bytes | None:
        """Return the bytes under which a key is hashed and compared; None when it cannot be a key of this index."""
        try:
            if self.key_type == "str":
                return str.encode(key)
            if self.key_type == "bytes":
                return bytes(key) if isinstance(key, bytes) else None
            if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
                return int(key).to_bytes(8, "little", signed=True)
        except (TypeError, UnicodeEncodeError, OverflowError):
            pass
        return None

    def _decoded(self, raw: bytes) -> Key:
        try:
            return key_from_bytes(raw, self.key_type)
        except UnicodeDecodeError:
            raise CorruptError(f"a key is not UTF-8: {raw[:40]!r}", path=self._container.path) from None

    def _key_bytes(self, row: int) -> bytes:
        page, at = divmod(row, PAGE_KEYS)
        if self.key_type == "int64":
            if self._text.unchecked:
                self._text.check_row(page, at)
            offset = int(self._text.offsets[page]) + 8 * at
            return self._container.data[offset : offset + 8].tobytes()
        return (self._pages[page] or self._page(page)).key(at)

    def _page(self, page: int) -> _TextPage:
        found = self._pages[page]
        if found is None:
            found = _TextPage(self._text.block_bytes(page), self._container.path)
            if found.count != min(PAGE_KEYS, self._rows - page * PAGE_KEYS):
                raise CorruptError("a page of keys lacks some; restore the file", path=self._container.path)
            self._pages[page] = found
        return found

    def _open_table(self, page: int) -> memoryview:
        view = self._table.block_bytes(page).cast("I")
        words = np.frombuffer(view, "<u4")
        starts, slots = words[: self._per_page + 1], words[self._per_page + 1 :]
        sound = starts[0] == 0 and bool((starts[1:] >= starts[:-1]).all()) and starts[-1] <= len(slots)
        if not sound or int((slots[: starts[-1]] & np.uint32(self._row_mask)).max(initial=0)) >= max(self._rows, 1):
            raise CorruptError("the key table points outside the store; restore the file", path=self._container.path)
        self._tables[page] = view
        return view

    def _check_all(self) -> None:
        for part in (self._table, self._text):
            for block in range(part.blocks):
                part.check_block(block)
