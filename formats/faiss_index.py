"""faiss index files: flat, scalar and product quantized, alone, under an ID map, or in inverted lists of flat vectors.

Read from the layout of faiss' own writer, without the library: it trusts what it reads. Codes are decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Dump
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

__all__ = ["FORMATS"]

_FLAT, _MAPS = (b"IxFI", b"IxF2", b"IxFl"), (b"IxMp", b"IxM2")
_KNOWN = (*_FLAT, *_MAPS, b"IxSQ", b"IxPq", b"IwFl")
_DEEPEST = 4
_SQ8, _SQ4, _SQ8_UNIFORM, _SQ16, _SQ8_DIRECT = 0, 1, 2, 4, 5


@dataclass(frozen=True)
class _Index:
    """What was read: codes (n, bytes), how they are decoded, ids if there are any."""

    dimensions: int
    codes: NDArray[Any]
    decode: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: str
    ids: NDArray[np.int64] | None = None


def _open(head: Head, options: ReadingOptions) -> Dump:
    reader = ByteReader(head.path, "faiss")
    index = _read(reader, 0)

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, len(index.codes), most):
            ids = None if index.ids is None else index.ids[first : first + most]
            yield ids, index.decode(index.codes[first : first + most]), {}

    return BlockDump(
        head.path,
        blocks,
        format="faiss",
        rows=len(index.codes),
        dimensions=index.dimensions,
        own_key_type=None if index.ids is None else "int64",
        key_type=options.get("key_type"),
        dtype=index.dtype,
    )


def _read(reader: ByteReader, depth: int) -> _Index:
    kind = reader.take(4).tobytes()
    if kind not in _KNOWN or depth > _DEEPEST:
        known = "flat, SQ, PQ, IDMap and IVF-flat are read"
        raise reader.bad(f"an index of a kind that is not read ({known})", found=repr(kind)[1:])
    d, rows, _, _, _, metric = reader.unpack("iqqqBi")
    if metric > 1:
        reader.unpack("f")
    if not (1 <= d <= 1 << 20 and 0 <= rows < 1 << 40):
        raise reader.bad("no sizes of an index", found=f"{rows} x {d}")
    if kind in _MAPS:
        inner = _read(reader, depth + 1)
        ids = reader.vector("<i8")
        if len(ids) != len(inner.codes):
            raise reader.bad("has another number of ids", expected=str(len(inner.codes)), found=str(len(ids)))
        return _Index(inner.dimensions, inner.codes, inner.decode, inner.dtype, ids)
    if kind == b"IwFl":
        return _inverted(reader, d, depth)
    if kind in _FLAT:
        return _Index(d, _codes(reader, reader.vector("<f4"), rows, d), lambda block: block, "float32")
    width, decode, dtype = _scalar(reader, d) if kind == b"IxSQ" else _product(reader, d)
    return _Index(d, _codes(reader, reader.vector("u1"), rows, width), decode, dtype)


def _codes(reader: ByteReader, numbers: NDArray[Any], rows: int, width: int) -> NDArray[Any]:
    if len(numbers) != rows * width:
        raise reader.bad("has codes for other rows", expected=f"{rows} x {width}", found=str(len(numbers)))
    return numbers.reshape(rows, width)


def _scalar(reader: ByteReader, d: int) -> tuple[int, Callable[[NDArray[Any]], NDArray[Any]], str]:
    kind, _, _, width, code_bytes = reader.unpack("iifQQ")
    trained = reader.vector("<f4")
    sizes = {_SQ8: d, _SQ8_UNIFORM: d, _SQ4: -(-d // 2), _SQ16: 2 * d, _SQ8_DIRECT: d}
    expected = {_SQ8: 2 * d, _SQ8_UNIFORM: 2, _SQ4: 2 * d}.get(kind, 0)
    if width != d or sizes.get(kind) != code_bytes or len(trained) != expected:
        raise reader.bad("a scalar quantizer that is not read", found=f"type {kind}, {code_bytes} bytes")
    half = len(trained) // 2
    low, span = trained[:half], trained[half:]

    def decode(codes: NDArray[Any]) -> NDArray[Any]:
        if kind == _SQ16:
            return np.ascontiguousarray(codes).view("<f2")
        if kind == _SQ8_DIRECT:
            return codes
        if kind == _SQ4:
            nibbles = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :d]
            return low + span * ((nibbles + np.float32(0.5)) / np.float32(15))
        return low + span * ((codes + np.float32(0.5)) / np.float32(255))

    return int(code_bytes), decode, {_SQ16: "float16", _SQ4: "4-bit codes"}.get(kind, "uint8")


def _product(reader: ByteReader, d: int) -> tuple[int, Callable[[NDArray[Any]], NDArray[Any]], str]:
    width, parts, bits = reader.unpack("QQQ")
    centroids = reader.vector("<f4")
    if width != d or not 1 <= parts <= d or d % parts or bits not in (4, 8):
        raise reader.bad("a product quantizer that is not read", found=f"{parts} parts of {bits} bits")
    if len(centroids) != d << bits:
        raise reader.bad("has other codebooks", expected=str(d << bits), found=str(len(centroids)))
    books = centroids.reshape(parts, 1 << bits, d // parts)  # books[m, code]: a part of a vector

    def decode(codes: NDArray[Any]) -> NDArray[Any]:
        if bits == 4:
            codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :parts]
        return np.stack([books[m, codes[:, m]] for m in range(parts)], axis=1).reshape(len(codes), d)

    return -(-parts * int(bits) // 8), decode, f"{bits}-bit codes"


def _inverted(reader: ByteReader, d: int, depth: int) -> _Index:
    lists, _ = reader.unpack("QQ")
    _read(reader, depth + 1)  # the coarse quantizer: vectors are kept whole, so that it is not needed
    (kind,) = reader.unpack("B")
    reader.vector("<i8")
    if kind == 2:
        reader.take(16 * reader.unpack("Q")[0])
    if reader.take(4).tobytes() != b"ilar":
        raise reader.bad("inverted lists that lie elsewhere")
    count, code_bytes = reader.unpack("QQ")
    if count != lists or code_bytes != 4 * d:
        raise reader.bad("inverted lists of another shape", found=f"{count} of {code_bytes} bytes")
    is_full = reader.take(4).tobytes() == b"full"
    sizes = reader.vector("<u8")
    if not is_full:  # pairs of list and size, of lists that are not empty
        sizes = sizes[: len(sizes) // 2 * 2].reshape(-1, 2)[:, 1]
    if int(sizes.astype(np.float64).sum()) * (code_bytes + 8) > reader.left:
        raise reader.bad("truncated inverted lists")
    codes, ids = [np.empty((0, d), "<f4")], [np.empty(0, "<i8")]
    for size in sizes.tolist():
        codes.append(reader.array("<f4", size * d).reshape(size, d))
        ids.append(reader.array("<i8", size))
    return _Index(d, np.concatenate(codes), lambda block: block, "float32", np.concatenate(ids))


def _sniff(head: Head) -> float:
    return SURE if head.data[:4] in _KNOWN else 0.9 if head.data[:3] in (b"IxH", b"IwP", b"IxR", b"IHN") else 0.0


FORMATS = (
    Format(
        "faiss",
        (".faiss", ".index"),
        "faiss index: flat, SQ, PQ, with an ID map, IVF of flat vectors",
        open=_open,
        sniff=_sniff,
    ),
)
