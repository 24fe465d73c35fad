"""Read the B+tree of an LMDB file without trusting it.

LMDB believes its own pages: one flipped pointer makes the library read outside the map and the process dies.
A shard has few, large values, so its tree is a handful of pages. They are walked here once, at opening, every
number checked against the file before it is used, and what comes out is all a reader needs: where each value lies.

The layout is that of LMDB 0.9 data version 1 on 64-bit little-endian machines; see docs/format.md,
section 2 (The LMDB file).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptError, FormatError

__all__ = ["Extent", "Extents", "read_tree"]

PAGE_HEADER_BYTES = 16
MAGIC = 0xBEEFC0DE
BRANCH, LEAF, META = 0x01, 0x02, 0x08
BIG_VALUE = 0x01
NO_PAGE = 0xFFFF_FFFF_FFFF_FFFF
MAX_DEPTH = 16

_PAGE = struct.Struct("<QHHHH")  # page number, pad, flags, lower, upper
_META = struct.Struct("<IIQQ")  # magic, data version, address, map size
_DB = struct.Struct(
    "<IHHQQQQQ"
)  # pad (page size in the first), flags, depth, branch, leaf, overflow pages, entries, root
_TAIL = struct.Struct("<QQ")  # last page, transaction id
_NODE = struct.Struct("<HHHH")  # low, high, flags, key size
_WORD = 8  # bytes of a page number


class Extent(NamedTuple):
    """A value's place in the file, in bytes."""

    offset: int
    size: int


class Extents(Mapping[bytes, Extent]):
    """Where values lie, by their names.

    Attributes
    ----------
    places : (values, 2) int64
        Offsets and sizes.
    """

    def __init__(self, names: Sequence[bytes], places: NDArray[np.int64]) -> None:
        self.places, self._numbers = places, dict(zip(names, range(len(names)), strict=True))

    def __getitem__(self, name: bytes) -> Extent:
        return Extent(*self.places[self._numbers[name]].tolist())

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, names: Iterable[bytes]) -> NDArray[np.int64]:
        """Return where several values lie, (n, 2); raises `KeyError` where one is not there."""
        numbers = self._numbers
        return self.places[np.array([numbers[name] for name in names], np.int64)]


def read_tree(data: NDArray[np.uint8], path: str, *, need: Callable[[int, int], object] | None = None) -> Extents:
    """Return where every value of the main database of an LMDB file lies.

    Parameters
    ----------
    data : (size,) uint8
        The whole file, mapped.
    path : str
        For messages.
    need : function, optional
        Called with offset and length of bytes before they are read, which are inside of `data`.

    Raises
    ------
    FormatError
        The file is not an LMDB file.
    CorruptError
        The file is cut off, or a page contradicts itself or another one.
    """
    return _Tree(data, path, need or _here).extents()


def _here(offset: int, length: int) -> None:
    """Do nothing: the whole file is mapped."""


class _Tree:
    def __init__(self, data: NDArray[np.uint8], path: str, need: Callable[[int, int], object]) -> None:
        self.data, self.path, self.size, self.need = data, path, len(data), need
        self.page_bytes = self._page_bytes()
        meta = max((self._meta(page) for page in (0, 1)), key=lambda found: found[1])
        (self.depth, self.leaves, self.entries, self.root), self.transaction, self.last_page = meta
        if (self.last_page + 1) * self.page_bytes > self.size:
            raise CorruptError(
                "the file is cut off; copy it again",
                path=path,
                expected=f"{(self.last_page + 1) * self.page_bytes} bytes",
                found=f"{self.size}",
            )

    def extents(self) -> Extents:
        names: list[bytes] = []
        places = [np.empty((0, 2), np.int64)]  # of the values: offsets and sizes
        if self.root != NO_PAGE:
            self._budget = self.last_page + 1  # no honest tree has more pages than the file
            self._walk(self.root, self.depth, names, places)
        if len(names) != self.entries:
            raise self._corrupt("meta page", f"{self.entries} entries", str(len(names)))
        found = Extents(names, np.concatenate(places))
        self._refuse_overlaps(found.places)
        if len(found) != len(names):
            raise self._corrupt("leaf pages", "distinct entry names")
        return found

    def _page_bytes(self) -> int:
        if self.size < 2 * 512:
            raise FormatError("not a vecstore store: too short", path=self.path, found=f"{self.size} bytes")
        self.need(0, 2 * 512)
        if _META.unpack_from(self.data, PAGE_HEADER_BYTES)[0] != MAGIC:
            raise FormatError(
                "not a vecstore store: it does not begin like an LMDB file; convert a dump with 'vecstore convert'",
                path=self.path,
            )
        page_bytes = int(_DB.unpack_from(self.data, PAGE_HEADER_BYTES + _META.size)[0])
        if not (512 <= page_bytes <= 65536 and page_bytes & (page_bytes - 1) == 0 and 2 * page_bytes <= self.size):
            raise self._corrupt("page 0", "a page size that is a power of two from 512 to 65536", str(page_bytes))
        self.need(0, 2 * page_bytes)
        return page_bytes

    def _meta(self, page: int) -> tuple[tuple[int, int, int, int], int, int]:
        at = page * self.page_bytes
        number, _, flags, _, _ = _PAGE.unpack_from(self.data, at)
        at += PAGE_HEADER_BYTES
        magic, version, _, _ = _META.unpack_from(self.data, at)
        at += _META.size
        free_pad, *_ = _DB.unpack_from(self.data, at)
        _, db_flags, depth, _, leaves, _, entries, root = _DB.unpack_from(self.data, at + _DB.size)
        last_page, transaction = _TAIL.unpack_from(self.data, at + 2 * _DB.size)
        where = f"meta page {page}"
        if (number, flags, magic, version) != (page, META, MAGIC, 1) or free_pad != self.page_bytes:
            raise self._corrupt(where, "an LMDB meta page of data version 1")
        if db_flags != 0:
            raise FormatError("not a vecstore store: its main database has flags", path=self.path, found=hex(db_flags))
        if depth > MAX_DEPTH:
            raise self._corrupt(where, f"a tree of at most {MAX_DEPTH} levels", str(depth))
        if root != NO_PAGE and not (2 <= root <= last_page and depth):
            raise self._corrupt(where, "a root page inside the file")
        return (depth, leaves, entries, root), transaction, last_page

    def _walk(self, page: int, depth: int, names: list[bytes], places: list[NDArray[np.int64]]) -> None:
        self._budget -= 1
        if not 2 <= page <= self.last_page or depth < 1 or self._budget < 0:
            raise self._corrupt(f"page {page}", "a tree of pages inside the file")
        at = page * self.page_bytes
        self.need(at, self.page_bytes)
        number, _, flags, lower, upper = _PAGE.unpack_from(self.data, at)
        expected = LEAF if depth == 1 else BRANCH
        if number != page or flags != expected or not PAGE_HEADER_BYTES <= lower <= upper <= self.page_bytes:
            raise self._corrupt(f"page {page}", "a branch or leaf page")
        if lower % 2:
            raise self._corrupt(f"page {page}", "whole node pointers")
        pointers = self.data[at + PAGE_HEADER_BYTES : at + lower].view("<u2").astype(np.int64)
        if not ((upper <= pointers) & (pointers <= self.page_bytes - _NODE.size)).all():
            raise self._corrupt(f"page {page}", "node pointers inside the page")
        if depth == 1:
            self._leaf(page, pointers, names, places)
            return
        for pointer in pointers.tolist():
            low, high, node_flags, _ = _NODE.unpack_from(self.data, at + pointer)
            self._walk(low | high << 16 | node_flags << 32, depth - 1, names, places)

    def _leaf(
        self, page: int, pointers: NDArray[np.int64], names: list[bytes], places: list[NDArray[np.int64]]
    ) -> None:
        """Append what the nodes of a leaf page say, all at once: a large store has thousands."""
        own = self.data[page * self.page_bytes : (page + 1) * self.page_bytes]
        low, high, flags, key_size = own[pointers[:, None] + np.arange(_NODE.size)].view("<u2").astype(np.int64).T
        if (flags != BIG_VALUE).any():
            # A value inside a leaf page would not be aligned, so none of ours is there.
            raise FormatError(
                "not a vecstore store: an LMDB file of something else, or damaged", path=self.path, where=f"page {page}"
            )
        starts = pointers + _NODE.size
        ends = starts + key_size
        if (ends + _WORD > self.page_bytes).any():
            raise self._corrupt(f"page {page}", "entries inside the page")
        sizes, first = low | high << 16, own[ends[:, None] + np.arange(_WORD)].view("<i8")[:, 0]
        needed = -(-(PAGE_HEADER_BYTES + sizes) // self.page_bytes)
        # The header of the value's own pages is left unread: nothing here depends on it, and touching one page of
        # every block would make opening slow when cold and count most of the file as resident when warm.
        if not ((first >= 2) & (first <= self.last_page + 1 - needed)).all():
            raise self._corrupt(f"page {page}", "values inside the file")
        text = own.tobytes()
        names += [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        places.append(np.column_stack([first * self.page_bytes + PAGE_HEADER_BYTES, sizes]))

    def _refuse_overlaps(self, places: NDArray[np.int64]) -> None:
        offsets, sizes = places[np.lexsort(places.T[::-1])].T
        ends = np.concatenate([[2 * self.page_bytes], offsets + sizes])[:-1]
        wrong = np.flatnonzero(offsets < ends)
        if len(wrong):
            raise self._corrupt(f"byte {offsets[wrong[0]]}", "values that do not overlap")

    def _corrupt(self, where: str, expected: str | None = None, found: str | None = None) -> CorruptError:
        return CorruptError(
            "damaged: restore it from a copy or convert the dump again",
            path=self.path,
            where=where,
            expected=expected,
            found=found,
        )
