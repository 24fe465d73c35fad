"""Comma- and tab-separated files: a key and a column each number; TensorBoard's projector among them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from vecstore.formats.array_keys import open_keys
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.dump import Batch, Dump, Problem
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.key_column import KeyColumn
from vecstore.formats.keys_beside import keys_beside
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.record_reader import IGNORED, KEY, RecordReader
from vecstore.formats.stream import Stream
from vecstore.formats.text_writer import write_rows

from vecstore.errors import FormatError, did_you_mean

__all__ = ["FORMATS"]

_NUMBER = re.compile(r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf|infinity)\s*", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_SAMPLE = 200
_LONGEST_FIELD = 1 << 20
_KEY_NAMES = ("key", "id", "word", "token", "name", "label")


class _Rows:
    """The rows of a file, and which of its columns are what.

    Attributes
    ----------
    has_header : bool
    key : int or None
        Column of the keys.
    vectors : list of int, or one column whose fields are lists
    """

    def __init__(self, head: Head, delimiter: str, options: ReadingOptions) -> None:
        self.head, self._delimiter = head, delimiter
        some = list(islice(self._read(head.data, whole=head.is_whole), _SAMPLE))
        if not some:
            raise FormatError("holds no rows", path=head.path, found=head.shown())
        body = some[1:] or some
        widths = Counter(len(row) for row in body)
        self.width = widths.most_common(1)[0][0]
        body = [row for row in body if len(row) == self.width]
        numeric = [_most(bool(_NUMBER.fullmatch(row[column])) for row in body) for column in range(self.width)]
        self.has_header = len(some) > 1 and any(
            numeric[column] and not _NUMBER.fullmatch(field) for column, field in enumerate(some[0][: self.width])
        )
        listed = [column for column in range(self.width) if _most(_listed(row[column]) is not None for row in body)]
        self.has_header |= bool(listed) and len(some) > 1 and not any(map(_listed, some[0][listed[0] : listed[0] + 1]))
        self.names = [name.strip() for name in some[0]] if self.has_header else []
        self.listed = self._column(options.get("vector_column")) if options.get("vector_column") else None
        if self.listed is None and len(listed) == 1:
            self.listed = listed[0]
        wanted = options.get("key_column")
        self.key = self._column(wanted) if wanted is not None else self._likely_key(numeric)
        self.columns = [c for c in range(self.width) if numeric[c] and c != self.key] if self.listed is None else []
        if self.listed is None and not self.columns:
            raise FormatError("holds no rows with columns of numbers", path=head.path, found=head.shown())
        count = Counter(len(_listed(row[self.listed]) or ()) for row in body) if self.listed is not None else None
        self.beside = {name: self._column(name) for name in options.get("columns") or ()}
        self.types = {name: _type_of([row[column] for row in body]) for name, column in self.beside.items()}
        if self.listed is None:
            self.columns = [column for column in self.columns if column not in self.beside.values()]
        self.dimensions = count.most_common(1)[0][0] if count is not None else len(self.columns)

    def _column(self, name: str | None) -> int:
        if name not in self.names:
            near, found = did_you_mean(name or "", self.names), ", ".join(self.names) or "no header"
            raise FormatError(f"no column {name!r}{near}", path=self.head.path, found=found)
        return self.names.index(name)

    def _likely_key(self, numeric: list[bool]) -> int | None:
        by_name = {name.lower(): column for column, name in reversed(list(enumerate(self.names)))}
        named = next((by_name[name] for name in _KEY_NAMES if name in by_name), None)
        texts = [column for column in range(self.width) if not numeric[column] and column != self.listed]
        return named if named is not None else texts[0] if texts else None

    def _read(self, data: bytes | None = None, *, whole: bool = True) -> Iterator[list[str]]:
        if data is not None:
            text: io.TextIOBase = io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline="")
            rows = self._parsed(text)
            previous = None
            for row in rows:  # the last one may be cut off
                if previous is not None:
                    yield previous
                previous = row
            if whole and previous is not None:
                yield previous
            return
        with Stream(self.head.path) as stream:
            yield from self._parsed(
                io.TextIOWrapper(io.BufferedReader(_Raw(stream)), "utf-8-sig", "surrogateescape", newline="")
            )

    def _parsed(self, text: io.TextIOBase) -> Iterator[list[str]]:
        csv.field_size_limit(_LONGEST_FIELD)
        quoting: Any = csv.QUOTE_NONE if self._delimiter == "\t" else csv.QUOTE_MINIMAL
        try:
            for row in csv.reader(text, delimiter=self._delimiter, quoting=quoting):
                if row:
                    yield row
        except csv.Error as error:
            raise FormatError(f"damaged: {error}", path=self.head.path) from None

    def blocks(self, most: int) -> Iterator[Block]:
        """Yield what rows hold; those without lists and columns beside are read by compiled code."""
        if self.listed is None and not self.beside:
            roles = np.full(self.width, IGNORED, np.int64)
            roles[self.columns] = range(self.dimensions)
            if self.key is not None:
                roles[self.key] = KEY
            reader = RecordReader(self.head.path, self._delimiter, roles, self._odd_row)
            yield from reader.blocks(most, skip=self.has_header)
        else:
            yield from self._slow_blocks(most)

    def _odd_row(self, text: str, target: np.ndarray) -> tuple[bytes, Problem | None]:
        """Read a record that is not plainly regular; return its key and what is wrong with it."""
        row = next(self._parsed(io.StringIO(text, newline="")), [])
        return self._key_of(row), self._fill(target, row)

    def _key_of(self, row: list[str]) -> bytes:
        return (row[self.key] if self.key is not None and self.key < len(row) else "").encode(
            "utf-8", "surrogateescape"
        )

    def _slow_blocks(self, most: int) -> Iterator[Block]:
        rows = self._read()
        if self.has_header:
            next(rows, None)
        done = 0
        while some := list(islice(rows, most)):
            vectors = np.full((len(some), self.dimensions), np.nan)
            problems: dict[int, Problem] = {}
            keys = []
            for at, row in enumerate(some):
                problem = self._fill(vectors[at], row)
                if problem is not None:
                    problems[at] = Problem(problem.kind, f"row {done + at}: {problem}")
                keys.append(self._key_of(row))
            beside = {name: self._values(name, some, done) for name in self.beside}
            yield None if self.key is None else keys, vectors, problems, beside
            done += len(some)

    def _values(self, name: str, rows: list[list[str]], first: int) -> list[Any]:
        """Return the values of a column, None where a field is empty; raises `FormatError` for what is no number."""
        column, kind = self.beside[name], self.types[name]
        fields = [row[column] if column < len(row) else "" for row in rows]
        if kind is int and not all(_WHOLE.fullmatch(field) for field in fields if field):
            kind = float
        if kind is float:
            strange = next((at for at, field in enumerate(fields) if field and not _NUMBER.fullmatch(field)), None)
            if strange is not None:
                raise FormatError(
                    f"column {name!r} holds {fields[strange]!r:.40}, where the first rows hold numbers; a table "
                    "that says types, such as parquet, could keep it as text",
                    path=self.head.path,
                    where=f"row {first + strange}",
                )
        return [kind(field) if field else None for field in fields]

    def _fill(self, target: np.ndarray, row: list[str]) -> Problem | None:
        if len(row) != self.width:
            return Problem("wrong number of numbers", f"{len(row)} fields, expected {self.width}")
        fields = _listed(row[self.listed]) if self.listed is not None else [row[column] for column in self.columns]
        if fields is None or len(fields) != self.dimensions:
            count = "no list" if fields is None else f"{len(fields)} numbers"
            return Problem("wrong number of numbers", f"{count}, expected {self.dimensions} numbers")
        strange = _filled(target, fields)
        return None if strange is None else Problem("not a number", f"{strange[:40]!r} is not a number")


def _filled(target: np.ndarray, fields: list[str]) -> str | None:
    """Read the numbers; return the first field that is none. Python takes ``1_0`` and digits of all scripts, too."""
    together = "".join(fields)
    try:
        if "_" not in together and together.isascii():
            target[:] = list(map(float, fields))
            return None
    except ValueError:
        pass
    return next((field for field in fields if not _NUMBER.fullmatch(field)), None)


def _type_of(fields: list[str]) -> type[int] | type[float] | type[str]:
    """Return what all fields that are not empty can be."""
    there = [field for field in fields if field]
    if there and all(_WHOLE.fullmatch(field) for field in there):
        return int
    return float if there and all(_NUMBER.fullmatch(field) for field in there) else str


def _most(answers: Iterable[bool]) -> bool:
    """Return whether more than half are true."""
    given = list(answers)
    return 2 * sum(given) > len(given)


class _Raw(io.RawIOBase):
    """A stream as what text is decoded from."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def _listed(field: str) -> list[str] | None:
    """Return the numbers of a field such as ``[1, 2]``; None where it is none."""
    field = field.strip()
    if len(field) < 3 or field[0] not in "[{(" or field[-1] not in "]})":
        return None
    return field[1:-1].replace(",", " ").split()


class _Beside(Dump):
    """A table without keys, and keys in a file beside it."""

    def __init__(self, dump: Dump, keys: KeyColumn) -> None:
        super().__init__(
            dump.path,
            format=dump.format,
            rows=keys.rows,
            dimensions=dump.dimensions,
            key_type=keys.key_type,
            dtype=dump.dtype,
        )
        self._dump, self._keys = dump, keys

    def _batches(self, rows: int) -> Iterator[Batch]:
        done, keys = 0, self._keys.blocks(rows)
        for batch in self._dump.batches(rows):
            own, problems = next(keys, (None, {}))
            if own is None or len(own) != len(batch):
                raise self._other(f"at least {done + len(batch)} vectors")
            done += len(batch)
            yield replace(batch, keys=own, problems=dict(sorted({**problems, **batch.problems}.items())))
        if done != self._keys.rows:
            raise self._other(f"{done} vectors")

    def _other(self, found: str) -> FormatError:
        return FormatError(
            "there must be as many keys as vectors", path=self._keys.path, expected=f"{self._keys.rows}", found=found
        )


def _opener(name: str, delimiter: str) -> Callable[[Head, ReadingOptions], Dump]:
    def open(head: Head, options: ReadingOptions) -> Dump:
        rows = _Rows(head, delimiter, options)
        dump = BlockDump(
            head.path,
            rows.blocks,
            format=name,
            rows=None,
            dimensions=rows.dimensions,
            own_key_type=None if rows.key is None else "str",
            key_type=options.get("key_type"),
            dtype="decimals",
        )
        dump.columns = tuple(rows.beside)
        used = {rows.key, rows.listed, *rows.columns, *rows.beside.values()}
        dump.left_out = tuple(
            rows.names[column] if column < len(rows.names) else f"column {column + 1}"
            for column in range(rows.width)
            if column not in used
        )
        keys = open_keys(options)
        return dump if keys is None else _Beside(dump, keys)

    return open


def _sniffer(delimiter: str) -> Callable[[Head], float]:
    def sniff(head: Head) -> float:
        lines = [line for line in head.lines[1:21] or head.lines if line.strip()]
        mark = delimiter.encode()
        if b"\0" in head.data[:4096] or not lines or any(mark not in line for line in lines):
            return 0.0
        try:
            rows = _Rows(head, delimiter, {})
        except FormatError:
            return 0.0
        few = rows.dimensions < 3  # two or three columns of numbers are more often a table of something else
        return (0.75 if rows.listed is not None or not few else 0.0) if delimiter == "," else 0.0 if few else 0.8

    return sniff


def _write_csv(output: Output) -> None:
    row = 0
    with output.file() as file:
        names = ["key", *(f"x{number}" for number in range(output.dimensions))]
        file.write((",".join(names) + "\n").encode())
        for keys, vectors in output.pairs:
            own = range(row, row + len(vectors)) if keys is None else keys
            texts = [key if isinstance(key, bytes) else str(key).encode() for key in own]
            if any(b"\0" in text or b"\r" in text for text in texts):
                raise FormatError("csv cannot hold keys with zero bytes or carriage returns", path=output.path)
            heads = [b'"' + text.replace(b'"', b'""') + b'",' for text in texts]
            write_rows(file, heads, vectors, separator=b",")
            row += len(vectors)


def _write_tsv(output: Output) -> None:
    """Write the pair of TensorBoard's projector: numbers here, keys in the file beside."""
    with output.file() as file, keys_beside(output) as blocks:
        for vectors in blocks:
            write_rows(file, [b""] * len(vectors), vectors, separator=b"\t")


FORMATS = (
    Format(
        "csv",
        (".csv",),
        "comma-separated: a column of keys, and a column each number or one of lists",
        open=_opener("csv", ","),
        sniff=_sniffer(","),
        write=_write_csv,
        options=("keys", "key_column", "vector_column", "columns"),
        streamed=True,
    ),
    Format(
        "tsv",
        (".tsv",),
        "tab-separated; TensorBoard projector: vectors.tsv, with metadata.tsv as keys",
        open=_opener("tsv", "\t"),
        sniff=_sniffer("\t"),
        write=_write_tsv,
        options=("keys", "key_column", "vector_column", "columns"),
        streamed=True,
    ),
)
