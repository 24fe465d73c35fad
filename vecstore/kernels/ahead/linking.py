"""An object file made into a shared library for Linux, by what such a library needs at least.

The loader of the system maps it: its code is shared by all processes, and no process holds memory of its own for it but
a page of addresses. Nothing but Python is needed to make one, for any processor.

The layout and the numbers are those of the System V ABI (edition 4.1), its supplement for AMD64 and the ELF for the Arm
64-bit Architecture.

    code     header, symbols, addresses to fill in, read-only data, instructions, stubs of imported functions
    data     where the parts of the library lie (DYNAMIC), addresses of what is imported (GOT)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["IMPORTS", "link"]

PAGE = 1 << 16  # the largest of any system
X86, ARM = 62, 183  # e_machine
ALLOCATED, WRITTEN = 2, 1  # flags of a section
SYMBOLS, RELOCATIONS, EMPTY = 2, 4, 8  # types of sections
ADDRESS_OF = {X86: 6, ARM: 1025}  # the relocation that fills a slot of the GOT

# Of libc, and what is stable of Python: nothing else may come in.
IMPORTS = ("malloc", "free", "memcpy", "memmove", "memset", "Py", "_Py")


class Section(NamedTuple):
    name: str
    kind: int
    flags: int
    content: bytes
    info: int
    align: int


class Symbol(NamedTuple):
    name: str
    exported: bool
    section: int  # 0: imported
    value: int


class Relocation(NamedTuple):
    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


def link(given: bytes) -> bytes:
    """Return the shared library that exports what is global in an object file."""
    return _Library(_Object(given)).content()


class _Object:
    """What an object file holds."""

    def __init__(self, given: bytes) -> None:
        self.machine: int = struct.unpack_from("<H", given, 18)[0]
        start, (_, count, names) = struct.unpack_from("<Q", given, 40)[0], struct.unpack_from("<HHH", given, 58)
        heads = [struct.unpack_from("<IIQQQQIIQQ", given, start + 64 * i) for i in range(count)]
        texts = [b"" if kind == EMPTY else given[at : at + size] for _, kind, _, _, at, size, *_ in heads]
        self.sections = [
            Section(_text(texts[names], name), kind, flags, content, info, max(align, 1))
            for (name, kind, flags, _, _, _, _, info, align, _), content in zip(heads, texts, strict=True)
        ]
        for (*_, size, link, _, _, _), section in zip(heads, self.sections, strict=True):
            if section.kind == EMPTY and size:
                raise ValueError(f"{section.name}: a library of kernels has no variables")
            if section.kind == SYMBOLS:
                self.symbols = [
                    Symbol(_text(texts[link], name), about >> 4 == 1 and place > 0, place, value)
                    for name, about, _, place, value, _ in struct.iter_unpack("<IBBHQQ", section.content)
                ]
        self.relocations = [
            Relocation(section.info, offset, about & 0xFFFFFFFF, about >> 32, addend)
            for section in self.sections
            if section.kind == RELOCATIONS
            for offset, about, addend in struct.iter_unpack("<QQq", section.content)
        ]


@dataclass
class _Library:
    """The parts of a library, at the addresses that they get."""

    object: _Object

    def __post_init__(self) -> None:
        given = self.object
        kept = [
            number
            for number, section in enumerate(given.sections)
            if section.flags & ALLOCATED and section.content and section.name != ".eh_frame"
        ]
        for number in kept:
            if given.sections[number].flags & WRITTEN:
                raise ValueError(f"{given.sections[number].name}: a library of kernels has no variables")
        used = {relocation.symbol for relocation in given.relocations if relocation.section in kept}
        self.imported = sorted(given.symbols[number].name for number in used if not given.symbols[number].section)
        foreign = [name for name in self.imported if not name.startswith(IMPORTS)]
        if foreign:
            raise ValueError(f"{', '.join(foreign)}: a library finds outside of it only {', '.join(IMPORTS)}")
        self.exported = [symbol for symbol in given.symbols if symbol.exported]
        self.names = b"\0" + b"".join(
            name.encode() + b"\0" for name in (*self.imported, *(symbol.name for symbol in self.exported))
        )
        count = 1 + len(self.imported) + len(self.exported)
        # Each part begins where the one before ends.
        self.symbols_at = 64 + 4 * 56
        self.names_at = self.symbols_at + 24 * count
        self.hash_at = _up(self.names_at + len(self.names), 8)
        self.fills_at = _up(self.hash_at + 4 * (3 + count), 8)
        self.places, at = {}, self.fills_at + 24 * len(self.imported)
        for number in kept:
            self.places[number] = at = _up(at, given.sections[number].align)
            at += len(given.sections[number].content)
        self.stubs_at = _up(at, 16)
        self.code_end = self.stubs_at + 16 * len(self.imported)
        self.data_at = _up(self.code_end, 16)  # in the file; in memory a page further
        self.dynamic_at = self.data_at + PAGE
        self.slots_at = self.dynamic_at + self._length
        self.end = self.slots_at + 8 * len(self.imported)

    def content(self) -> bytes:
        """Return the file."""
        content = bytearray(self.end - PAGE)
        parts = [
            (0, self._header()),
            (self.symbols_at, self._symbol_table()),
            (self.names_at, self.names),
            (self.hash_at, self._hash_table()),
            (self.fills_at, b"".join(self._fills())),
            *((place, self.object.sections[number].content) for number, place in self.places.items()),
            (self.stubs_at, b"".join(map(self._stub, range(len(self.imported))))),
            (self.data_at, b"".join(struct.pack("<QQ", *entry) for entry in self._dynamic(len(self.names)))),
        ]
        for at, part in parts:
            content[at : at + len(part)] = part
        for relocation in self.object.relocations:
            if relocation.section in self.places:
                self._relocate(content, relocation)
        return bytes(content)

    def _header(self) -> bytes:
        library, segments_at, sizes = 3, 64, (64, 56, 4, 64, 0, 0)
        head = struct.pack("<4sBBB9xHHI", b"\x7fELF", 2, 1, 1, library, self.object.machine, 1)
        head += struct.pack("<QQQIHHHHHH", 0, segments_at, 0, 0, *sizes)
        data, size, length = (self.data_at, self.dynamic_at, self.dynamic_at), self.end - self.dynamic_at, self._length
        loaded, dynamic, stack = 1, 2, 0x6474E551
        executed, written, read = 1, 2, 4
        segments = [
            (loaded, read | executed, 0, 0, 0, self.code_end, self.code_end, PAGE),
            (loaded, read | written, *data, size, size, PAGE),
            (dynamic, read | written, *data, length, length, 8),
            (stack, read | written, 0, 0, 0, 0, 0, 16),  # not executed
        ]
        return head + b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in segments)

    @property
    def _length(self) -> int:
        """Bytes that `_dynamic` takes."""
        return 16 * len(self._dynamic(0))

    def _dynamic(self, names_size: int) -> list[tuple[int, int]]:
        return [
            (4, self.hash_at),
            (5, self.names_at),
            (6, self.symbols_at),
            (10, names_size),
            (11, 24),
            (7, self.fills_at),
            (8, 24 * len(self.imported)),
            (9, 24),
            (0, 0),
        ]

    def _symbol_table(self) -> bytes:
        table, at = bytes(24), 1
        for name in self.imported:
            table += struct.pack("<IBBHQQ", at, 0x10, 0, 0, 0, 0)
            at += len(name.encode()) + 1
        for symbol in self.exported:
            table += struct.pack("<IBBHQQ", at, 0x12, 0, 1, self.places[symbol.section] + symbol.value, 0)
            at += len(symbol.name.encode()) + 1
        return table

    def _hash_table(self) -> bytes:
        """All symbols in one bucket: they are few, and looked up once."""
        count = 1 + len(self.imported) + len(self.exported)
        chain = [0, *range(2, count), 0] if count > 1 else [0]
        return struct.pack(f"<III{count}I", 1, count, min(1, count - 1), *chain)

    def _fills(self) -> Iterator[bytes]:
        for i in range(len(self.imported)):
            yield struct.pack("<QQq", self._slot(i), (i + 1) << 32 | ADDRESS_OF[self.object.machine], 0)

    def _slot(self, i: int) -> int:
        return self.slots_at + 8 * i

    def _stub(self, i: int) -> bytes:
        """Return instructions that jump to an imported function."""
        place, slot = self.stubs_at + 16 * i, self._slot(i)
        if self.object.machine == X86:
            return struct.pack("<HiQH", 0x25FF, slot - place - 6, 0, 0)
        page = _page_distance(slot, place)
        load = 0xF9400211 | (slot & 0xFFF) >> 3 << 10
        return struct.pack("<4I", 0x90000010 | _page_bits(page), load, 0xD61F0220, 0xD503201F)

    def _relocate(self, content: bytearray, relocation: Relocation) -> None:
        """Write the address that an instruction or a table needs."""
        place = self.places[relocation.section] + relocation.offset
        symbol = self.object.symbols[relocation.symbol]
        imported = self.imported.index(symbol.name) if not symbol.section else -1
        target = self.places[symbol.section] + symbol.value if imported < 0 else self.stubs_at + 16 * imported
        kind, addend = relocation.kind, relocation.addend
        before = struct.unpack_from("<I", content, place)[0]
        if self.object.machine == X86:
            if kind in (9, 41, 42) and imported >= 0:  # GOTPCREL
                target = self._slot(imported)
            elif kind not in (2, 4):  # PC32, PLT32
                raise ValueError(f"relocation {kind} of {symbol.name}: kernels are to have relative addresses")
            struct.pack_into("<i", content, place, target + addend - place)
            return
        if kind in (311, 312):  # ADR_GOT_PAGE, LD64_GOT_LO12_NC
            target = self._slot(imported)
        target += addend
        scale = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4, 312: 3}  # ADD, LDST of 1 to 16 bytes
        if kind in (275, 311):
            found = before | _page_bits(_page_distance(target, place))
        elif kind in scale:
            found = before | (target & 0xFFF) >> scale[kind] << 10
        elif kind in (282, 283):  # JUMP26, CALL26
            found = before | (target - place) >> 2 & 0x3FFFFFF
        elif kind == 261:  # PREL32
            found = target - place & 0xFFFFFFFF
        else:
            raise ValueError(f"relocation {kind} of {symbol.name}: kernels are to have relative addresses")
        struct.pack_into("<I", content, place, found)


def _page_distance(target: int, place: int) -> int:
    return (target >> 12) - (place >> 12)


def _page_bits(distance: int) -> int:
    """Return the bits of an ADRP instruction for a distance in pages of 4 KiB."""
    return (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5


def _up(address: int, align: int) -> int:
    return -(-address // align) * align


def _text(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode()
