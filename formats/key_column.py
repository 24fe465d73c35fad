"""Keys that lie beside the vectors: a text file, one key a line, or a NumPy array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Keys, KeyType
from vecstore.formats.keys import convert_integers, convert_text, encode_strings, row_place
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

if TYPE_CHECKING:
    from vecstore.formats.npy import NpyArray

__all__ = ["ArrayKeys", "KeyColumn", "TextKeys", "open_keys"]

_BLOCK_BYTES = 4 << 20
_LONGEST_LINE_BYTES = 1 << 20  # far more than a key may have
_BOM = b"\xef\xbb\xbf"


class KeyColumn(ABC):
    """As many keys as a dump has rows."""

    path: Path
    rows: int
    key_type: KeyType
    key_bytes: int = 0  # where all keys take as many

    @abstractmethod
    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, str]]]:
        """Yield the keys of `rows` rows at a time, and the problems found in them."""


class TextKeys(KeyColumn):
    """One key a line, ended by "\\n" or "\\r\\n"; the last line may end without."""

    def __init__(self, path: Path, key_type: KeyType | None) -> None:
        self.path, self.key_type = path, key_type or "str"
        self.rows = self._count()

    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, str]]]:
        first = 0
        pending: list[bytes] = []
        for lines in self._lines():
            pending += lines
            while len(pending) >= rows:
                yield self._convert(pending[:rows], first)
                first += rows
                del pending[:rows]
        if pending:
            yield self._convert(pending, first)

    def _convert(self, lines: list[bytes], first: int) -> tuple[Keys, dict[int, str]]:
        problems: dict[int, str] = {}
        keys = [line.removesuffix(b"\r") for line in lines]
        for index in (index for index, key in enumerate(keys) if not key):
            problems[index] = f"{self.path.name}, line {first + index + 1}: no key, the line is empty"
        return convert_text(
            keys, self.key_type, lambda index: f"{self.path.name}, line {first + index + 1}", problems
        ), problems

    def _lines(self) -> Iterator[list[bytes]]:
        with Stream(self.path) as stream:
            rest = b""
            start = True
            while data := stream.read(_BLOCK_BYTES):
                lines = (rest + (data.removeprefix(_BOM) if start else data)).split(b"\n")
                start = False
                rest = lines.pop()
                if len(rest) > _LONGEST_LINE_BYTES:
                    raise FormatError("a line is longer than any key; write one key a line", path=self.path)
                yield lines
            if rest:
                yield [rest]

    def _count(self) -> int:
        count, last = 0, b"\n"
        with Stream(self.path) as stream:
            while data := stream.read(_BLOCK_BYTES):
                if not count:
                    data = data.removeprefix(_BOM)
                count += data.count(b"\n")
                last = data[-1:] or last
        return count + (last != b"\n")


class ArrayKeys(KeyColumn):
    """A 1-D array of integers, strings ("U") or bytes ("S")."""

    _TYPES: dict[str, KeyType] = {"i": "int64", "u": "int64", "U": "str", "S": "bytes"}  # noqa: RUF012

    def __init__(self, array: NpyArray, key_type: KeyType | None) -> None:
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

    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, str]]]:
        first = 0
        for block in self._array.blocks(rows):
            problems: dict[int, str] = {}
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


def open_keys(path: Path, key_type: KeyType | None) -> KeyColumn:
    """Open a keys file; its content tells which kind it is."""
    from vecstore.formats.npy import NpyArray

    with Stream(path) as stream:
        is_array = stream.read(6) == b"\x93NUMPY"
    return ArrayKeys(NpyArray.open(path), key_type) if is_array else TextKeys(path, key_type)
