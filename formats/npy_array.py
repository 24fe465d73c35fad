"""NumPy arrays in files, read in blocks of rows, whether they lie plain, compressed or in a zip archive."""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError
from vecstore.files import open_regular

__all__ = ["NpyArray", "read_npy", "write_npy"]

# Room for a header of any plain array, far under what hostile ones could claim.
_LONGEST_HEADER = 65_536
_MOST_BYTES = 1 << 62


@dataclass(frozen=True)
class NpyArray:
    """An array in an ``.npy`` file, or in a member of an ``.npz`` archive; nothing of it is in memory.

    C order is read from start to end, so that memory stays bounded even where the pages of a map would count.
    """

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    @classmethod
    def open(cls, path: Path, member: str | None = None) -> NpyArray:
        """Read the header."""
        with Stream(path, member=member) as stream:
            shape, fortran_order, dtype = _read_header(stream)
        return cls(path, member, shape, dtype, fortran_order and len(shape) > 1)

    @property
    def where(self) -> str | None:
        """The place in the file, for messages."""
        return None if self.member is None else f"array {self.member.removesuffix('.npy')!r}"

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield consecutive blocks of at most `rows` rows, in the array's own type."""
        with Stream(self.path, member=self.member) as stream:
            _read_header(stream)
            yield from self._columnwise(stream, rows) if self.fortran_order else self._rowwise(stream, rows)

    def _rowwise(self, stream: Stream, rows: int) -> Iterator[NDArray[Any]]:
        total, row_shape = self.shape[0], self.shape[1:]
        row_bytes = self.dtype.itemsize * math.prod(row_shape)
        for first in range(0, total, rows):
            count = min(rows, total - first)
            data = stream.read_array(count * row_bytes)
            if len(data) < count * row_bytes:
                raise self._wrong_length(f"{first + len(data) // max(row_bytes, 1)} rows")
            yield data.view(self.dtype).reshape(count, *row_shape)
        if stream.read(1):
            raise self._wrong_length("more bytes after them")

    def _columnwise(self, stream: Stream, rows: int) -> Iterator[NDArray[Any]]:
        # A row is spread over the whole of the data, which has to lie in a file that can be read anywhere.
        expected = self.dtype.itemsize * math.prod(self.shape)
        with contextlib.ExitStack() as stack:
            if stream.is_plain:
                file: IO[bytes] = stack.enter_context(open(self.path, "rb"))
                offset = stream.file_position
            else:
                file, offset = stack.enter_context(tempfile.TemporaryFile()), 0
                left = expected + 1  # one more byte tells that there are too many
                while left and (data := stream.read(min(left, 1 << 20))):
                    left -= file.write(data)
                file.flush()
            found = file.seek(0, io.SEEK_END) - offset
            if found != expected:
                raise self._wrong_length(f"{found} bytes instead of {expected}")
            for first in range(0, self.shape[0], rows):
                yield self._gather(file.fileno(), offset, first, min(rows, self.shape[0] - first))

    def _gather(self, file: int, offset: int, first: int, count: int) -> NDArray[Any]:
        """Read a piece of every column. Not through a map: touching it in so many places would make all resident."""
        rows, columns = self.shape
        size = self.dtype.itemsize
        pieces = [os.pread(file, count * size, offset + (column * rows + first) * size) for column in range(columns)]
        return np.frombuffer(b"".join(pieces), self.dtype).reshape(columns, count).T

    def _wrong_length(self, found: str) -> FormatError:
        return FormatError(
            "truncated or damaged; fetch or write it again",
            path=self.path,
            where=self.where,
            expected=f"{self.shape[0]} rows, as the header declares",
            found=found,
        )


def read_npy(path: str | os.PathLike[str], *, mapped: bool = False, where: str | None = None) -> NDArray[Any]:
    """Return the array of an ``.npy`` file, in memory or mapped read-only; `where` names it in messages.

    Raises
    ------
    FormatError
        The file holds no array, is cut short, or holds pickled objects, which are never loaded.
    """
    with open_regular(path) as file:
        if file.read(len(npy_format.MAGIC_PREFIX)) != npy_format.MAGIC_PREFIX:
            raise FormatError("no .npy array; write it with np.save", path=path, where=where)
    try:
        return np.asanyarray(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
    except OSError:
        raise
    except Exception as error:  # NumPy evaluates the header as Python: a damaged one raises nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"no .npy array: {reason}", path=path, where=where) from None


def write_npy(file: IO[bytes], blocks: Iterable[NDArray[Any]], *, shape: tuple[int, ...], dtype: str) -> None:
    """Write an array whose rows come in blocks."""
    npy_format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype).data)


def _read_header(stream: Stream) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
        (3, 0): npy_format.read_array_header_2_0,  # differs in the names of record fields only
    }
    try:
        version = npy_format.read_magic(stream)
        if version not in readers:
            raise ValueError(f"version {version} of the npy format is unknown")
        shape, fortran_order, dtype = readers[version](stream, max_header_size=_LONGEST_HEADER)
    except (FormatError, OSError):
        raise
    except Exception as error:  # NumPy evaluates the header as Python: a damaged one raises nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"the npy header cannot be read: {reason}; write it again", path=stream.path) from error
    if dtype.hasobject:
        raise FormatError(
            "holds pickled Python objects, which are never loaded: they can run code; "
            "save the array with a plain dtype (np.array(words, dtype=str))",
            path=stream.path,
        )
    sizes = (*shape, dtype.itemsize)
    if not all(0 <= size < _MOST_BYTES for size in sizes) or math.prod(sizes) >= _MOST_BYTES or not dtype.itemsize:
        declared = f"shape {shape} of {dtype}" if len(str(sizes)) < 200 else "no shape that an array has"
        raise FormatError(f"truncated or damaged: the npy header declares {declared}; write it again", path=stream.path)
    return shape, fortran_order, dtype
