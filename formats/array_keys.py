"""Keys of arrays: a NumPy array beside them, or a text file; the content tells which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.array_dump import RowArray
from vecstore.formats.dump import Keys, KeyType, Problem
from vecstore.formats.key_column import KeyColumn, TextKeys
from vecstore.formats.keys import convert_integers, convert_text, encode_strings, row_place
from vecstore.formats.npy_array import NpyArray
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

__all__ = ["ArrayKeys", "open_keys"]


class ArrayKeys(KeyColumn):
    """A 1-D array of integers, strings ("U") or bytes ("S")."""

    _TYPES: dict[str, KeyType] = {"i": "int64", "u": "int64", "U": "str", "S": "bytes"}  # noqa: RUF012

    def __init__(self, array: RowArray, key_type: KeyType | None) -> None:
        if len(array.shape) != 1 or array.dtype.kind not in self._TYPES:
            raise FormatError(
                "the array cannot serve as keys",
                path=array.path,
                where=array.where,
                expected="one dimension of integers, strings or bytes",
                found=f"shape {array.shape} of {array.dtype}",
            )
        self.path, self.rows, self._array = array.path, array.shape[0], array
        self.key_bytes = array.dtype.itemsize
        self.key_type = key_type or self._TYPES[array.dtype.kind]

    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, Problem]]]:
        first = 0
        for block in self._array.blocks(rows):
            problems: dict[int, Problem] = {}
            match block.dtype.kind:
                case "i" | "u":
                    if block.dtype == np.uint64 and block.size and int(block.max()) >= 2**63:
                        raise FormatError(
                            "a key does not fit a signed 64-bit integer; save the keys as strings",
                            path=self.path,
                            where=self._array.where,
                            found=str(block.max()),
                        )
                    keys = convert_integers(block.astype(np.int64), self.key_type)
                case kind:
                    raw = block.tolist() if kind == "S" else self._encoded(block)
                    keys = convert_text(raw, self.key_type, row_place(first), problems)
            yield keys, problems
            first += len(block)

    def _encoded(self, block: NDArray[Any]) -> list[bytes]:
        try:
            return encode_strings(block.tolist())
        except ValueError as error:
            raise FormatError(
                f"a key is no text ({error}); write the array again", path=self.path, where=self._array.where
            ) from error


def open_keys(options: ReadingOptions) -> KeyColumn | None:
    """Open the file of keys that is named, if there is one; its content tells which kind it is."""
    given = options.get("keys")
    if given is None:
        return None
    path, key_type = Path(given), options.get("key_type")
    if not path.is_file():
        raise FormatError("is no regular file; check the name", path=path, found="nothing there")
    with Stream(path) as stream:
        is_array = stream.read(6) == b"\x93NUMPY"
    return ArrayKeys(NpyArray.open(path), key_type) if is_array else TextKeys(path, key_type)
