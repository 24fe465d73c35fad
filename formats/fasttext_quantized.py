"""fastText models that `quantize` wrote (.ftz): the vectors of their words, from codes of a product quantizer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.dump import Coded, Dump
from vecstore.formats.fasttext import MAGIC, Beginning, ModelReader, read_beginning
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

from vecstore.kernels import entries

__all__ = ["FORMATS"]

_CENTROIDS = 256
_END_OF_SENTENCE = b"</s>"  # has no n-grams
_MOST_PARTS = 1 << 20


@dataclass(frozen=True)
class _Quantizer:
    """Codebooks [part, code, dimension of the part], of equal width but for the last one, which may be narrower."""

    dimensions: int
    books: NDArray[np.float32]

    @classmethod
    def read(cls, reader: ModelReader) -> _Quantizer:
        d, parts, width, last = reader.unpack("4i")
        if not (1 <= parts <= _MOST_PARTS and 1 <= last <= width and d == (parts - 1) * width + last):
            raise reader.bad("has no product quantizer", "parts of a vector", (d, parts, width, last))
        numbers = reader.array("<f4", d * _CENTROIDS)
        books = np.zeros((parts, _CENTROIDS, width), np.float32)
        whole = (parts - 1) * _CENTROIDS * width
        books[:-1] = numbers[:whole].reshape(parts - 1, _CENTROIDS, width)
        books[-1, :, :last] = numbers[whole:].reshape(_CENTROIDS, last)
        return cls(d, books)

    @property
    def parts(self) -> int:
        return len(self.books)

    def decoded(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        picked = self.books[np.arange(self.parts), codes]  # picked[n, part, dimension of the part]
        return picked.reshape(len(codes), -1)[:, : self.dimensions]


@dataclass(frozen=True)
class _Matrix:
    """The rows of words, then of n-grams: codes, and lengths coded by another quantizer where there are any."""

    codes: NDArray[np.uint8]
    quantizer: _Quantizer
    lengths: NDArray[np.float32] | None

    @classmethod
    def read(cls, reader: ModelReader, begin: Beginning) -> _Matrix:
        (has_lengths,) = reader.unpack("?")
        m, n, size = reader.unpack("qqi")
        kept = begin.buckets if begin.pruned is None else len(begin.pruned)
        if n != begin.dimensions or m - begin.entries not in (0, kept) or m < 1 or size < 1 or size % m:
            expected = f"{begin.entries + kept} x {begin.dimensions}"
            raise reader.bad("has a matrix of another size than it says", expected, (m, n, size))
        codes = reader.array("u1", size).reshape(m, -1)
        quantizer = _Quantizer.read(reader)
        if quantizer.parts != codes.shape[1] or quantizer.dimensions != n:
            raise reader.bad("has codes for another quantizer", f"{quantizer.parts} bytes a row", codes.shape[1])
        lengths = None
        if has_lengths:
            own = reader.array("u1", m)
            lengths = _Quantizer.read(reader).books[0, own, 0]
        return cls(codes, quantizer, lengths)

    def decoded(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = self.quantizer.decoded(self.codes[rows])
        return vectors if self.lengths is None else vectors * self.lengths[rows, None]

    @property
    def coded(self) -> Coded | None:
        """The codec that has the same codes: ours gives groups of other widths the dimensions that are left over."""
        parts, _, width = self.quantizer.books.shape
        spare = parts * width - self.quantizer.dimensions
        if self.lengths is not None or spare >= parts or spare > 1:
            return None
        return Coded(f"pq:{parts}", {"0.0.codebooks": self.quantizer.books})


def _open(head: Head, options: ReadingOptions) -> Dump:
    with open(head.path, "rb") as file:
        reader = ModelReader(file, head.path)
        begin = read_beginning(reader)
        if not begin.quantized or begin.mode != 1:
            raise reader.bad("is not quantized; read it as fasttext", "codes", "float32 vectors")
        matrix = _Matrix.read(reader, begin)
    has_ngrams = begin.most > 0 and len(matrix.codes) > begin.entries

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, len(begin.words), most):
            words = begin.words[first : first + most]
            own = np.arange(first, first + len(words))
            yield words, _means(matrix, begin, words, own) if has_ngrams else matrix.decoded(own), {}

    dump = BlockDump(
        head.path,
        blocks,
        format="fasttext-quantized",
        rows=len(begin.words),
        dimensions=begin.dimensions,
        own_key_type="str",
        key_type=options.get("key_type"),
        dtype="codes of a product quantizer",
    )
    dump.coded = None if has_ngrams else matrix.coded
    dump.left_out = ("n-grams",) if has_ngrams else ()
    return dump


def _means(matrix: _Matrix, begin: Beginning, words: list[bytes], own: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return for each word the mean of its row and those of its n-grams, which fastText takes its vector to be."""
    counts, ids = _ngrams(words, begin)
    word_of = np.repeat(np.arange(len(words)), counts)
    if begin.pruned is not None:
        order = np.argsort(begin.pruned[:, 0], kind="stable")
        known = begin.pruned[order]
        at = np.minimum(np.searchsorted(known[:, 0], ids), max(len(known) - 1, 0))
        there = known[at, 0] == ids if len(known) else np.zeros(len(ids), bool)
        word_of, ids = word_of[there], known[at[there], 1].astype(np.int64)
    there = (ids >= 0) & (ids < len(matrix.codes) - begin.entries)
    word_of, ids = word_of[there], ids[there]
    sums = matrix.decoded(own)
    step = 1 << 16  # n-grams at once
    for first in range(0, len(ids), step):
        np.add.at(sums, word_of[first : first + step], matrix.decoded(ids[first : first + step] + begin.entries))
    sums /= (1 + np.bincount(word_of, minlength=len(words)))[:, None].astype(np.float32)
    return sums


def _ngrams(words: list[bytes], begin: Beginning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many n-grams each word has, and the buckets of all."""
    marked = [b"" if word == _END_OF_SENTENCE else b"<" + word + b">" for word in words]
    starts = np.concatenate([[0], np.cumsum([len(word) for word in marked], dtype=np.int64)])
    text = np.frombuffer(b"".join(marked), np.uint8)
    options = (begin.least, begin.most, max(begin.buckets, 1), 0, 0, False)
    counts = np.empty(len(words), np.int64)
    size = entries.subword_ids(text, starts, *options, counts, np.empty(0, np.int64))
    ids = np.empty(size, np.int64)
    entries.subword_ids(text, starts, *options, counts, ids)
    return counts, ids


def _sniff(head: Head) -> float:
    """Tell the model; whether it is quantized stands far behind, so that the ending of the name decides."""
    return SURE if head.data.startswith(struct.pack("<i", MAGIC)) else 0.0


FORMATS = (
    Format(
        "fasttext-quantized",
        (".ftz",),
        "fastText model that was quantized: vectors of its words; codes as they are where it has no n-grams",
        open=_open,
        sniff=_sniff,
    ),
)
