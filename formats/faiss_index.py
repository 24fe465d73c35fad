"""faiss index files: flat, scalar and product quantized; under an ID map, linear maps, in inverted lists, in a graph.

Read from the layout of faiss' own writer, without the library: it trusts what it reads. Graphs and coarse quantizers
are passed over. Where a codec of this package has the same codes, the dump says so: see `Coded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Coded, Dump
from vecstore.formats.faiss_codes import Codes, flat_codes, product_codes, scalar_codes
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

__all__ = ["FORMATS"]

_FLAT, _MAPS, _GRAPHS = (b"IxFI", b"IxF2", b"IxFl"), (b"IxMp", b"IxM2"), (b"IHNf", b"IHNs", b"IHNp")
_SCALAR, _PRODUCT, _TURNED, _LISTS = b"IxSQ", b"IxPq", b"IxPT", (b"IwFl", b"IwSq", b"IwPQ")
_KNOWN = (*_FLAT, *_MAPS, *_GRAPHS, *_LISTS, _SCALAR, _PRODUCT, _TURNED)
_OTHERS = (b"IxH", b"IwP", b"IxR", b"IHN", b"IwF", b"IwS", b"IPf", b"IwQ", b"Iwr", b"Ixr")
_DEEPEST = 4
_MOST_TRANSFORMS = 8
_SPARSE, _FULL = b"sprs", b"full"
_HASHED = 2  # a direct map of pairs


@dataclass(frozen=True)
class _Index:
    """What was read: the vectors and ids of a range of rows, from one up to another."""

    rows: int
    dimensions: int
    vectors: Callable[[int, int], NDArray[Any]]
    dtype: str
    coded: Coded | None = None
    ids: Callable[[int, int], NDArray[np.int64]] | None = None


def _open(head: Head, options: ReadingOptions) -> Dump:
    index = _read(ByteReader(head.path, "faiss"), 0)

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, index.rows, most):
            last = min(first + most, index.rows)
            with np.errstate(all="ignore"):  # what a damaged codebook gives is told row by row
                yield None if index.ids is None else index.ids(first, last), index.vectors(first, last), {}

    dump = BlockDump(
        head.path,
        blocks,
        format="faiss",
        rows=index.rows,
        dimensions=index.dimensions,
        own_key_type=None if index.ids is None else "int64",
        key_type=options.get("key_type"),
        dtype=index.dtype,
    )
    dump.coded = index.coded
    return dump


def _read(reader: ByteReader, depth: int) -> _Index:
    kind = reader.take(4).tobytes()
    if kind not in _KNOWN or depth > _DEEPEST:
        known = "flat, SQ, PQ, IDMap, OPQ and PCA, IVF and HNSW of these are read"
        raise reader.bad(f"an index of a kind that is not read ({known})", found=repr(kind)[1:])
    d, rows = _header(reader)
    if kind in _MAPS:
        return _mapped(reader, depth)
    if kind in _LISTS:
        return _inverted(reader, kind, d, depth)
    if kind in _GRAPHS:
        _pass_graph(reader)
        return _read(reader, depth + 1)
    if kind == _TURNED:
        return _turned(reader, depth)
    if kind in _FLAT:
        codes, numbers = flat_codes(d), reader.vector("<f4").view("u1")
    else:
        codes = scalar_codes(reader, d) if kind == _SCALAR else product_codes(reader, d)
        numbers = reader.vector("u1")
    if kind == _PRODUCT:
        reader.unpack("iBi")  # how it is searched
    if len(numbers) != rows * codes.code_bytes:
        expected = f"{rows} x {codes.code_bytes} bytes"
        raise reader.bad("has codes for other rows", expected=expected, found=str(len(numbers)))
    table = numbers.reshape(rows, codes.code_bytes)
    return _Index(rows, d, lambda first, last: codes.decode(table[first:last]), codes.dtype, codes.coded)


def _header(reader: ByteReader) -> tuple[int, int]:
    d, rows, _, _, _, metric = reader.unpack("iqqqBi")
    if metric > 1:
        reader.unpack("f")
    if not (1 <= d <= 1 << 20 and 0 <= rows < 1 << 40):
        raise reader.bad("no sizes of an index", found=f"{rows} x {d}")
    return d, rows


def _mapped(reader: ByteReader, depth: int) -> _Index:
    inner = _read(reader, depth + 1)
    ids = reader.vector("<i8")
    if len(ids) != inner.rows:
        raise reader.bad("has another number of ids", expected=str(inner.rows), found=str(len(ids)))
    below = inner.ids
    if below is None:
        return replace(inner, ids=lambda first, last: ids[first:last])
    # Inverted lists number the vectors that the map names.
    return replace(inner, ids=lambda first, last: _picked(reader, ids, below(first, last)))


def _picked(reader: ByteReader, ids: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(ids):
        raise reader.bad("has ids for other rows", found=f"rows {numbers.min()} to {numbers.max()}")
    return ids[numbers]


def _pass_graph(reader: ByteReader) -> None:
    for kind in ("<f8", "<i4", "<i4", "<u8", "<i4"):  # chances and neighbours of levels, levels, places, neighbours
        reader.vector(kind)
    reader.unpack("5i")


def _turned(reader: ByteReader, depth: int) -> _Index:
    (count,) = reader.unpack("i")
    if not 1 <= count <= _MOST_TRANSFORMS:
        raise reader.bad("no number of transforms", found=str(count))
    maps = [found for found in (_linear(reader) for _ in range(count)) if found is not None]
    inner = _read(reader, depth + 1)
    width = inner.dimensions
    for matrix, _ in reversed(maps):
        if len(matrix) != width:
            raise reader.bad("has transforms that do not follow one another", expected=str(width))
        width = matrix.shape[1]

    def vectors(first: int, last: int) -> NDArray[Any]:
        found = inner.vectors(first, last).astype(np.float64)  # or sums would differ with the rows at once
        for matrix, bias in reversed(maps):
            found = (found if bias is None else found - bias) @ matrix
        return found.astype(np.float32)

    return _Index(inner.rows, width, vectors, inner.dtype, _rotated(inner.coded, maps), inner.ids)


def _rotated(coded: Coded | None, maps: list[tuple[NDArray[Any], NDArray[Any] | None]]) -> Coded | None:
    """Return the codec of codes behind maps: a product quantizer behind one rotation is `opq`."""
    if not maps:
        return coded
    matrix, bias = maps[0]
    is_rotation = len(maps) == 1 and bias is None and matrix.shape[0] == matrix.shape[1]
    if coded is None or not is_rotation or not coded.spec.startswith("pq:"):
        return None
    return Coded("o" + coded.spec, {**coded.arrays, "0.0.rotation": np.ascontiguousarray(matrix.T)})


def _linear(reader: ByteReader) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Return the rows that a map multiplies by, and what it adds; None where vectors are only made as long as 1."""
    kind = reader.take(4).tobytes()
    if kind == b"VNrm":
        reader.unpack("f2iB")
        return None
    if kind not in (b"rrot", b"Pcam", b"LTra"):
        raise reader.bad("a transform that is not read (OPQ, PCA, rotations are)", found=repr(kind)[1:])
    if kind == b"Pcam":
        reader.unpack("ffBi")
        for _ in range(3):  # mean, variances, axes: the matrix below has what is needed of them
            reader.vector("<f4")
    (has_bias,) = reader.unpack("B")
    matrix, bias = reader.vector("<f4"), reader.vector("<f4")
    wide, narrow, _ = reader.unpack("iiB")
    if not (1 <= narrow <= wide <= 1 << 16 and len(matrix) == wide * narrow and len(bias) == has_bias * narrow):
        raise reader.bad("no linear map", found=f"{len(matrix)} numbers for {wide} x {narrow}")
    table = matrix.reshape(narrow, wide)
    with np.errstate(all="ignore"):
        # Of a few rows only: all of them could take minutes.
        lengths, some = np.einsum("ij,ij->i", table, table), table[:: max(narrow // 16, 1)]
        apart = some @ table.T
    apart[np.arange(len(some)), np.arange(0, narrow, max(narrow // 16, 1))] = 0
    if not (np.abs(lengths - 1) < 1e-3).all() or not (np.abs(apart) < 1e-3).all():
        raise reader.bad("a linear map that stretches vectors, so that they cannot be had back")
    return table, bias if has_bias else None


def _inverted(reader: ByteReader, kind: bytes, d: int, depth: int) -> _Index:
    lists, _ = reader.unpack("QQ")
    coarse = _read(reader, depth + 1)
    (map_kind,) = reader.unpack("B")
    reader.vector("<i8")
    if map_kind == _HASHED:
        reader.take(16 * reader.unpack("Q")[0])
    by_residual = False
    if kind == b"IwSq":
        codes = scalar_codes(reader, d)
        _, by_residual = reader.unpack("QB")
    elif kind == b"IwPQ":
        by_residual, _ = reader.unpack("BQ")
        codes = product_codes(reader, d)
    else:
        codes = flat_codes(d)
    if by_residual and (coarse.rows < lists or coarse.dimensions != d):
        raise reader.bad("has too few centroids", expected=f"{lists} x {d}", found=f"{coarse.rows}")
    kept = _Lists.read(reader, lists, codes)
    centroids = coarse.vectors if by_residual else None
    return _Index(
        kept.rows,
        d,
        lambda first, last: kept.vectors(first, last, centroids),
        codes.dtype,
        None if by_residual else codes.coded,
        kept.ids,
    )


@dataclass(frozen=True)
class _Lists:
    """Inverted lists, one behind the other: the bytes, and of each its number, its first row, and where it lies."""

    data: NDArray[np.uint8]
    codes: Codes
    numbers: NDArray[np.int64]
    firsts: NDArray[np.int64]
    begin: int

    @property
    def rows(self) -> int:
        return int(self.firsts[-1])

    @classmethod
    def read(cls, reader: ByteReader, lists: int, codes: Codes) -> _Lists:
        if reader.take(4).tobytes() != b"ilar":
            raise reader.bad("inverted lists that lie elsewhere")
        count, code_bytes = reader.unpack("QQ")
        if count != lists or code_bytes != codes.code_bytes:
            raise reader.bad("inverted lists of another shape", found=f"{count} of {code_bytes} bytes")
        kind = reader.take(4).tobytes()
        sizes = reader.vector("<u8")
        numbers = np.arange(len(sizes))
        if kind == _SPARSE:  # pairs of list and size, of lists that are not empty
            pairs = sizes[: len(sizes) // 2 * 2].reshape(-1, 2)
            numbers, sizes = pairs[:, 0].astype(np.int64), pairs[:, 1]
        bad_numbers = bool(len(numbers)) and not 0 <= int(numbers.min()) <= int(numbers.max()) < lists
        if kind not in (_SPARSE, _FULL) or bad_numbers:
            raise reader.bad("inverted lists of another shape")
        if float(sizes.sum(dtype=np.float64)) * (code_bytes + 8) > reader.left:
            raise reader.bad("truncated inverted lists")
        firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.astype(np.int64))])
        begin = reader.at
        reader.take(int(firsts[-1]) * (code_bytes + 8))
        return cls(reader.data, codes, numbers, firsts, begin)

    def _pieces(self, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the list, where its bytes begin, and from which to which row in it."""
        at = int(np.searchsorted(self.firsts, first, "right")) - 1
        while at < len(self.numbers) and self.firsts[at] < last:
            begin, end = int(self.firsts[at]), int(self.firsts[at + 1])
            if begin < end:
                place = self.begin + begin * (self.codes.code_bytes + 8)
                yield at, place, max(first, begin) - begin, min(last, end) - begin
            at += 1

    def vectors(self, first: int, last: int, centroids: Callable[[int, int], NDArray[Any]] | None) -> NDArray[Any]:
        width, found = self.codes.code_bytes, []
        for _, place, start, stop in self._pieces(first, last):
            found.append(self.data[place + start * width : place + stop * width].reshape(-1, width))
        vectors = self.codes.decode(np.concatenate(found))
        if centroids is None:
            return vectors
        sizes = [(int(self.numbers[at]), stop - start) for at, _, start, stop in self._pieces(first, last)]
        own = np.concatenate([centroids(number, number + 1) for number, _ in sizes])
        return vectors + np.repeat(own, [size for _, size in sizes], axis=0)

    def ids(self, first: int, last: int) -> NDArray[np.int64]:
        found, width = [], self.codes.code_bytes
        for at, place, start, stop in self._pieces(first, last):
            behind = place + width * int(self.firsts[at + 1] - self.firsts[at])
            found.append(self.data[behind + 8 * start : behind + 8 * stop])
        return np.concatenate(found).view("<i8")


def _sniff(head: Head) -> float:
    return SURE if head.data[:4] in _KNOWN else 0.9 if head.data[:3] in _OTHERS else 0.0


FORMATS = (
    Format(
        "faiss",
        (".faiss", ".index"),
        "faiss index: flat, SQ, PQ, OPQ, with an ID map, in IVF and HNSW",
        open=_open,
        sniff=_sniff,
    ),
)
