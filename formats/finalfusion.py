"""finalfusion embeddings (.fifu): chunks of vocabulary, matrix and norms, as the format's specification has them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Coded, Dump
from vecstore.formats.format import SURE, Format, Output
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.replacement import append_file
from vecstore.formats.text_writer import joined

from vecstore.errors import FormatError, ShapeError

__all__ = ["FORMATS"]

_MAGIC = b"FiFu"
_SIMPLE, _ARRAY, _PRODUCT, _NORMS = 1, 2, 4, 6
_VOCABULARIES = (_SIMPLE, 3, 7, 8)  # with subwords by bucket, of fastText, explicit
_CODES = 256
_KEYS_AT_ONCE = 1 << 15
_TYPES = {1: "u1", 10: "<f4"}


def _open(head: Head, options: ReadingOptions) -> Dump:
    reader = ByteReader(head.path, "finalfusion")
    if reader.take(4).tobytes() != _MAGIC:
        raise reader.bad("does not begin with FiFu")
    version, count = reader.unpack("II")
    if version != 0 or count > 64:
        raise reader.bad("is of an unknown version", found=str(version))
    reader.take(4 * count)
    words: list[bytes] | None = None
    norms: NDArray[Any] | None = None
    storage: _Storage | None = None
    left_out = []
    for _ in range(count):
        kind, size = reader.unpack("IQ")
        after = reader.at + size
        if size > reader.left:
            raise reader.bad("truncated", expected=f"a chunk of {size} bytes", found=f"{reader.left} bytes")
        if kind in _VOCABULARIES:
            words = _words(reader, kind, after)
            left_out += ["n-grams of the vocabulary"] * (kind != _SIMPLE)
        elif kind == _ARRAY:
            storage = _Storage.of_array(reader)
        elif kind == _PRODUCT:
            storage = _Storage.of_product(reader)
        elif kind == _NORMS:
            (rows, number) = reader.unpack("QI")
            reader.take(4 - reader.at % 4)
            norms = reader.array("<f4", rows) if _TYPES.get(number) == "<f4" else None
        else:
            left_out.append(f"chunk {kind}")
        reader.at = after
    if words is None or storage is None or len(words) > storage.rows:
        raise reader.bad("has no words, or no vectors for them")
    if norms is not None and len(norms) < len(words):
        raise reader.bad("has norms for fewer words")
    dump = BlockDump(
        head.path,
        _blocks(words, storage, norms),
        format="finalfusion",
        rows=len(words),
        dimensions=storage.dimensions,
        own_key_type="str",
        key_type=options.get("key_type"),
        dtype=storage.dtype,
    )
    dump.left_out = tuple(left_out)
    dump.coded = storage.coded if norms is None else None
    return dump


def _blocks(words: list[bytes], storage: _Storage, norms: NDArray[Any] | None) -> Any:
    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, len(words), most):
            own = words[first : first + most]
            with np.errstate(over="ignore", invalid="ignore"):
                vectors = storage.decoded(first, first + len(own))
                if norms is not None:
                    vectors = vectors * norms[first : first + len(own), None]
            yield own, vectors, {}

    return blocks


def _words(reader: ByteReader, kind: int, end: int) -> list[bytes]:
    (count,) = reader.unpack("Q")
    if kind == 8:
        reader.unpack("QII")
    elif kind != _SIMPLE:
        reader.unpack("III")  # lengths of n-grams, buckets
    if count > (end - reader.at) // 4:
        raise reader.bad("truncated", expected=f"{count} words")
    # In one piece: a million small views of the file would take longer than all the rest.
    data, at, number = reader.data[reader.at : end].tobytes(), 0, int.from_bytes
    size = len(data)
    words: list[bytes] = []
    for _ in range(count):
        begin = at + 4
        at = begin + number(data[at:begin], "little")
        if at > size:
            raise reader.bad("truncated", expected=f"{count} words", found=str(len(words)))
        words.append(data[begin:at])
    return words


class _Storage:
    """The vectors: a matrix, or codes of a product quantizer and its codebooks."""

    def __init__(self, codes: NDArray[Any], books: NDArray[Any] | None, rotation: Any, norms: Any) -> None:
        self._codes, self._books, self._rotation, self._norms = codes, books, rotation, norms
        self.rows = len(codes)
        self.dimensions = codes.shape[1] if books is None else books.shape[0] * books.shape[2]
        self.dtype = "float32" if books is None else "codes of a product quantizer"

    @classmethod
    def of_array(cls, reader: ByteReader) -> _Storage:
        rows, width, number = reader.unpack("QII")
        if _TYPES.get(number) != "<f4":
            raise reader.bad("holds other numbers than float32", found=f"type {number}")
        reader.take(4 - reader.at % 4)
        return cls(reader.array("<f4", rows * width).reshape(rows, width), None, None, None)

    @classmethod
    def of_product(cls, reader: ByteReader) -> _Storage:
        rotated, normed, parts, width, entries, rows, codes, number = reader.unpack("IIIIIQII")
        if not (1 <= parts <= width <= 1 << 20 and width % parts == 0 and 1 <= entries <= 256):
            raise reader.bad("no product quantizer", found=f"{parts} parts of {width}, {entries} entries")
        if _TYPES.get(codes) != "u1" or _TYPES.get(number) != "<f4":
            raise reader.bad("holds other numbers than bytes and float32")
        reader.take(4 - reader.at % 4)
        rotation = reader.array("<f4", width * width).reshape(width, width) if rotated else None
        books = reader.array("<f4", entries * width).reshape(parts, entries, width // parts)
        norms = reader.array("<f4", rows) if normed else None
        table = reader.array("u1", rows * parts).reshape(rows, parts)
        return cls(table, books, rotation, norms)

    @property
    def coded(self) -> Coded | None:
        """The codec that has the same codes; lengths beside them are no part of one."""
        if self._books is None or self._norms is not None or not np.isfinite(self._books).all():
            return None
        parts, entries, _ = self._books.shape
        room = [(0, 0), (0, _CODES - entries), (0, 0)]  # codes beyond the entries, which no vector has
        arrays = {"0.0.codebooks": np.pad(self._books, room, mode="edge")}
        if self._rotation is None:
            return Coded(f"pq:{parts}", arrays)
        turned = self._rotation @ self._rotation.T
        if not np.allclose(turned, np.eye(len(turned)), atol=1e-3):
            return None
        return Coded(f"opq:{parts}", arrays | {"0.0.rotation": self._rotation})

    def decoded(self, first: int, last: int) -> NDArray[Any]:
        """Return the vectors of some rows."""
        codes = self._codes[first:last]
        if self._books is None:
            return codes
        if codes.size and int(codes.max()) >= self._books.shape[1]:
            raise FormatError(f"damaged: a code beyond the codebook among rows {first} to {last - 1}")
        vectors = np.concatenate([self._books[m][codes[:, m]] for m in range(codes.shape[1])], axis=1)
        if self._rotation is not None:
            # In float64, or sums would differ with the rows at once.
            vectors = (vectors.astype(np.float64) @ self._rotation.T).astype(np.float32)
        return vectors if self._norms is None else vectors * self._norms[first:last, None]


def _sniff(head: Head) -> float:
    return SURE if head.data.startswith(_MAGIC) else 0.0


def _write(output: Output) -> None:
    """Write a simple vocabulary and a matrix. Words come first, so that vectors may have to wait in a second file."""
    import tempfile

    with output.file() as file, ExitStack() as stack:
        file.write(_MAGIC + struct.pack("<IIII", 0, 2, _SIMPLE, _ARRAY))
        begin, row, waiting = file.tell(), 0, None
        file.write(struct.pack("<IQQ", _SIMPLE, 0, output.rows))
        if output.keys is not None and output.key_type is not None:
            left = iter(output.keys)
            while some := list(islice(left, _KEYS_AT_ONCE)):
                file.write(_measured(*joined(some, row, len(some))))
                row += len(some)
            if row != output.rows:
                raise ShapeError(f"{row} keys were given to write, but {output.rows} rows declared")
        else:
            # Beside the file: copied within one file system, and a folder of temporary files may lie in memory.
            waiting = stack.enter_context(tempfile.TemporaryFile(dir=output.path.parent))
            for keys, block in output.pairs:
                file.write(_measured(*joined(keys, row, len(block))))
                waiting.write(np.ascontiguousarray(block, "<f4").data)
                row += len(block)
        end = file.tell()
        file.seek(begin + 4)
        file.write(struct.pack("<Q", end - begin - 12))
        file.seek(end)
        padding = 4 - (end + 12 + 16) % 4  # never none: readers expect four where it would be aligned
        size = 16 + padding + 4 * output.rows * output.dimensions
        file.write(struct.pack("<IQQII", _ARRAY, size, output.rows, output.dimensions, 10) + bytes(padding))
        if waiting is not None:
            append_file(file, waiting)
        for _, block in output.pairs:  # none are left where they waited
            file.write(np.ascontiguousarray(block, "<f4").data)


def _measured(words: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return words, one behind the other, with the length of each before it."""
    sizes = np.diff(ends).astype("<u4")
    out = np.empty(len(words) + 4 * len(sizes), np.uint8)
    places = (ends[:-1] + 4 * np.arange(len(sizes)))[:, None] + np.arange(4)
    out[places] = sizes.view(np.uint8).reshape(-1, 4)
    is_text = np.ones(len(out), bool)
    is_text[places] = False
    out[is_text] = words
    return out


FORMATS = (
    Format(
        "finalfusion",
        (".fifu",),
        "finalfusion: words with a matrix or product-quantized vectors, and their norms",
        open=_open,
        sniff=_sniff,
        write=_write,
    ),
)
