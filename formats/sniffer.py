"""The beginning of a file, and what format it gives away."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from vecstore.formats.catalog import FORMATS, known_formats
from vecstore.formats.stream import Stream
from vecstore.formats.text import BOM, infer_dimensions, parse_header

from vecstore.errors import FormatError

__all__ = ["Head"]

_HEAD_BYTES = 1 << 20
_SAMPLE_LINES = 200
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_STRANGERS = (
    (rb"\s*<(!doctype|html|\?xml)", "an HTML or XML page, perhaps of a download that failed"),
    (rb"version https://git-lfs", "a Git LFS pointer; run 'git lfs pull'"),
    (rb"\x80[\x02-\x05]", "a Python pickle, which is never loaded: it can run code"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (rb".{8}\{\"", "a safetensors file"),
    (rb"SQLite format 3\x00", "an SQLite database"),
    (rb"FEA1", "a Feather file of version 1; write it again as version 2"),
    (rb"%PDF-", "a PDF document"),
    (rb"\s*[\[{]", "JSON"),
    (rb".{257}ustar", "a tar archive; extract it first"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ\x00|\x28\xb5\x2f\xfd", "compressed data inside compressed data"),
)


@dataclass(frozen=True)
class Head:
    """The first bytes of a file, decompressed."""

    path: Path
    data: bytes
    is_whole: bool
    compression: str | None

    @classmethod
    def read(cls, path: Path) -> Head:
        """Read them, after making sure that there is a file to read twice."""
        if not path.is_file():
            found = "a directory" if path.is_dir() else "something else" if path.exists() else "nothing there"
            raise FormatError("is no regular file; check the name", path=path, found=found)
        with Stream(path) as stream:
            data = stream.read(_HEAD_BYTES)
            return cls(path, data, len(data) < _HEAD_BYTES, stream.compression)

    def identify(self) -> str:
        """Return the name of the format; the suffix only breaks ties."""
        if self.data.startswith(b"\x93NUMPY"):
            return "npy"
        if self.data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return self._identify_zip()
        if self.data.startswith(b"PAR1"):
            return "parquet"
        if self.data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
            return "arrow"
        lines = self.lines()
        if lines and (header := parse_header(lines[0])):
            return self._identify_word2vec(lines[1:], header[1])
        # Two columns are more often a list of words and counts than vectors of one dimension.
        if (infer_dimensions(lines) or 0) > 1:
            return "glove"
        raise self._unknown(self._looks())

    def header(self) -> tuple[int, int]:
        """Return the rows and dimensions that the first line declares."""
        lines = self.lines()
        header = parse_header(lines[0]) if lines else None
        if header is None:
            raise FormatError(
                "not word2vec; name the right format (GloVe text has no header: 'glove')",
                path=self.path,
                where="line 1",
                expected="the numbers of rows and dimensions",
                found=self.shown(),
            )
        return header

    def lines(self) -> list[bytes]:
        """Return the first lines that are complete."""
        lines = self.data.removeprefix(BOM).split(b"\n", _SAMPLE_LINES)
        last = lines.pop()
        return [*lines, last] if self.is_whole and last and len(lines) < _SAMPLE_LINES else lines

    def shown(self) -> str:
        """Return the beginning, for messages."""
        return repr(self.data[:24])[1:] if self.data else "an empty file"

    def _identify_word2vec(self, lines: list[bytes], dimensions: int) -> str:
        if infer_dimensions(lines) == dimensions:
            return "word2vec"
        payload = self.data[self.data.find(b"\n") + 1 :][:65_536]
        is_binary = _CONTROL.search(payload) or self.path.suffix in FORMATS["word2vec-binary"].suffixes
        return "word2vec-binary" if is_binary else "word2vec"

    def _identify_zip(self) -> str:
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            return "npz"  # opening it says what is wrong
        if any(name.endswith(".npy") for name in names):
            return "npz"
        if any(name.endswith("data.pkl") for name in names):
            raise self._unknown("a PyTorch checkpoint; save the tensor with numpy.save")
        raise self._unknown(f"a zip archive of {', '.join(names[:3]) or 'nothing'}; extract it first")

    def _looks(self) -> str:
        if not self.data:
            return "an empty file"
        for pattern, name in _STRANGERS:
            if re.match(pattern, self.data, re.DOTALL | re.IGNORECASE):
                return name
        return f"a file that starts with {self.shown()}"

    def _unknown(self, looks: str) -> FormatError:
        known = known_formats()
        return FormatError(f"no known dump format: {looks}; name one with format=: {known}", path=self.path)
