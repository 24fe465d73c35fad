"""fastText and floret models: the binary files of both, and floret's text."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError

__all__ = ["MAGIC", "SubwordModel", "is_floret_header", "is_subword_model", "read_fasttext", "read_floret_text"]

MAGIC = 793712314
VERSIONS = (11, 12)
SUPERVISED = 3
FLORET_MODE = 2
MOST_DIMENSIONS = 1 << 20
MOST_WORDS = 1 << 31
LONGEST_WORD = 1 << 16
CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class SubwordModel:
    """A table of n-gram vectors, and the words that were in training.

    Attributes
    ----------
    kind : {"fasttext", "floret"}
    least, most : int
        Characters of an n-gram.
    hashes, seed : int
        floret's; 0 for fastText.
    buckets : (entries, d) float32
    words : list of bytes or None
        None: the file has no words.
    rows : (words, d) float32 or None
        The words' own vectors, which floret has not.
    """

    kind: str
    least: int
    most: int
    hashes: int
    seed: int
    buckets: NDArray[np.float32]
    words: list[bytes] | None
    rows: NDArray[np.float32] | None


def is_floret_header(line: bytes) -> bool:
    """Return whether a line is the first one of a ``.floret`` file."""
    return _floret_header(line) is not None


def is_subword_model(path: Path) -> bool:
    """Return whether a file begins as a fastText or floret model does (old ones, without a magic number, do not)."""
    with open(path, "rb") as file:
        head = file.read(256)
    return head.startswith(struct.pack("<i", MAGIC)) or _floret_header(head.partition(b"\n")[0]) is not None


def read_fasttext(path: Path) -> SubwordModel:
    """Read a ``.bin`` of fastText (versions 11 and 12, and before that without magic number) or of floret.

    Raises
    ------
    FormatError
        It is none, is damaged, or is quantized or pruned, which loses the vectors that were trained.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        reader = _Reader(file, path, size)
        first, second = reader.unpack("ii")
        is_new = first == MAGIC
        if is_new and second not in VERSIONS:
            raise reader.bad("is of an unknown version", "11 or 12", second)
        dimensions = reader.unpack("i")[0] if is_new else first
        if is_new:
            reader.unpack("i")  # ws
        reader.unpack("5i")  # epoch, minCount, neg, wordNgrams, loss
        (model, buckets, least, most) = reader.unpack("4i")
        mode, hashes = _mode(reader) if is_new else (1, 0)
        reader.unpack("i")  # lrUpdateRate
        reader.unpack("d")
        if is_new and second == 11 and model == SUPERVISED:
            most = 0  # such models were trained before labels had n-grams
        if not (1 <= dimensions <= MOST_DIMENSIONS and 0 <= buckets < 2**31 and 0 <= least <= 64 and 0 <= most <= 64):
            raise reader.bad("is no fastText model", "sane sizes", (dimensions, buckets, least, most))
        words, total = _words(reader, is_new)
        if is_new and reader.unpack("?")[0]:
            raise reader.bad("is quantized; import the .bin it was made of", "float32 vectors", "codes")
        m, n = reader.unpack("qq")
        if n != dimensions or m < total or m - total not in (buckets, 0) or m * n * 4 > size:
            raise reader.bad("has a matrix of another size than it says", f"{total + buckets} x {dimensions}", (m, n))
        matrix = reader.array(m, n)
    is_floret = mode == FLORET_MODE
    return SubwordModel(
        kind="floret" if is_floret else "fasttext",
        least=least,
        most=most if m > total else 0,
        hashes=hashes if is_floret else 0,
        seed=2166136261 if is_floret else 0,
        buckets=matrix[total:],
        words=words,
        rows=None if is_floret else matrix[: len(words)],
    )


def read_floret_text(path: Path) -> SubwordModel:
    """Read a ``.floret`` file: a line ``buckets d minn maxn hashes seed < >``, then ``number x1 ... xd``."""
    with open(path, "rb") as file:
        header = _floret_header(file.readline(256).rstrip(b"\n"))
        if header is None:
            raise FormatError("is no .floret file", path=path, where="line 1", expected="8 fields, the last two < >")
        entries, d, least, most, hashes, seed = header
        if entries * d * 2 > path.stat().st_size:
            raise FormatError("has fewer numbers than it says", path=path, expected=f"{entries} lines of {d} numbers")
        table = np.empty((entries, d), np.float32)
        for row in range(entries):
            line = file.readline(64 * (d + 1))
            number, _, numbers = line.partition(b" ")
            try:
                with np.errstate(over="ignore"):  # infinities are refused below
                    values = np.array(numbers.split(), np.float32)
            except ValueError:
                values = np.empty(0, np.float32)
            if number != b"%d" % row or len(values) != d or not np.isfinite(values).all():
                raise FormatError(
                    "has a malformed line", path=path, where=f"line {row + 2}", expected=f"{row} and {d} numbers"
                )
            table[row] = values
    return SubwordModel("floret", least, most, hashes, seed, table, None, None)


def _floret_header(line: bytes) -> tuple[int, int, int, int, int, int] | None:
    fields = line.split(b" ")
    if len(fields) != 8 or fields[6:] != [b"<", b">"] or not all(field.isdigit() for field in fields[:6]):
        return None
    entries, d, least, most, hashes, seed = (int(field) for field in fields[:6])
    sane = 1 <= entries < 2**31 and 1 <= d <= MOST_DIMENSIONS and least <= most <= 64 and 1 <= hashes <= 4
    return (entries, d, least, most, hashes, seed) if sane and seed < 2**32 else None


def _mode(reader: _Reader) -> tuple[int, int]:
    """Return floret's mode and hashes; (1, 0) for fastText, whose header has no such fields.

    Nothing in the file tells the two apart but what follows: in fastText a learning parameter and its value as a
    double, which read two fields later makes no sense.
    """
    at = reader.position
    reader.unpack("i")
    (rate,) = reader.unpack("d")
    is_fasttext = rate == 0 or 1e-30 < abs(rate) < 1e30
    reader.seek(at)
    if is_fasttext:
        return 1, 0
    mode, hashes = reader.unpack("ii")
    if mode not in (1, FLORET_MODE) or not 1 <= hashes <= 4:
        raise reader.bad("is neither of fastText nor of floret", "mode 1 or 2, 1 to 4 hashes", (mode, hashes))
    return mode, hashes


def _words(reader: _Reader, is_new: bool) -> tuple[list[bytes], int]:
    """Return the words without labels, and how many rows all entries take."""
    total, count, _ = reader.unpack("3i")
    reader.unpack("q")  # tokens
    pruned = reader.unpack("q")[0] if is_new else -1
    if not 0 <= count <= total <= MOST_WORDS:
        raise reader.bad("has a malformed dictionary", "words up to all entries", (total, count))
    if pruned > 0:
        raise reader.bad("is pruned; import the .bin it was made of", "all n-grams", pruned)
    words = []
    for entry in range(total):
        word = reader.word()
        _, label = reader.unpack("qb")
        if label not in (0, 1) or (label == 1) != (entry >= count):
            raise reader.bad("has a malformed dictionary", "words, then labels", label)
        if label == 0:
            words.append(word)
    return words, count


class _Reader:
    """A file read in order, that never gives less than it was asked for."""

    def __init__(self, file: IO[bytes], path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size

    @property
    def position(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def unpack(self, kinds: str) -> tuple[int, ...]:
        size = struct.calcsize("<" + kinds)
        data = self._file.read(size)
        if len(data) < size:
            raise self.bad("ends early", f"{size} more bytes", len(data))
        return struct.unpack("<" + kinds, data)

    def word(self) -> bytes:
        at, piece, found = self.position, b"", b""
        while True:
            piece = self._file.read(64)
            head, zero, _ = piece.partition(b"\0")
            found += head
            if zero:
                self.seek(at + len(found) + 1)
                return found
            if len(piece) < 64 or len(found) > LONGEST_WORD:
                raise self.bad("has a word without an end", "a zero byte", found[:20])

    def array(self, m: int, n: int) -> NDArray[np.float32]:
        if self._size - self.position < 4 * m * n:
            raise self.bad("ends early", f"{4 * m * n} bytes of vectors", self._size - self.position)
        found = np.fromfile(self._file, "<f4", m * n).reshape(m, n)
        if not np.isfinite(found).all():
            raise self.bad("is damaged", "finite numbers", "NaN or infinity")
        return found

    def bad(self, message: str, expected: str, found: object) -> FormatError:
        return FormatError(
            message, path=self._path, where=f"byte {self.position}", expected=expected, found=str(found)[:60]
        )
