"""Dumps of one array: rows of numbers, whatever file they lie in, and keys beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Batch, Dump, Problem, read_batch, to_float32
from vecstore.formats.key_column import KeyColumn

from vecstore.errors import FormatError

__all__ = ["ArrayDump", "RowArray"]


class RowArray(Protocol):
    """An array in a file, that is read in blocks of rows; nothing of it has to be in memory."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def where(self) -> str | None:
        """The place in the file, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers in the file."""

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield consecutive blocks of at most `rows` rows; those that can be written to are the reader's own."""


class ArrayDump(Dump):
    """A 2-D array of numbers, with or without a column of keys beside it."""

    def __init__(self, array: RowArray, keys: KeyColumn | None, *, format: str) -> None:
        if len(array.shape) != 2:
            raise FormatError(
                "the array is no table of vectors; reshape it to (rows, dimensions)",
                path=array.path,
                where=array.where,
                expected="2 dimensions",
                found=f"shape {array.shape}",
            )
        if array.dtype.kind not in "fiu":
            raise FormatError(
                f"the array does not hold numbers{_advice(array.dtype)}",
                path=array.path,
                where=array.where,
                expected="floats or integers",
                found=f"dtype {array.dtype.descr if array.dtype.names else array.dtype}",
            )
        rows, dimensions = array.shape
        key_type = None if keys is None else keys.key_type
        super().__init__(
            array.path, format=format, rows=rows, dimensions=dimensions, key_type=key_type, dtype=array.dtype.name
        )
        self._array, self._keys = array, keys
        self._key_bytes = 0 if keys is None else keys.key_bytes
        if keys is not None and keys.rows != rows:
            raise FormatError(
                "there must be as many keys as vectors; give the keys file that belongs to the array",
                path=keys.path,
                expected=f"{rows} keys",
                found=str(keys.rows),
            )

    def _batches(self, rows: int) -> Iterator[Batch]:
        done = 0
        key_blocks = None if self._keys is None else self._keys.blocks(rows)
        for block in self._array.blocks(rows):
            problems: dict[int, Problem] = {}
            keys = None
            if key_blocks is not None:
                keys, problems = next(key_blocks)
            done += len(block)
            yield read_batch(_own(block), keys, problems, done / self._array.shape[0])


def _own(block: NDArray[Any]) -> NDArray[np.float32]:
    """Return a block as float32 that may be changed."""
    own = block.dtype == np.dtype("=f4") and block.flags.c_contiguous and block.flags.writeable
    return block if own else to_float32(block)


def _advice(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "V" and dtype.itemsize == 2 and not dtype.names:
        return " that NumPy knows; if it is bfloat16, save it as float32"
    if dtype.kind == "c":
        return " of one part; save the real and imaginary parts side by side"
    return "; save it as float32"
