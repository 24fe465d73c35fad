"""What PostgreSQL's COPY writes of a table with a column of pgvector: text, and the binary form."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Dump, KeyType, Problem
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

__all__ = ["FORMATS"]

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_LIST = re.compile(rb"\[[-+0-9.eE,]+\]")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_BLOCK_BYTES, _LONGEST_LINE_BYTES = 4 << 20, 64 << 20
_END = rb"\."


def _open_text(head: Head, options: ReadingOptions) -> Dump:
    row = next((line.split(b"\t") for line in head.lines if b"[" in line), [])
    vector = next((at for at, field in enumerate(row) if _LIST.fullmatch(field.rstrip(b"\r"))), None)
    if vector is None:
        raise FormatError("no field looks like [1,2,3]", path=head.path, found=head.shown())
    key = next((at for at in range(len(row)) if at != vector), None)
    width = row[vector].count(b",") + 1

    def blocks(most: int) -> Iterator[Block]:
        keys: list[bytes] = []
        vectors = np.full((most, width), np.nan)
        problems: dict[int, Problem] = {}
        for number, line in enumerate(_lines(head), start=1):
            fields = line.split(b"\t")
            at = len(keys)
            problem = _fill(vectors[at], fields[vector] if vector < len(fields) else b"", width)
            if problem is not None:
                problems[at] = Problem(problem.kind, f"line {number}: {problem}")
            field = fields[key] if key is not None and key < len(fields) else b""
            keys.append(_ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), field))
            if len(keys) == most:
                yield None if key is None else keys, vectors, problems
                keys, vectors, problems = [], np.full((most, width), np.nan), {}
        yield None if key is None else keys, vectors[: len(keys)], problems

    dump = BlockDump(
        head.path,
        blocks,
        format="pgvector",
        rows=None,
        dimensions=width,
        own_key_type=None if key is None else "str",
        key_type=options.get("key_type"),
        dtype="decimals",
    )
    dump.left_out = tuple(f"column {at + 1}" for at in range(len(row)) if at not in (key, vector))
    return dump


def _lines(head: Head) -> Iterator[bytes]:
    with Stream(head.path) as stream:
        rest = b""
        while data := stream.read(_BLOCK_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LONGEST_LINE_BYTES:
                raise FormatError("a line is longer than 64 MiB; this is no output of COPY", path=head.path)
            for line in lines:
                if line == _END:
                    return
                yield line
        if rest and rest != _END:
            yield rest


def _fill(target: Any, field: bytes, width: int) -> Problem | None:
    if field == rb"\N":
        return Problem("no vector (null)", "no vector (null)")
    if not _LIST.fullmatch(field):
        return Problem("not a number", f"{field[:40]!r} is no vector")
    numbers = field[1:-1].split(b",")
    if len(numbers) != width:
        return Problem("wrong number of numbers", f"{len(numbers)} numbers, expected {width}")
    try:
        target[:] = [float(number) for number in numbers]
    except ValueError:
        return Problem("not a number", f"{field[:40]!r} is no vector")
    return None


def _open_binary(head: Head, options: ReadingOptions) -> Dump:
    first = next(_rows(ByteReader(head.path, "COPY")), None)
    if first is None:
        raise FormatError("holds no rows", path=head.path)
    at = next((at for at, field in enumerate(first) if field is not None and _width(field)), None)
    if at is None:
        raise FormatError("no column holds vectors of pgvector", path=head.path)
    width = _width(first[at] or b"")
    key = next((place for place in range(len(first)) if place != at), None)
    is_number = key is not None and len(first[key] or b"") in (4, 8) and b"\0" in (first[key] or b"")

    def blocks(most: int) -> Iterator[Block]:
        keys: list[bytes] = []
        vectors = np.full((most, width), np.nan, np.float32)
        problems: dict[int, Problem] = {}
        for number, row in enumerate(_rows(ByteReader(head.path, "COPY"))):
            field, place = (row[at] if at < len(row) else None), len(keys)
            if field is None or _width(field) != width:
                found = "no vector (null)" if field is None else f"no vector of {width} numbers"
                problems[place] = Problem("wrong number of numbers", f"row {number}: {found}")
            else:
                vectors[place] = np.frombuffer(field, ">f4", width, 4)
            own = (row[key] if key is not None and key < len(row) else None) or b""
            keys.append(str(int.from_bytes(own, "big", signed=True)).encode() if is_number else own)
            if len(keys) == most:
                yield None if key is None else keys, vectors, problems
                keys, vectors, problems = [], np.full((most, width), np.nan, np.float32), {}
        yield None if key is None else keys, vectors[: len(keys)], problems

    own_type: KeyType | None = None if key is None else "int64" if is_number else "str"
    dump = BlockDump(
        head.path,
        blocks,
        format="pgvector-binary",
        rows=None,
        dimensions=width,
        own_key_type=own_type,
        key_type=options.get("key_type"),
    )
    dump.left_out = tuple(f"column {place + 1}" for place in range(len(first)) if place not in (key, at))
    return dump


def _width(field: bytes) -> int:
    """Return the dimensions of a binary vector of pgvector; 0 where the field is none."""
    if len(field) < 8:
        return 0
    width, unused = struct.unpack_from(">HH", field)
    return int(width) if unused == 0 and len(field) == 4 + 4 * width else 0


def _rows(reader: ByteReader) -> Iterator[list[bytes | None]]:
    if reader.take(len(_SIGNATURE)).tobytes() != _SIGNATURE:
        raise reader.bad("does not begin with PGCOPY")
    reader.take(4)
    reader.take(int.from_bytes(reader.take(4).tobytes(), "big"))
    while (count := int.from_bytes(reader.take(2).tobytes(), "big", signed=True)) >= 0:
        row: list[bytes | None] = []
        for _ in range(count):
            size = int.from_bytes(reader.take(4).tobytes(), "big", signed=True)
            row.append(None if size < 0 else reader.take(size).tobytes())
        yield row
    if count != -1 or reader.left:
        raise reader.bad("goes on after its end, or has a row of -2 fields")


def _sniff_text(head: Head) -> float:
    lines = [line.rstrip(b"\r") for line in head.lines[:20] if line.strip() and line != _END]
    fits = [any(_LIST.fullmatch(field) for field in line.split(b"\t")) for line in lines]
    return 0.85 if lines and sum(fits) * 2 > len(lines) else 0.0


def _sniff_binary(head: Head) -> float:
    return SURE if head.data.startswith(_SIGNATURE) else 0.0


FORMATS = (
    Format(
        "pgvector",
        (".copy", ".tsv"),
        "COPY of PostgreSQL, text: the first column as keys, a column of pgvector",
        open=_open_text,
        sniff=_sniff_text,
        streamed=True,
    ),
    Format(
        "pgvector-binary",
        (".pgcopy", ".bin"),
        "COPY of PostgreSQL, binary",
        open=_open_binary,
        sniff=_sniff_binary,
    ),
)
