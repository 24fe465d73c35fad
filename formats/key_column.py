"""Keys that lie beside the vectors: the contract, and a text file with one key a line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from vecstore.formats.dump import Keys, KeyType, Problem
from vecstore.formats.keys import convert_text
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

__all__ = ["KeyColumn", "TextKeys"]

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
    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, Problem]]]:
        """Yield the keys of `rows` rows at a time, and the problems found in them."""


class TextKeys(KeyColumn):
    """One key a line, ended by "\\n" or "\\r\\n"; the last line may end without."""

    def __init__(self, path: Path, key_type: KeyType | None) -> None:
        self.path, self.key_type = path, key_type or "str"
        self.rows, self._has_returns = self._count()

    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, Problem]]]:
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

    def _convert(self, lines: list[bytes], first: int) -> tuple[Keys, dict[int, Problem]]:
        problems: dict[int, Problem] = {}
        keys = [line.removesuffix(b"\r") for line in lines] if self._has_returns else lines
        if not all(keys):
            for index in (index for index, key in enumerate(keys) if not key):
                where = f"{self.path.name}, line {first + index + 1}"
                problems[index] = Problem("no key", f"{where}: no key, the line is empty")
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

    def _count(self) -> tuple[int, bool]:
        """Return how many lines there are, and whether any has a carriage return."""
        count, last, returns = 0, b"\n", False
        with Stream(self.path) as stream:
            while data := stream.read(_BLOCK_BYTES):
                if not count:
                    data = data.removeprefix(_BOM)
                count += data.count(b"\n")
                returns = returns or b"\r" in data
                last = data[-1:] or last
        return count + (last != b"\n"), returns
