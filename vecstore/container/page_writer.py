"""Write the pages of an LMDB file: values one behind the other as they come, and behind them the tree of their names.

The library takes the pages of the machine, 4 KiB or more, for every value and for all that describes them. A file of a
few thousand rows, as an append makes one, then consists of that for a third. So files that end small have pages of 512
bytes, which the library reads, too; large ones, in which that does not count, of 4 KiB.

The layout is that of LMDB 0.9 data version 1, as `vecstore.container.pages` reads it;
docs/format.md, section 2 (The LMDB file), has the bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vecstore.container.pages import BIG_VALUE, BRANCH, LEAF, META, NO_PAGE, PAGE_HEADER_BYTES
from vecstore.container.pages import MAGIC as LMDB_MAGIC

__all__ = ["LARGE_FILE_BYTES", "LARGE_PAGE_BYTES", "SMALL_PAGE_BYTES", "PageWriter"]

SMALL_PAGE_BYTES, LARGE_PAGE_BYTES = 512, 4096
LARGE_FILE_BYTES = 4 * 1024 * 1024  # from so many bytes of values on, which are held until then
META_PAGES = 2
OVERFLOW = 0x04
INTEGER_KEYS = 0x08  # of the list of free pages, which is empty

_OVERFLOW = struct.Struct("<QHHI")  # number, unused, kind, pages
_META = struct.Struct("<IIQQ")  # magic, data version, address, map size
_TREE = struct.Struct("<IHHQQQQQ")  # page size (of free pages), flags, depth, branch, leaf, overflow, entries, root
_TAIL = struct.Struct("<QQ")  # last page, transaction


class PageWriter:
    """Write a file value by value, in bounded memory. It can be read once it is closed, and not before.

    The same values in the same order give the same bytes, on every machine.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w+b")  # noqa: SIM115 - closed by `close` and `abort`
        self._waiting: dict[bytes, bytes] | None = {}  # values of a file that may end small
        self._waiting_bytes = 0
        self._page_bytes = SMALL_PAGE_BYTES
        self._places: dict[bytes, tuple[int, int]] = {}  # first page, and size of the value
        self._pages = META_PAGES

    @staticmethod
    def filled(value: memoryview) -> memoryview:
        """Return a value as it is stored: with zeros behind it, if it would not fill the smallest page."""
        least = SMALL_PAGE_BYTES - PAGE_HEADER_BYTES
        return value if len(value) >= least else memoryview(bytes(value).ljust(least, b"\0"))

    def put(self, name: bytes, value: memoryview) -> None:
        """Append a value; names differ."""
        if self._waiting is None:
            self._write(name, value)
            return
        self._waiting[name] = bytes(value)
        self._waiting_bytes += len(value)
        if self._waiting_bytes >= LARGE_FILE_BYTES:
            self._release(LARGE_PAGE_BYTES)

    def get(self, name: bytes) -> bytes:
        """Return a value that was put before."""
        if self._waiting is not None:
            return self._waiting[name]
        first, size = self._places[name]
        self._file.flush()
        return os.pread(self._file.fileno(), size, first * self._page_bytes + PAGE_HEADER_BYTES)

    def close(self) -> None:
        """Write the tree, and make the file durable."""
        if self._waiting is not None:
            self._release(SMALL_PAGE_BYTES)
        overflow, depth, leaves = self._pages - META_PAGES, 0, 0
        level = self._leaf_nodes()
        while not depth or len(level) > 1:
            level = self._level_above(level, BRANCH if depth else LEAF)
            depth, leaves = depth + 1, leaves or len(level)
        last = self._pages - 1  # the root
        counts = depth, last + 1 - META_PAGES - overflow - leaves, leaves, overflow, len(self._places), last
        self._file.seek(0)
        self._file.write(self._meta_page(0, (0, 0, 0, 0, 0, NO_PAGE), last))
        self._file.write(self._meta_page(1, counts, last))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abort(self) -> None:
        """Give up: let go of the file without completing it."""
        with suppress(OSError):  # of what was still to be written
            self._file.close()

    def __del__(self) -> None:
        """Give up where an error came in between."""
        if hasattr(self, "_file"):
            self.abort()

    def _release(self, page_bytes: int) -> None:
        """Write what waits, in pages of this size."""
        waiting, self._waiting, self._page_bytes = self._waiting or {}, None, page_bytes
        self._file.write(bytes(META_PAGES * page_bytes))
        for name, value in waiting.items():
            self._write(name, memoryview(value))

    def _write(self, name: bytes, value: memoryview) -> None:
        count = -(-(PAGE_HEADER_BYTES + len(value)) // self._page_bytes)
        self._places[name] = self._pages, len(value)
        self._file.write(_OVERFLOW.pack(self._pages, 0, OVERFLOW, count))
        self._file.write(value)
        self._file.write(bytes(count * self._page_bytes - PAGE_HEADER_BYTES - len(value)))
        self._pages += count

    def _leaf_nodes(self) -> list[_Node]:
        """Return the nodes of all values, in the order of their names."""
        places = sorted(self._places.items())
        return [
            _Node(name, struct.pack("<HHH", size & 0xFFFF, size >> 16, BIG_VALUE), first.to_bytes(8, "little"))
            for name, (first, size) in places
        ]

    def _level_above(self, nodes: Sequence[_Node], kind: int) -> list[_Node]:
        """Write pages of a tree that hold these nodes, and return those that lead to the pages."""
        groups: list[list[_Node]] = []
        room = 0
        for node in nodes:
            needed = 2 + node.size
            if needed > room:
                groups.append([])
                room = self._page_bytes - PAGE_HEADER_BYTES
            groups[-1].append(node)
            room -= needed
        if len(groups) > 1 and len(groups[-1]) == 1:  # the library asserts that a branch has two children
            groups[-1].insert(0, groups[-2].pop())
        return [_Node(group[0].name, self._tree_page(group, kind).to_bytes(6, "little"), b"") for group in groups]

    def _tree_page(self, nodes: Sequence[_Node], kind: int) -> int:
        """Write a page with these nodes, and return its number."""
        page, upper, pointers, number = bytearray(self._page_bytes), self._page_bytes, [], self._pages
        for at, node in enumerate(nodes):
            name = node.name if at or kind == LEAF else b""  # that of the first child would tell nothing
            body = node.head + struct.pack("<H", len(name)) + name + node.tail
            upper -= node.size
            page[upper : upper + len(body)] = body
            pointers.append(upper)
        lower = PAGE_HEADER_BYTES + 2 * len(nodes)
        assert lower <= upper, "names are shorter than a hundred bytes"
        struct.pack_into(f"<QHHHH{len(nodes)}H", page, 0, number, 0, kind, lower, upper, *pointers)
        self._file.write(page)
        self._pages += 1
        return number

    def _meta_page(self, number: int, tree: tuple[int, ...], last: int) -> bytes:
        """Return a meta page; the second one counts. The `tree` is its depth, pages, entries and root."""
        pieces = [
            _OVERFLOW.pack(number, 0, META, 0),
            _META.pack(LMDB_MAGIC, 1, 0, (last + 1) * self._page_bytes),
            _TREE.pack(self._page_bytes, INTEGER_KEYS, 0, 0, 0, 0, 0, NO_PAGE),
            _TREE.pack(0, 0, *tree),
            _TAIL.pack(last, number),
        ]
        return b"".join(pieces).ljust(self._page_bytes, b"\0")


class _Node(NamedTuple):
    """A node of a page of the tree: six bytes, a name, and in leaf pages where its value begins."""

    name: bytes
    head: bytes
    tail: bytes

    @property
    def size(self) -> int:
        """Bytes in the page, an even number."""
        return -(-(len(self.head) + 2 + len(self.name) + len(self.tail)) // 2) * 2
