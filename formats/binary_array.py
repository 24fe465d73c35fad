"""Arrays that lie in a file row after row, with or without a header of each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

__all__ = ["BinaryArray", "MappedArray", "from_bfloat16"]

_BLOCK_BYTES = 4 << 20


def from_bfloat16(block: NDArray[Any]) -> NDArray[np.float32]:
    """Return the float32 of numbers whose upper half is given as uint16."""
    return (block.astype("<u4") << np.uint32(16)).view("<f4")


@dataclass(frozen=True)
class BinaryArray:
    """Rows of numbers from byte `offset` on, read from start to end.

    Attributes
    ----------
    path : Path
    shape : (rows, dimensions)
    dtype : dtype
        Little-endian.
    offset : int
        Bytes before the first row.
    row_header : bytes
        What each row has to begin with.
    bfloat16 : bool
        The numbers are the upper halves of float32, and `dtype` is uint16.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int = 0
    row_header: bytes = b""
    bfloat16: bool = False
    where: str | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of a row with its header."""
        return len(self.row_header) + self.shape[1] * self.dtype.itemsize

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield consecutive blocks of at most `rows` rows."""
        with Stream(self.path) as stream:
            stream.read(self.offset)
            for first in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - first)
                data = stream.read_array(count * self.row_bytes)
                if len(data) < count * self.row_bytes:
                    raise self._wrong(f"{first + len(data) // self.row_bytes} rows")
                block = self._without_headers(data, count, first).view(self.dtype)
                yield from_bfloat16(block) if self.bfloat16 else block
            if stream.read(1):
                raise self._wrong("more bytes after them")

    def _without_headers(self, data: NDArray[np.uint8], count: int, first: int) -> NDArray[np.uint8]:
        table = data.reshape(count, self.row_bytes)
        size = len(self.row_header)
        if not size:
            return table
        wrong = (table[:, :size] != np.frombuffer(self.row_header, np.uint8)).any(axis=1)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            found = int.from_bytes(table[at, :size].tobytes(), "little")
            raise FormatError(
                "truncated, damaged, or rows of several widths; fetch or write it again",
                path=self.path,
                where=f"row {first + at}",
                expected=f"{self.shape[1]} dimensions, as in row 0",
                found=str(found),
            )
        return np.ascontiguousarray(table[:, size:])

    def _wrong(self, found: str) -> FormatError:
        return FormatError(
            "truncated or damaged; fetch or write it again",
            path=self.path,
            where=self.where,
            expected=f"{self.shape[0]} rows of {self.shape[1]} {self.dtype.name}",
            found=found,
        )


@dataclass(frozen=True)
class MappedArray:
    """An array that is there already, in memory or mapped."""

    path: Path
    array: NDArray[Any]
    where: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return self.array.dtype

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield consecutive blocks of at most `rows` rows."""
        for first in range(0, len(self.array), rows):
            block = self.array[first : first + rows]
            block.flags.writeable = False
            yield block
