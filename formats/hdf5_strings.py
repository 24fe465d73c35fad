"""Strings of HDF5: read from the file's own heaps, since libhdf5 believes whatever a damaged one says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError

__all__ = ["HeapStrings"]

_REFERENCE = np.dtype([("size", "<u4"), ("address", "<u8"), ("object", "<u4")])
_HEAP = struct.Struct("<4sB3xQ")  # "GCOL", version, size of all
_OBJECT = struct.Struct("<HH4xQ")  # number, how often it is used, size
_MOST_HEAPS = 64  # kept, of 4 KiB or more


@dataclass(frozen=True)
class HeapStrings:
    """A dataset of strings that lie in global heaps (HDF5 file format specification, III.E), in the order of the rows.

    Attributes
    ----------
    start : int
        Where the references to the heaps lie, 16 bytes each.
    base : int
        What addresses in the file are counted from.
    """

    path: Path
    start: int
    base: int
    shape: tuple[int]
    dtype: np.dtype[Any]
    where: str

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the strings of consecutive rows, as bytes."""
        with open(self.path, "rb") as file:
            heaps: dict[int, dict[int, bytes]] = {}
            for first in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - first)
                file.seek(self.start + first * _REFERENCE.itemsize)
                data = file.read(count * _REFERENCE.itemsize)
                if len(data) < count * _REFERENCE.itemsize:
                    raise self._damaged("the end of the file")
                texts = [self._text(file, heaps, *each) for each in np.frombuffer(data, _REFERENCE).tolist()]
                found = np.empty(count, object)
                found[:] = texts
                yield found

    def _text(self, file: IO[bytes], heaps: dict[int, dict[int, bytes]], size: int, address: int, number: int) -> bytes:
        if size == 0 or address == 0:
            return b""
        if address not in heaps:
            if len(heaps) == _MOST_HEAPS:
                heaps.pop(next(iter(heaps)))
            heaps[address] = self._heap(file, address)
        text = heaps[address].get(number)
        if text is None or len(text) < size:
            raise self._damaged(f"no string {number} of {size} bytes in the heap at {address}")
        return text[:size].split(b"\0", 1)[0]

    def _heap(self, file: IO[bytes], address: int) -> dict[int, bytes]:
        left = self.path.stat().st_size - self.base - address
        if left < _HEAP.size:
            raise self._damaged(f"a heap at {address}")
        file.seek(self.base + address)
        signature, version, size = _HEAP.unpack(file.read(_HEAP.size))
        if signature != b"GCOL" or version != 1 or not _HEAP.size <= size <= left:
            raise self._damaged(f"no heap at {address}, or one of {size} bytes")
        data, at, found = file.read(size - _HEAP.size), 0, {}
        while at + _OBJECT.size <= len(data):
            number, _, length = _OBJECT.unpack_from(data, at)
            if number == 0:  # room that is free, up to the end
                break
            at += _OBJECT.size
            if length > len(data) - at:
                raise self._damaged(f"a string of {length} bytes in the heap at {address}")
            found[number] = data[at : at + length]
            at += (length + 7) // 8 * 8
        return found

    def _damaged(self, found: str) -> FormatError:
        return FormatError(
            "the strings are damaged; fetch the file again",
            path=self.path,
            where=self.where,
            expected="strings in heaps of this file",
            found=found,
        )
