"""The key index: key -> row and row -> key, static and compact, read where it is mapped.

Three parts of a shard (docs/format.md, section 5, has the bytes):

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
from typing import Any, Literal, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.container import Container, ContainerWriter
from vecstore.errors import CorruptError, ShapeError, UnsupportedVersionError
from vecstore.members import whole
from vecstore.parallel import over_slices

__all__ = ["Key", "KeyIndex", "KeyIndexWriter", "KeyType", "PackedKeys", "key_type_of"]

Key: TypeAlias = str | bytes | int
KeyType: TypeAlias = Literal["str", "bytes", "int64"]

GROUP_KEYS = 32
PAGE_KEYS = 16384
TABLE_BUCKETS = 4096
MAX_KEY_BYTES = 65535
LONG_KEY_BYTES = 255  # this length byte says: the true length is in the page's list of long keys
SORT_ROWS = 1 << 24  # rows whose slots are sorted in memory at once
KERNEL_KEYS = 256  # from this many keys on, a compiled lookup pays for itself

xxh64 = xxhash.xxh64_intdigest


def key_type_of(keys: Sequence[Any] | NDArray[Any]) -> KeyType:
    """Return the type that all `keys` have; raises `ShapeError` when they mix or have another one."""
    if isinstance(keys, np.ndarray) and keys.dtype.kind in "iu":
        if keys.dtype.kind == "u" and len(keys) and int(keys.max()) > np.iinfo(np.int64).max:
            raise ShapeError("integer keys go up to 2**63 - 1; store larger ones as strings")
        return "int64"
    kinds = {type(key) for key in keys}
    names: dict[KeyType, tuple[type, ...]] = {"str": (str, np.str_), "bytes": (bytes, np.bytes_)}
    for name, types in names.items():
        if kinds and kinds <= set(types):
            return name
    if kinds and all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return "int64"
    found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
    raise ShapeError(f"keys must be all str, all bytes or all int, found {found}")


class PackedKeys:
    """Keys as one run of bytes: key i is text[starts[i] : starts[i + 1] - gap].

    Integers are packed as 8 bytes each, little-endian.
    """

    gap = 0

    def __init__(self, keys: Sequence[Any] | NDArray[Any], key_type: KeyType) -> None:
        self.key_type = key_type
        if key_type == "int64":
            given = np.asarray(keys)
            # Nothing is converted: 1.5 must not become the key 1, nor 2**64 - 1 the key -1.
            whole = given.ndim == 1 and (not len(given) or given.dtype.kind in "iu")
            if not whole or (len(given) and given.max() > np.iinfo(np.int64).max):
                raise ShapeError("integer keys go from -2**63 to 2**63 - 1; store larger ones as strings")
            self.integers = np.ascontiguousarray(given, "<i8")
            self.text: NDArray[np.uint8] = self.integers.view(np.uint8)
            self.starts = np.arange(0, 8 * len(keys) + 1, 8, dtype=np.int64)
            return
        try:
            joined = "\0".join(keys).encode() if key_type == "str" else b"\0".join(keys)
        except UnicodeEncodeError as error:
            bad = error.object[max(error.start - 20, 0) : error.end]
            raise ShapeError(f"a key cannot be written as UTF-8, at {bad!r}; pass bytes keys instead") from None
        self.text = np.frombuffer(joined, np.uint8)
        zeros = np.flatnonzero(self.text == 0)
        if len(zeros) == len(keys) - 1:  # the zeros are the separators: no key has one
            self.gap = 1
            self.starts = np.concatenate([[0], zeros + 1, [len(joined) + 1]])
            return
        encoded = [key.encode() for key in keys] if key_type == "str" else keys
        self.text = np.frombuffer(b"".join(encoded), np.uint8)
        self.starts = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(keys)), out=self.starts[1:])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each key: (n,) int64."""
        return np.diff(self.starts) - self.gap

    def take(self, chosen: NDArray[np.int64]) -> PackedKeys:
        """Return the keys of these places."""
        taken = PackedKeys.__new__(PackedKeys)
        taken.key_type = self.key_type
        lengths = self.lengths[chosen]
        taken.starts = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(lengths, out=taken.starts[1:])
        places = np.repeat(self.starts[chosen] - taken.starts[:-1], lengths) + np.arange(int(taken.starts[-1]))
        taken.text = self.text[places]
        if self.key_type == "int64":
            taken.integers = self.integers[chosen]
        return taken

    def hashes(self, seed: int = 0) -> NDArray[np.uint64]:
        """Return the XXH64 of each key: (n,) uint64."""
        from vecstore.kernels.hashing import xxh64_packed

        return xxh64_packed(self.text, self.starts, gap=self.gap, seed=seed)


class KeyIndexWriter:
    """Write the parts of a key index as keys arrive; memory stays bounded however many there are."""

    def __init__(self, container: ContainerWriter, key_type: KeyType) -> None:
        self._container, self._key_type = container, key_type
        self._count = 0
        self._pending: list[bytes] = []
        self._pending_lengths: list[int] = []
        import tempfile

        # Anonymous: nothing stays behind however the process ends.
        self._hashes = tempfile.TemporaryFile(dir=Path(container.path).parent)  # noqa: SIM115

    def add(self, keys: Sequence[Any] | NDArray[Any]) -> None:
        """Append the keys of the next rows."""
        packed = PackedKeys(keys, self._key_type)
        lengths = packed.lengths
        if len(lengths) and int(lengths.max()) > MAX_KEY_BYTES:
            raise ShapeError(f"a key of {int(lengths.max())} bytes: keys have at most {MAX_KEY_BYTES}")
        self._hashes.write(packed.hashes().tobytes())
        self._count += len(packed)
        text = packed.text.tobytes()
        starts = packed.starts[:-1].tolist()
        self._pending += [text[at : at + length] for at, length in zip(starts, lengths.tolist(), strict=True)]
        self._pending_lengths += lengths.tolist()
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
        text = "keys.int64" if self._key_type == "int64" else "keys.text"
        if self._key_type == "int64":
            rows = PAGE_KEYS
            self._container.declare(text, "<i8", (self._count,), block_rows=rows)
        else:
            self._container.declare(text, "|u1", (self._count,), block_rows=PAGE_KEYS, encoding="key-pages")
        self._hashes.close()
        return {"type": self._key_type, "bucket_bits": bucket_bits, "row_bits": row_bits}

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
        page, lengths = self._pending[:count], np.array(self._pending_lengths[:count], np.int64)
        del self._pending[:count], self._pending_lengths[:count]
        if self._key_type == "int64":
            self._container.put_block("keys.int64", b"".join(page))
            return
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
                    f"duplicate key {self._shown(a)!r} in rows {a} and {b}; "
                    "keys must be unique (convert takes --on-duplicate first or last)"
                )

    def _shown(self, row: int) -> Key:
        raw = self._key_bytes(row)
        if self._key_type == "int64":
            return int.from_bytes(raw, "little", signed=True)
        return raw if self._key_type == "bytes" else raw.decode()

    def _key_bytes(self, row: int) -> bytes:
        page, row = divmod(row, PAGE_KEYS)
        part = "keys.int64" if self._key_type == "int64" else "keys.text"
        block = self._container.read_block(part, page)
        if self._key_type == "int64":
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
                "has keys of a type unknown to this vecstore: upgrade it (pip install -U vecstore)",
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
        if self.key_type == "str":
            try:
                return raw.decode()
            except UnicodeDecodeError:
                raise CorruptError(f"a key is not UTF-8: {raw[:40]!r}", path=self._container.path) from None
        return raw if self.key_type == "bytes" else int.from_bytes(raw, "little", signed=True)

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
