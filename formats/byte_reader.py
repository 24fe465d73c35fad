"""A mapped file read field by field, that never gives less than it was asked for, nor more than the file holds."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError

__all__ = ["ByteReader"]


class ByteReader:
    """The bytes of a file from a place on.

    Parameters
    ----------
    path : Path
    what : str
        The format, for messages.
    """

    def __init__(self, path: Path, what: str, *, at: int = 0) -> None:
        self.path, self.what, self.at = path, what, at
        size = path.stat().st_size
        self.data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return len(self.data) - self.at

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return the next bytes, a view."""
        if not 0 <= size <= self.left:
            raise self.bad("truncated or damaged", expected=f"{size} more bytes", found=str(self.left))
        self.at += size
        return self.data[self.at - size : self.at]

    def unpack(self, kinds: str) -> tuple[Any, ...]:
        """Return the next numbers, little-endian, as `struct` writes their types."""
        return struct.unpack("<" + kinds, self.take(struct.calcsize("<" + kinds)).tobytes())

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """Return the next `count` numbers, a view where they lie aligned."""
        size = np.dtype(dtype).itemsize
        if not 0 <= count <= self.left // size:
            raise self.bad("truncated or damaged", expected=f"{count} numbers of {dtype}", found=f"{self.left} bytes")
        return np.frombuffer(self.take(count * size), dtype)

    def vector(self, dtype: str) -> NDArray[Any]:
        """Return an array behind its length in 8 bytes."""
        return self.array(dtype, self.unpack("Q")[0])

    def bad(self, message: str, *, expected: str | None = None, found: str | None = None) -> FormatError:
        """Return the error for this place."""
        return FormatError(
            f"{message}: no {self.what} file, or one that is not whole",
            path=self.path,
            where=f"byte {self.at}",
            expected=expected,
            found=found,
        )
