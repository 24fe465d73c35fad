"""word2vec: the binary form. The text form is in `text`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Batch, Dump, KeyType, Problem, read_batch
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.keys import convert_text, row_place
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream
from vecstore.formats.text import header_of, parse_header
from vecstore.formats.text_writer import joined_keys

from vecstore.errors import FormatError
from vecstore.kernels import entries

__all__ = ["FORMATS", "Word2vecBinaryDump"]

_JOINED_AT_ONCE = 1 << 19  # bytes that stay in a processor's second cache
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_BLOCK_BYTES = 1 << 20  # stays in a processor's cache while it is taken apart
_MOST_BYTES = 256 << 20  # of vectors in a batch
_LONGEST_KEY_BYTES = 1 << 20


class Word2vecBinaryDump(Dump):
    """After a line ``n d``: key, one space, d little-endian float32, and perhaps a newline, n times.

    As in the reference reader, a key ends at its first space, and a newline before it is passed over.
    """

    def __init__(self, path: Path, *, header: tuple[int, int], key_type: KeyType | None) -> None:
        super().__init__(
            path, format="word2vec-binary", rows=header[0], dimensions=header[1], key_type=key_type or "str"
        )

    def _batches(self, rows: int) -> Iterator[Batch]:
        total, done = self.rows or 0, 0
        with Stream(self.path) as stream:
            data = _Ahead(stream)
            data.line()
            while done < total:
                keys, vectors = self._read(data, min(rows, total - done), done)
                problems: dict[int, Problem] = {}
                converted = convert_text(keys, self.key_type or "str", row_place(done), problems)
                done += len(keys)
                yield read_batch(vectors, converted, problems, done / total)
            if rest := data.rest().strip(b"\r\n \t\x00"):
                raise FormatError(
                    "more rows than the header declares: correct the header, or write the file again",
                    path=self.path,
                    expected=f"the end after {total} rows",
                    found=f"{rest[:8]!r}",
                )

    def _read(self, data: _Ahead, count: int, first: int) -> tuple[list[bytes], NDArray[np.float32]]:
        width = 4 * self.dimensions
        keys: list[bytes] = []
        while data.left <= width and data.fill():  # no room is made for a row that is not there
            pass
        count = max(min(count, _MOST_BYTES // width), 1)
        rows = np.empty((count if data.left > width else 0, width), np.uint8)
        marks = np.empty((2, len(rows)), np.int64)
        while len(keys) < count:
            found = 0
            if len(rows):
                found, data.at = entries.split_rows(
                    np.frombuffer(data.ahead, np.uint8), data.at, rows[len(keys) :], marks
                )
            begins, ends = marks[:, :found].tolist()
            keys += [data.ahead[begin:end] for begin, end in zip(begins, ends, strict=True)]
            too_long = data.left > _LONGEST_KEY_BYTES + width
            if len(keys) < count and (too_long or not data.fill()):
                raise FormatError(
                    "truncated, or no word2vec binary file; fetch or write it again",
                    path=self.path,
                    where=f"row {first + len(keys)}",
                    expected=f"{self.rows} rows of a key, a space and {width} bytes",
                    found=f"a key over {_LONGEST_KEY_BYTES} bytes" if too_long else "the end of the file",
                )
        return keys, rows.view("<f4").astype(np.float32, copy=False)


class _Ahead:
    """What was read of a stream, and how far that was taken."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.ahead, self.at = b"", 0

    @property
    def left(self) -> int:
        """How many bytes lie ahead."""
        return len(self.ahead) - self.at

    def fill(self) -> bool:
        """Read on; return whether there was more."""
        more = self._stream.read(_BLOCK_BYTES)
        self.ahead, self.at = self.ahead[self.at :] + more, 0
        return bool(more)

    def line(self) -> None:
        """Pass over a line."""
        while (end := self.ahead.find(b"\n")) < 0 and self.fill():
            pass
        self.at = end + 1

    def rest(self) -> bytes:
        """Return what follows, at least 16 bytes if there are as many."""
        while self.left < 16 and self.fill():
            pass
        return self.ahead[self.at :]


def _sniff(head: Head) -> float:
    header = parse_header(head.lines[0]) if head.lines else None
    if header is None:
        return 0.0
    payload = head.data[head.data.find(b"\n") + 1 :][:65_536]
    return 0.9 if _CONTROL.search(payload) else 0.5


def _open(head: Head, options: ReadingOptions) -> Dump:
    return Word2vecBinaryDump(head.path, header=header_of(head), key_type=options.get("key_type"))


def _write(output: Output) -> None:
    step = max(_JOINED_AT_ONCE // max(4 * output.dimensions, 1), 1)
    room = np.empty(0, np.uint8)  # memory that was written to before
    with output.file() as file:
        file.write(f"{output.rows} {output.dimensions}\n".encode())
        for keys, ends, vectors in joined_keys(output, forbidden=b" \n", what="word2vec binary"):
            rows = np.ascontiguousarray(vectors, "<f4").view(np.uint8).reshape(len(vectors), 4 * output.dimensions)
            for first in range(0, len(rows), step):
                some, own = rows[first : first + step], ends[first : first + step + 1]
                size = int(own[-1] - own[0]) + some.size + 2 * len(some)
                if size > len(room):
                    room = np.empty(size, np.uint8)
                entries.join_rows(keys, own, some, room[:size])
                file.write(room[:size])


FORMATS = (
    Format(
        "word2vec-binary",
        (".bin",),
        "word2vec binary: a line 'n d', then key, space, d float32",
        open=_open,
        sniff=_sniff,
        write=_write,
        streamed=True,
    ),
)
