"""What a conversion found remarkable in a dump: how often, and where first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.formats.dump import Batch, Dump
from vecstore.keys.packed import PackedKeys

__all__ = ["Finding", "Findings"]

SHOWN = 3  # places that a finding names
LONGEST_KEY = 511  # bytes; longer ones are stored, but hardly meant
# Bytes in keys that are more often left over from a conversion than meant.
ODD = {
    b" ": "key with a space",
    b"\t": "key with a tab",
    b"\r": "key with a carriage return (CRLF)",
    b"\n": "key with a line end",
    b"\xc2\xa0": "key with a no-break space (U+00A0)",
    b"\xc2\x85": "key with a next-line mark (U+0085)",
    b"\xef\xbb\xbf": "key with a byte order mark",
}


@dataclass
class Finding:
    """One kind of thing that was found.

    Attributes
    ----------
    kind : str
    count : int
        Rows, columns or files that it is true of.
    first : list of str
        The first few places.
    """

    kind: str
    count: int = 0
    first: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        places = "; ".join(self.first) + ("; ..." if self.count > len(self.first) else "")
        return f"{self.count:,}" + (f" ({places})" if places else "")


class Findings:
    """All that was found, by kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Finding] = {}

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._by_kind.values())

    def add(self, kind: str, count: int, first: Iterable[str]) -> None:
        """Count `count` more of a kind; `first` gives their places, of which the first few are kept."""
        if not count:
            return
        found = self._by_kind.setdefault(kind, Finding(kind))
        found.count += count
        for place in first:
            if len(found.first) == SHOWN:
                break
            found.first.append(place)

    def merge(self, other: Findings) -> None:
        """Count what others found behind these."""
        for finding in other:
            self.add(**asdict(finding))

    def look_at(self, batch: Batch, first_row: int, packed: PackedKeys | None, *, where: str = "") -> None:
        """Count what is remarkable about rows that are kept: zero vectors and odd keys; places begin with `where`."""
        zero = np.flatnonzero(batch.vectors[:, 0] == 0)
        zero = zero[~batch.vectors[zero].any(axis=1)]
        self._rows("zero vector", zero, batch, first_row, where)
        if packed is None or packed.key_type == "int64":
            return
        self._rows("key over 511 bytes", np.flatnonzero(packed.lengths > LONGEST_KEY), batch, first_row, where)
        text = packed.text.tobytes()
        plain = text.isascii()
        for mark, kind in ODD.items():
            if (mark.isascii() or not plain) and mark in text:
                places = _places(text, mark)
                rows = np.searchsorted(packed.starts, places, side="right") - 1  # rising
                rows = rows[places < packed.starts[rows] + packed.lengths[rows]]
                self._rows(kind, rows[np.diff(rows, prepend=-1) > 0], batch, first_row, where)

    def look_at_source(self, dump: Dump, notes: Mapping[str, str]) -> None:
        """Count what is remarkable about the file: other numbers than float32, what was left out of it, notes."""
        if dump.dtype not in ("float32", "float", "float16", "halffloat", "bfloat16", "int8", "uint8"):
            self.add("numbers rounded to float32", 1, [f"{dump.dtype} in the file"])
        self.add("columns or arrays left out", len(dump.left_out), dump.left_out)
        for kind, place in notes.items():
            self.add(kind, 1, [place])

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain dicts."""
        return [asdict(finding) for finding in self]

    def _rows(self, kind: str, rows: NDArray[np.int64], batch: Batch, first_row: int, where: str) -> None:
        shown = (where + _place(batch, first_row, row) for row in rows[:SHOWN].tolist())
        self.add(kind, len(rows), shown)


def _place(batch: Batch, first_row: int, row: int) -> str:
    key = "" if batch.keys is None else f", key {_short(batch.keys[row])}"
    return f"row {first_row + row}{key}"


def _short(key: Any) -> str:
    shown = repr(key if isinstance(key, (str, bytes)) else int(key))
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _places(text: bytes, mark: bytes) -> NDArray[np.int64]:
    data = np.frombuffer(text, np.uint8)
    found = data[: len(data) - len(mark) + 1] == mark[0]
    for offset, byte in enumerate(mark[1:], start=1):
        found &= data[offset : len(data) - len(mark) + 1 + offset] == byte
    return np.flatnonzero(found)
