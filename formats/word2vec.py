"""word2vec: the binary form. The text form is in `text`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Batch, Dump, KeyType, Problem, read_batch, to_float32
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.keys import convert_text, row_place
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream
from vecstore.formats.text import header_of, parse_header
from vecstore.formats.text_writer import text_keys

from vecstore.errors import FormatError

__all__ = ["FORMATS", "Word2vecBinaryDump"]

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_BLOCK_BYTES = 4 << 20
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
            buffer = _Buffer(stream)
            buffer.until(b"\n")
            while done < total:
                count = min(rows, total - done)
                keys, vectors = self._read(buffer, count, done)
                problems: dict[int, Problem] = {}
                converted = convert_text(keys, self.key_type or "str", row_place(done), problems)
                done += count
                yield read_batch(vectors, converted, problems, done / total)
            if rest := buffer.rest(16).strip(b"\r\n \t\x00"):
                raise FormatError(
                    "more rows than the header declares: correct the header, or write the file again",
                    path=self.path,
                    expected=f"the end after {total} rows",
                    found=f"{rest[:8]!r}",
                )

    def _read(self, buffer: _Buffer, count: int, first: int) -> tuple[list[bytes], NDArray[np.float32]]:
        width = 4 * self.dimensions
        keys, vectors = [], []
        for index in range(count):
            key = buffer.until(b" ")
            vector = buffer.take(width)
            if key is None or len(vector) < width:
                raise FormatError(
                    "truncated, or no word2vec binary file; fetch or write it again",
                    path=self.path,
                    where=f"row {first + index}",
                    expected=f"{self.rows} rows of a key, a space and {width} bytes",
                    found="the end of the file" if buffer.at_end else f"a key over {_LONGEST_KEY_BYTES} bytes",
                )
            keys.append(key.removeprefix(b"\n"))
            vectors.append(vector)
        return keys, to_float32(np.frombuffer(b"".join(vectors), "<f4").reshape(count, -1))


class _Buffer:
    """The stream, with a look ahead."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = b""
        self._at = 0
        self.at_end = False

    def until(self, mark: bytes) -> bytes | None:
        """Return what comes before the next `mark`, which is dropped; None if there is none in reach."""
        while (end := self._data.find(mark, self._at)) < 0:
            if self.at_end or len(self._data) - self._at > _LONGEST_KEY_BYTES:
                return None
            self._fill()
        found = self._data[self._at : end]
        self._at = end + len(mark)
        return found

    def take(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        while len(self._data) - self._at < size and not self.at_end:
            self._fill()
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def rest(self, size: int) -> bytes:
        """Return what is left, at least `size` bytes of it if there are as many."""
        return self.take(size)

    def _fill(self) -> None:
        more = self._stream.read(_BLOCK_BYTES)
        self.at_end = not more
        self._data = self._data[self._at :] + more
        self._at = 0


def _sniff(head: Head) -> float:
    header = parse_header(head.lines[0]) if head.lines else None
    if header is None:
        return 0.0
    payload = head.data[head.data.find(b"\n") + 1 :][:65_536]
    return 0.9 if _CONTROL.search(payload) else 0.5


def _open(head: Head, options: ReadingOptions) -> Dump:
    return Word2vecBinaryDump(head.path, header=header_of(head), key_type=options.get("key_type"))


def _write(output: Output) -> None:
    with output.file() as file:
        file.write(f"{output.rows} {output.dimensions}\n".encode())
        for keys, _, vectors in text_keys(output, forbidden=b" \n", what="word2vec binary"):
            rows = vectors.astype("<f4").view(f"V{4 * output.dimensions}").ravel().tolist()
            file.write(b"".join(chain.from_iterable(zip(keys, repeat(b" "), rows, repeat(b"\n"), strict=False))))


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
