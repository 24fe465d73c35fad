"""The keys of a shard by row, in pages of 16,384: text with its lengths, or integers.

docs/format.md, section 7 (Key index), has the bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.errors import CorruptError
from vecstore.kernels import entries
from vecstore.keys.kind import KINDS, Key, KeyType
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys

__all__ = ["MAX_KEY_BYTES", "PAGE_KEYS", "IntegerPages", "KeyPages", "TextPages", "pages_of"]

GROUP_KEYS = 32
PAGE_KEYS = 16384
MAX_KEY_BYTES = 65535
LONG_KEY_BYTES = 255  # this length byte says: the true length is in the page's list of long keys


def pages_of(key_type: KeyType) -> type[KeyPages]:
    """Return how keys of a type lie in the file."""
    return IntegerPages if key_type == "int64" else TextPages


class KeyPages(ABC):
    """The part of a shard that holds its keys.

    Attributes
    ----------
    part_name, dtype, encoding
        What the container is told of the part when it is written, and must say when it is read.
    """

    part_name: ClassVar[str]
    dtype: ClassVar[str]
    encoding: ClassVar[str | None]

    def __init__(self, container: Container, key_type: KeyType, rows: int) -> None:
        self.part, self.kind = container.part(self.part_name), KINDS[key_type]
        self._container, self._rows = container, rows

    @property
    def are_whole(self) -> bool:
        """Whether the part is what the shard says of it: every page that a row can lead to is there."""
        part = self.part
        layout = (part.encoding, part.dtype, part.tile_rows)
        return (
            part.shape == (self._rows,)
            and part.block_rows == PAGE_KEYS
            and part.blocks == -(-self._rows // PAGE_KEYS)
            and layout == (self.encoding, self.dtype, 1)
        )

    @staticmethod
    @abstractmethod
    def written(keys: PackedKeys) -> bytes:
        """Return the bytes of a page of keys without gaps."""

    @staticmethod
    @abstractmethod
    def key_in(page: bytes, row: int) -> bytes:
        """Return a key of a page, counted from its start."""

    @property
    @abstractmethod
    def opened(self) -> NDArray[np.bool_]:
        """Which pages were checked: (pages,)."""

    @abstractmethod
    def open(self, pages: Iterable[int]) -> None:
        """Check pages, as `find` needs it; raises `CorruptError` for those that are damaged."""

    @abstractmethod
    def raw(self, row: int) -> bytes:
        """Return the bytes of a row's key."""

    @abstractmethod
    def keys_of(self, rows: NDArray[np.int64]) -> list[Key]:
        """Return the keys of rows."""

    @abstractmethod
    def keys(self, page: int) -> list[Key]:
        """Return all keys of a page."""

    @abstractmethod
    def packed(self, page: int) -> PackedKeys:
        """Return all keys of a page as they lie in the file."""

    def decoded(self, raw: bytes) -> Key:
        """Return the key that these bytes are; raises `CorruptError` when they are none."""
        try:
            return self.kind.decoded(raw)
        except UnicodeDecodeError:
            raise CorruptError(f"a key is not UTF-8: {raw[:40]!r}", path=self._container.path) from None


class IntegerPages(KeyPages):
    """Integers, 8 bytes each."""

    part_name, dtype, encoding = "keys.int64", "<i8", None

    @staticmethod
    def written(keys: PackedKeys) -> bytes:
        return keys.text.tobytes()

    @staticmethod
    def key_in(page: bytes, row: int) -> bytes:
        return page[8 * row : 8 * row + 8]

    @property
    def opened(self) -> NDArray[np.bool_]:
        return np.full(self.part.blocks, not self.part.unchecked)

    def open(self, pages: Iterable[int]) -> None:
        for page in pages:
            self.part.check_block(page)

    def raw(self, row: int) -> bytes:
        page, at = divmod(row, PAGE_KEYS)
        if self.part.unchecked:
            self.part.check_row(page, at)
        offset = int(self.part.offsets[page]) + 8 * at
        return self._container.data[offset : offset + 8].tobytes()

    def keys_of(self, rows: NDArray[np.int64]) -> list[Key]:
        part = self.part
        if part.unchecked:
            part.check_rows(rows)
        page, at = np.divmod(rows, PAGE_KEYS)
        keys: list[Key] = self._container.data.view("<i8")[part.offsets[page] // 8 + at].tolist()
        return keys

    def keys(self, page: int) -> list[Key]:
        keys: list[Key] = self.part.block(page).tolist()
        return keys

    def packed(self, page: int) -> PackedKeys:
        return PackedKeys.of_rows(self.part.block(page))


class TextPages(KeyPages):
    """Text: a start every 32 keys, a length byte a key, then the keys one after the other."""

    part_name, dtype, encoding = "keys.text", "|u1", "key-pages"

    def __init__(self, container: Container, key_type: KeyType, rows: int) -> None:
        super().__init__(container, key_type, rows)
        self._pages: list[_TextPage | None] = [None] * self.part.blocks
        self._unopened = self.part.blocks

    @staticmethod
    def written(keys: PackedKeys) -> bytes:
        count, lengths = len(keys), keys.lengths
        starts = keys.starts[:-1:GROUP_KEYS]
        long_rows = np.flatnonzero(lengths >= LONG_KEY_BYTES)
        longs = np.stack([long_rows, lengths[long_rows]], axis=1)
        pieces = [
            np.array([count, len(longs)], "<u4").tobytes(),
            starts.astype("<u4").tobytes(),
            np.minimum(lengths, LONG_KEY_BYTES).astype("u1").tobytes().ljust(-(-count // 4) * 4, b"\0"),
            longs.astype("<u4").tobytes(),
            keys.text.tobytes(),
        ]
        return b"".join(pieces)

    @staticmethod
    def key_in(page: bytes, row: int) -> bytes:
        return _TextPage(memoryview(page)).key(row)

    @property
    def opened(self) -> NDArray[np.bool_]:
        return np.array([page is not None for page in self._pages], bool)

    def open(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._page(page)

    def raw(self, row: int) -> bytes:
        page, at = divmod(row, PAGE_KEYS)
        return (self._pages[page] or self._page(page)).key(at)

    def keys_of(self, rows: NDArray[np.int64]) -> list[Key]:
        if len(rows) < KERNEL_KEYS:
            return [self.decoded(self.raw(row)) for row in rows.tolist()]
        data, part = self._container.data, self.part
        if self._unopened:
            self.open(np.flatnonzero(np.bincount(rows // PAGE_KEYS)).tolist())
        starts, lengths = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        entries.locate_texts(data, data.view("<u4"), part.offsets, part.sizes, rows, starts, lengths)
        places = [slice(*edges) for edges in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]
        text = memoryview(data)
        return [self.decoded(bytes(text[place])) for place in places]

    def keys(self, page: int) -> list[Key]:
        return [self.decoded(raw) for raw in self._page(page).all_keys()]

    def packed(self, page: int) -> PackedKeys:
        return self._page(page).packed(self.kind.name)

    def _page(self, page: int) -> _TextPage:
        found = self._pages[page]
        if found is None:
            found = _TextPage(self.part.block_bytes(page), self._container.path)
            if found.count != min(PAGE_KEYS, self._rows - page * PAGE_KEYS):
                raise CorruptError("a page of keys lacks some; restore the file", path=self._container.path)
            self._pages[page] = found
            self._unopened = self._pages.count(None)
        return found


class _TextPage:
    """One page of key text, as views."""

    __slots__ = ("_first_text", "_lengths", "_longs", "_starts", "count", "view")

    def __init__(self, view: memoryview, path: str | None = None) -> None:
        count, longs = view[:8].cast("I")
        lengths = 8 + 4 * -(-count // GROUP_KEYS)
        long_list = lengths + -(-count // 4) * 4
        self._first_text = long_list + 8 * longs
        if longs > count or self._first_text > len(view):
            raise CorruptError("a page of keys is shorter than it says; restore the file", path=path)
        self.view, self.count = view, count
        self._starts = view[8:lengths].cast("I")
        self._lengths = view[lengths : lengths + count]
        self._longs = view[long_list : self._first_text].cast("I").tolist()
        if not self._is_sound():
            raise CorruptError("a page of keys contradicts itself; restore the file", path=path)

    def _is_sound(self) -> bool:
        """Whether long keys and starts are those of the lengths, and all of the text is there."""
        own = np.frombuffer(self._lengths, np.uint8)
        if not self._longs:  # as in nearly all pages
            ends = own.cumsum(dtype=np.int64)
            whole = not self.count or self._first_text + int(ends[-1]) <= len(self.view)
            return whole and LONG_KEY_BYTES not in own and np.array_equal(self._starts, (ends - own)[::GROUP_KEYS])
        rows = np.array(self._longs[::2], np.int64)
        if not np.array_equal(rows, np.flatnonzero(own == LONG_KEY_BYTES)):
            return False
        lengths = self._all_lengths()
        ends = np.cumsum(lengths)
        starts = (ends - lengths)[::GROUP_KEYS]
        long = lengths[rows].min(initial=LONG_KEY_BYTES) >= LONG_KEY_BYTES and lengths.max(initial=0) <= MAX_KEY_BYTES
        whole = not self.count or self._first_text + int(ends[-1]) <= len(self.view)
        return whole and bool(long) and np.array_equal(self._starts, starts)

    def _all_lengths(self) -> NDArray[np.int64]:
        lengths = np.frombuffer(self._lengths, np.uint8).astype(np.int64)
        lengths[self._longs[::2]] = self._longs[1::2]
        return lengths

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

    def packed(self, key_type: KeyType) -> PackedKeys:
        return PackedKeys.of_text(np.frombuffer(self.view, np.uint8)[self._first_text :], self._all_lengths(), key_type)

    def all_keys(self) -> list[bytes]:
        lengths = self._all_lengths()
        ends = self._first_text + np.cumsum(lengths)
        text = self.view
        return [bytes(text[a:b]) for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
