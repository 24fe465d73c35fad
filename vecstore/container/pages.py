"""Read the B+tree of an LMDB file without trusting it.

LMDB believes its own pages: one flipped pointer makes the library read outside the map and the process dies.
A shard has few, large values, so its tree is a handful of pages. They are walked here once, at opening, every
number checked against the file before it is used, and what comes out is all a reader needs: where each value lies.

The layout is that of LMDB 0.9 data version 1 on 64-bit little-endian machines; see docs/format.md,
section 2 (The LMDB file).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptError, FormatError

__all__ = ["Extent", "read_tree"]

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


class Extent(NamedTuple):
    """A value's place in the file, in bytes."""

    offset: int
    size: int


def read_tree(
    data: NDArray[np.uint8], path: str, *, need: Callable[[int, int], object] | None = None
) -> dict[bytes, Extent]:
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

    def extents(self) -> dict[bytes, Extent]:
        found: dict[bytes, Extent] = {}
        if self.root != NO_PAGE:
            self._budget = self.last_page + 1  # no honest tree has more pages than the file
            self._walk(self.root, self.depth, found)
        if len(found) != self.entries:
            raise self._corrupt("meta page", f"{self.entries} entries", str(len(found)))
        self._refuse_overlaps(found)
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

    def _walk(self, page: int, depth: int, found: dict[bytes, Extent]) -> None:
        self._budget -= 1
        if not 2 <= page <= self.last_page or depth < 1 or self._budget < 0:
            raise self._corrupt(f"page {page}", "a tree of pages inside the file")
        at = page * self.page_bytes
        self.need(at, self.page_bytes)
        number, _, flags, lower, upper = _PAGE.unpack_from(self.data, at)
        expected = LEAF if depth == 1 else BRANCH
        if number != page or flags != expected or not PAGE_HEADER_BYTES <= lower <= upper <= self.page_bytes:
            raise self._corrupt(f"page {page}", "a branch or leaf page")
        nodes = self.data[at + PAGE_HEADER_BYTES : at + lower].tobytes()
        if len(nodes) % 2:
            raise self._corrupt(f"page {page}", "whole node pointers")
        for (pointer,) in struct.iter_unpack("<H", nodes):
            if not upper <= pointer <= self.page_bytes - _NODE.size:
                raise self._corrupt(f"page {page}", "node pointers inside the page")
            low, high, node_flags, key_size = _NODE.unpack_from(self.data, at + pointer)
            if depth > 1:
                self._walk(low | high << 16 | node_flags << 32, depth - 1, found)
            else:
                self._leaf(page, pointer, low | high << 16, node_flags, key_size, found)

    def _leaf(self, page: int, pointer: int, size: int, flags: int, key_size: int, found: dict[bytes, Extent]) -> None:
        if flags != BIG_VALUE:
            # A value inside a leaf page would not be aligned, so none of ours is there.
            raise FormatError(
                "not a vecstore store: an LMDB file of something else, or damaged", path=self.path, where=f"page {page}"
            )
        start = pointer + _NODE.size
        if start + key_size + 8 > self.page_bytes:
            raise self._corrupt(f"page {page}", "entries inside the page")
        at = page * self.page_bytes + start
        key = self.data[at : at + key_size].tobytes()
        if key in found:
            raise self._corrupt(f"page {page}", "distinct entry names")
        (first,) = struct.unpack_from("<Q", self.data, at + key_size)
        needed = -(-(PAGE_HEADER_BYTES + size) // self.page_bytes)
        # The header of the value's own pages is left unread: nothing here depends on it, and touching one page of
        # every block would make opening slow when cold and count most of the file as resident when warm.
        if not 2 <= first <= self.last_page + 1 - needed:
            raise self._corrupt(f"page {page}", "values inside the file")
        found[key] = Extent(first * self.page_bytes + PAGE_HEADER_BYTES, size)

    def _refuse_overlaps(self, found: dict[bytes, Extent]) -> None:
        end = 2 * self.page_bytes
        for offset, size in sorted(found.values()):
            if offset < end:
                raise self._corrupt(f"byte {offset}", "values that do not overlap")
            end = offset + size

    def _corrupt(self, where: str, expected: str | None = None, found: str | None = None) -> CorruptError:
        return CorruptError(
            "damaged: restore it from a copy or convert the dump again",
            path=self.path,
            where=where,
            expected=expected,
            found=found,
        )
