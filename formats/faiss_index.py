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
from vecstore.formats.faiss_codes import flat_codes, product_codes, scalar_codes
from vecstore.formats.faiss_lists import InvertedLists
from vecstore.formats.faiss_maps import LinearMaps
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

__all__ = ["FORMATS"]

_FLAT, _MAPS, _GRAPHS = (b"IxFI", b"IxF2", b"IxFl"), (b"IxMp", b"IxM2"), (b"IHNf", b"IHNs", b"IHNp")
_SCALAR, _PRODUCT, _TURNED, _LISTS = b"IxSQ", b"IxPq", b"IxPT", (b"IwFl", b"IwSq", b"IwPQ")
_KNOWN = (*_FLAT, *_MAPS, *_GRAPHS, *_LISTS, _SCALAR, _PRODUCT, _TURNED)
_OTHERS = (b"IxH", b"IwP", b"IxR", b"IHN", b"IwF", b"IwS", b"IPf", b"IwQ", b"Iwr", b"Ixr")
_DEEPEST = 4
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
    maps = LinearMaps.read(reader)
    inner = _read(reader, depth + 1)
    width = maps.width_before(inner.dimensions, reader)

    def vectors(first: int, last: int) -> NDArray[Any]:
        return maps.undone(inner.vectors(first, last))

    return _Index(inner.rows, width, vectors, inner.dtype, maps.codec_before(inner.coded), inner.ids)


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
    kept = InvertedLists.read(reader, lists, codes)
    centroids = coarse.vectors if by_residual else None
    return _Index(
        kept.rows,
        d,
        lambda first, last: kept.vectors(first, last, centroids),
        codes.dtype,
        None if by_residual else codes.coded,
        kept.ids,
    )


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
