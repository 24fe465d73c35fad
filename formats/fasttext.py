"""fastText and floret models: the binary files of both, and floret's text."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError

__all__ = [
    "MAGIC",
    "Beginning",
    "ModelReader",
    "SubwordModel",
    "is_floret_header",
    "is_subword_model",
    "read_beginning",
    "read_fasttext",
    "read_floret_text",
]

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
    with open(path, "rb") as file:
        reader = ModelReader(file, path)
        begin = read_beginning(reader)
        if begin.quantized:
            raise reader.bad("is quantized; read it as fasttext-quantized (.ftz)", "float32 vectors", "codes")
        if begin.pruned is not None:
            raise reader.bad("is pruned; import the .bin it was made of", "all n-grams", len(begin.pruned))
        m, n = reader.unpack("qq")
        total, buckets = begin.entries, begin.buckets
        if n != begin.dimensions or m < total or m - total not in (buckets, 0) or m * n * 4 > reader.size:
            expected = f"{total + buckets} x {begin.dimensions}"
            raise reader.bad("has a matrix of another size than it says", expected, (m, n))
        matrix = reader.array("<f4", m * n).reshape(m, n)
    is_floret = begin.mode == FLORET_MODE
    return SubwordModel(
        kind="floret" if is_floret else "fasttext",
        least=begin.least,
        most=begin.most if m > total else 0,
        hashes=begin.hashes if is_floret else 0,
        seed=2166136261 if is_floret else 0,
        buckets=matrix[total:],
        words=begin.words,
        rows=None if is_floret else matrix[: len(begin.words)],
    )


@dataclass(frozen=True)
class Beginning:
    """What stands before the matrix of a model.

    Attributes
    ----------
    dimensions, buckets, least, most, mode, hashes : int
    words : list of bytes
        Without labels.
    entries : int
        Rows of the matrix before those of n-grams.
    pruned : (n, 2) int32 or None
        The buckets of the n-grams that were kept, each with its row among them; None where none was left out.
    quantized : bool
    """

    dimensions: int
    buckets: int
    least: int
    most: int
    mode: int
    hashes: int
    words: list[bytes]
    entries: int
    pruned: NDArray[np.int32] | None
    quantized: bool


def read_beginning(reader: ModelReader) -> Beginning:
    """Read what stands before the matrix."""
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
    words, total, pruned = _words(reader, is_new)
    quantized = is_new and bool(reader.unpack("?")[0])
    return Beginning(dimensions, buckets, least, most, mode, hashes, words, total, pruned, quantized)


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


def _mode(reader: ModelReader) -> tuple[int, int]:
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


def _words(reader: ModelReader, is_new: bool) -> tuple[list[bytes], int, NDArray[np.int32] | None]:
    """Return the words without labels, how many rows all entries take, and which n-grams were kept."""
    total, count, _ = reader.unpack("3i")
    reader.unpack("q")  # tokens
    pruned = reader.unpack("q")[0] if is_new else -1
    if not 0 <= count <= total <= MOST_WORDS:
        raise reader.bad("has a malformed dictionary", "words up to all entries", (total, count))
    words = []
    for entry in range(total):
        word = reader.word()
        _, label = reader.unpack("qb")
        if label not in (0, 1) or (label == 1) != (entry >= count):
            raise reader.bad("has a malformed dictionary", "words, then labels", label)
        if label == 0:
            words.append(word)
    return words, count, None if pruned < 0 else reader.array("<i4", 2 * pruned).reshape(pruned, 2)


class ModelReader:
    """A file read in order, that never gives less than it was asked for."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path, self.size = file, path, path.stat().st_size

    @property
    def position(self) -> int:
        """Where the next byte is read."""
        return self._file.tell()

    def seek(self, position: int) -> None:
        """Go on at another place."""
        self._file.seek(position)

    def unpack(self, kinds: str) -> tuple[int, ...]:
        """Return numbers, little-endian, as `struct` names their types."""
        size = struct.calcsize("<" + kinds)
        data = self._file.read(size)
        if len(data) < size:
            raise self.bad("ends early", f"{size} more bytes", len(data))
        return struct.unpack("<" + kinds, data)

    def word(self) -> bytes:
        """Return what stands before the next zero byte."""
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

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """Return numbers; raises `FormatError` where there are not as many, or where they are not finite."""
        size = np.dtype(dtype).itemsize * count
        if count < 0 or self.size - self.position < size:
            raise self.bad("ends early", f"{size} bytes of numbers", self.size - self.position)
        found = np.fromfile(self._file, dtype, count)
        if not np.isfinite(found).all():
            raise self.bad("is damaged", "finite numbers", "NaN or infinity")
        return found

    def bad(self, message: str, expected: str, found: object) -> FormatError:
        """Return the error for this place."""
        return FormatError(
            message, path=self._path, where=f"byte {self.position}", expected=expected, found=str(found)[:60]
        )
