"""The beginning of a file or what a folder holds: what formats are told by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

__all__ = ["BOM", "Head"]

BOM = b"\xef\xbb\xbf"

_HEAD_BYTES = 1 << 20
_SAMPLE_LINES = 200
_MOST_NAMES = 10_000
_STORE = re.compile(rb".{16}\xde\xc0\xef\xbe", re.DOTALL)  # LMDB's first page
_STRANGERS = (
    (rb"\s*<(!doctype|html|\?xml)", "an HTML or XML page, perhaps of a download that failed"),
    (rb"version https://git-lfs", "a Git LFS pointer; run 'git lfs pull'"),
    (rb"\x80[\x02-\x05]", "a Python pickle, which is never loaded: it can run code"),
    (rb"SQLite format 3\x00", "an SQLite database without a table of vectors that is known"),
    (rb"FEA1", "a Feather file of version 1; write it again as version 2"),
    (rb"PK[\x03\x05]", "a zip archive; extract it first"),
    (rb"%PDF-", "a PDF document"),
    (rb"\s*[\[{]", "JSON, but not an object with a vector in each line"),
    (rb".{257}ustar", "a tar archive; extract it first"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ\x00|\x28\xb5\x2f\xfd", "compressed data inside compressed data"),
)


@dataclass(frozen=True)
class Head:
    """The first bytes of a file, decompressed; or the names in a folder.

    Attributes
    ----------
    path : Path
    data : bytes
        Empty for a folder.
    is_whole : bool
        Whether `data` is all of the file.
    compression : str or None
    names : frozenset of str
        Of what lies in the folder; empty for a file.
    """

    path: Path
    data: bytes
    is_whole: bool
    compression: str | None
    names: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Head:
        """Read them, after making sure that there is something to read twice."""
        if path.is_dir():
            names = frozenset(entry.name for entry, _ in zip(path.iterdir(), range(_MOST_NAMES), strict=False))
            return cls(path, b"", True, None, names)
        if not path.is_file():
            found = "something else" if path.exists() else "nothing there"
            raise FormatError("is no regular file; check the name", path=path, found=found)
        with Stream(path) as stream:
            data = stream.read(_HEAD_BYTES)
            return cls(path, data, len(data) < _HEAD_BYTES, stream.compression)

    @property
    def size(self) -> int:
        """Bytes of the file on disk; of compressed data nobody knows how many they stand for: -1."""
        return -1 if self.compression else self.path.stat().st_size

    @cached_property
    def lines(self) -> list[bytes]:
        """The first lines that are complete."""
        lines = self.data.removeprefix(BOM).split(b"\n", _SAMPLE_LINES)
        last = lines.pop()
        return [*lines, last] if self.is_whole and last and len(lines) < _SAMPLE_LINES else lines

    @property
    def suffix(self) -> str:
        """The ending of the name, in small letters, without that of the compression."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        return suffixes[-2] if self.compression and len(suffixes) > 1 else suffixes[-1] if suffixes else ""

    @property
    def is_store(self) -> bool:
        """Whether it is a store, or a file of one, as far as the beginning or the names tell."""
        return _STORE.match(self.data) is not None or "manifest.json" in self.names

    def shown(self) -> str:
        """Return the beginning, for messages."""
        return repr(self.data[:24])[1:] if self.data else "an empty file"

    def looks(self) -> str:
        """Return what a file of no known format looks like."""
        if self.names or self.path.is_dir():
            some = ", ".join(sorted(self.names)[:3])
            return f"a directory of {some}" if some else "an empty directory"
        if not self.data:
            return "an empty file"
        for pattern, name in _STRANGERS:
            if re.match(pattern, self.data, re.DOTALL | re.IGNORECASE):
                return name
        return f"a file that starts with {self.shown()}"
