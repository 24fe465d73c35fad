"""Text dumps: word2vec text and GloVe, lines of ``key x1 ... xd``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Batch, Dump, KeyType, Problem, read_batch
from vecstore.formats.format import Format
from vecstore.formats.head import BOM, Head
from vecstore.formats.keys import convert_text
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream
from vecstore.formats.text_writer import write_glove, write_word2vec

from vecstore.errors import FormatError
from vecstore.kernels import entries

__all__ = ["FORMATS", "TextDump", "header_of", "infer_dimensions", "parse_header"]

_RAGGED = "wrong number of numbers"
_BLOCK_BYTES = 4 << 20
_LONGEST_LINE_BYTES = 64 << 20
_HEADER = re.compile(rb"[ \t]*([0-9]{1,18})[ \t]+([0-9]{1,9})[ \t]*\r?")
_FIELD = re.compile(rb"[^ \t]+")
_NUMBER = re.compile(rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE)


class TextDump(Dump):
    """Lines of a key and `dimensions` numbers.

    Only spaces and tabs separate, and only "\\n" ends a line. The numbers are the last fields of a line, so a
    key may contain spaces. One that then ends in a number cannot be told from a line with a number too many,
    and is a problem. Blank lines are passed over.
    """

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        header: tuple[int, int] | None,
        dimensions: int,
        key_type: KeyType | None,
    ) -> None:
        rows = None if header is None else header[0]
        super().__init__(path, format=format, rows=rows, dimensions=dimensions, key_type=key_type or "str")
        self._header_lines = 0 if header is None else 1

    def _batches(self, rows: int) -> Iterator[Batch]:
        total = 0
        with Stream(self.path) as stream:
            for batch in self._read(stream, rows):
                total += len(batch)
                if self.rows is not None and total > self.rows:
                    break
                yield batch
        if self.rows is not None and total != self.rows:
            raise FormatError(
                "the header's count is wrong: the file is truncated, or the header needs correcting",
                path=self.path,
                where="line 1",
                expected=f"{self.rows} rows",
                found=f"{'at least ' if total > self.rows else ''}{total}",
            )

    def _read(self, stream: Stream, rows: int) -> Iterator[Batch]:
        if self.rows is not None:
            rows = max(1, min(rows, self.rows))
        part = _Part(self, rows)
        line = 1 + self._header_lines
        for block in _line_blocks(stream, self._header_lines):
            data = np.frombuffer(block, np.uint8)
            start = 0
            while start < len(block):
                first = part.filled
                with np.errstate(over="ignore"):  # warned of only where the kernel runs uncompiled
                    count, start, line = entries.parse_lines(
                        data, start, line, part.vectors[first:], part.marks[first:]
                    )
                part.take(block, count)
                if part.filled == rows:
                    yield part.finish(stream.fraction_read)
                    part = _Part(self, rows)
        if part.filled:
            yield part.finish(1.0)


class _Part:
    """A batch that is being filled."""

    def __init__(self, dump: TextDump, rows: int) -> None:
        self._key_type: KeyType = dump.key_type or "str"
        self.vectors: NDArray[np.float32] = np.empty((rows, dump.dimensions), np.float32)
        self.marks: NDArray[np.int64] = np.empty((rows, 4), np.int64)
        self.filled = 0
        self._keys: list[bytes] = []
        self._problems: dict[int, Problem] = {}

    def take(self, block: bytes, count: int) -> None:
        """Take the keys of the next `count` rows, whose marks point into `block`, and read what the kernel left."""
        first, self.filled = self.filled, self.filled + count
        marks = self.marks[first : self.filled].tolist()
        for index, (start, key_end, end, line) in enumerate(marks, start=first):
            if key_end >= 0:
                self._keys.append(block[start:key_end])
                continue
            key, numbers, problem = _parse_line(block[start:end], self.vectors.shape[1])
            self._keys.append(key)
            if problem:
                self._problems[index] = Problem(problem.kind, f"line {line}: {problem}")
            else:
                self.vectors[index] = numbers

    def finish(self, fraction_read: float) -> Batch:
        lines = self.marks[:, 3]
        keys = convert_text(self._keys, self._key_type, lambda index: f"line {lines[index]}", self._problems)
        return read_batch(self.vectors[: self.filled], keys, self._problems, fraction_read)


def header_of(head: Head) -> tuple[int, int]:
    """Return the rows and dimensions that the first line of a word2vec file declares."""
    header = parse_header(head.lines[0]) if head.lines else None
    if header is None:
        raise FormatError(
            "not word2vec; name the right format (GloVe text has no header: 'glove')",
            path=head.path,
            where="line 1",
            expected="the numbers of rows and dimensions",
            found=head.shown(),
        )
    return header


def parse_header(line: bytes) -> tuple[int, int] | None:
    """Return the rows and dimensions that a word2vec header line declares, or None if it is none."""
    found = _HEADER.fullmatch(line)
    return (int(found[1]), int(found[2])) if found else None


def infer_dimensions(lines: list[bytes]) -> int | None:
    """Return how many numbers most of the lines end in, if more than half agree; a line's first field is its key."""
    counts: Counter[int] = Counter()
    for line in lines:
        fields = _FIELD.findall(line.rstrip(b" \t\r"))
        if not fields:
            continue
        numbers = 0
        while numbers < len(fields) - 1 and _NUMBER.fullmatch(fields[-1 - numbers]):
            numbers += 1
        counts[numbers] += 1
    if not counts:
        return None
    dimensions, agreeing = counts.most_common(1)[0]
    return dimensions if dimensions and 2 * agreeing > counts.total() else None


def _parse_line(line: bytes, dimensions: int) -> tuple[bytes, NDArray[np.float32] | None, Problem | None]:
    """Return the key, the numbers, and why they cannot be read (or None)."""
    line = line.rstrip(b" \t\r")
    fields = list(_FIELD.finditer(line))
    keyless = line[:1] in (b" ", b"\t") and len(fields) == dimensions
    if len(fields) <= dimensions and not keyless:
        return fields[0][0], None, Problem(_RAGGED, f"{len(fields) - 1} numbers, expected {dimensions}")
    texts = [field[0] for field in fields[-dimensions:]]
    key = line[: fields[-dimensions].start()].strip(b" \t")
    for text in texts:
        if not _NUMBER.fullmatch(text):
            shown = text[:40].decode("utf-8", "backslashreplace")
            return key, None, Problem("not a number", f"{shown!r} is not a number")
    before = len(fields) - dimensions
    if before > 1 and _NUMBER.fullmatch(fields[before - 1][0]):
        return fields[0][0], None, Problem(_RAGGED, f"{dimensions + 1} numbers or more, expected {dimensions}")
    with np.errstate(over="ignore"):
        return key, np.array([float(text) for text in texts]).astype(np.float32), None


def _line_blocks(stream: Stream, skip_lines: int) -> Iterator[bytes]:
    """Yield runs of whole lines, each ending in a newline, without a byte order mark and the first lines."""
    rest = b""
    beginning = True
    while True:
        data = stream.read(_BLOCK_BYTES)
        if beginning:
            data = data.removeprefix(BOM)
            for _ in range(skip_lines):
                data = data.partition(b"\n")[2]
            beginning = False
        if not data and not rest:
            return
        cut = data.rfind(b"\n") + 1
        if not data:
            yield rest + b"\n"
            return
        if cut:
            yield rest + data[:cut]
            rest = data[cut:]
        else:
            rest += data
        if len(rest) > _LONGEST_LINE_BYTES:
            raise FormatError(
                "a line is longer than 64 MiB; this is no text dump, or its line ends are not '\\n'", path=stream.path
            )


def _sniff_word2vec(head: Head) -> float:
    header = parse_header(head.lines[0]) if head.lines else None
    if header is None:
        return 0.0
    return 0.95 if infer_dimensions(head.lines[1:]) == header[1] else 0.5


def _sniff_glove(head: Head) -> float:
    if head.lines and parse_header(head.lines[0]):
        return 0.0
    # Two columns are more often a list of words and counts than vectors of one dimension.
    return 0.7 if (infer_dimensions(head.lines) or 0) > 1 else 0.0


def _open_word2vec(head: Head, options: ReadingOptions) -> Dump:
    header = header_of(head)
    found = infer_dimensions(head.lines[1:])
    if found is not None and found != header[1]:
        raise FormatError(
            "the header contradicts the lines that follow; correct it",
            path=head.path,
            where="line 1",
            expected=f"{header[1]} numbers a line, as the header declares",
            found=str(found),
        )
    return TextDump(head.path, format="word2vec", header=header, dimensions=header[1], key_type=options.get("key_type"))


def _open_glove(head: Head, options: ReadingOptions) -> Dump:
    dimensions = infer_dimensions(head.lines)
    if dimensions is None:
        raise FormatError(
            "not GloVe text; name the right format",
            path=head.path,
            expected="lines of a key and as many numbers each",
            found=head.shown(),
        )
    return TextDump(head.path, format="glove", header=None, dimensions=dimensions, key_type=options.get("key_type"))


FORMATS = (
    Format(
        "word2vec",
        (".vec", ".txt"),
        "word2vec text: a line 'n d', then 'key x1 ... xd'",
        open=_open_word2vec,
        sniff=_sniff_word2vec,
        write=write_word2vec,
        streamed=True,
    ),
    Format(
        "glove",
        (".txt", ".glove"),
        "GloVe text: lines 'key x1 ... xd' without a header",
        open=_open_glove,
        sniff=_sniff_glove,
        write=write_glove,
        streamed=True,
    ),
)
