"""Index files that keep the vectors they were built of: usearch, hnswlib, annoy. Graphs and trees are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.binary_array import from_bfloat16
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Dump
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

from vecstore.errors import FormatError, require

__all__ = ["FORMATS"]

# usearch: kinds of numbers.
_SCALARS = {10: "<f8", 11: "<f4", 12: "<f2", 4: "<u2", 23: "i1"}
_BFLOAT16 = 4
_KEYS = {14: "<u8", 20: "<i8"}
_FREE_KEY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _sniff_usearch(head: Head) -> float:
    if head.compression or len(head.data) < 8:
        return 0.0
    rows, width = np.frombuffer(head.data[:8], "<u4").tolist()
    at = 8 + rows * width
    if at + 64 > head.size:
        return 0.0
    with open(head.path, "rb") as file:
        file.seek(at)
        return 1.0 if file.read(7) == b"usearch" else 0.0


def _open_usearch(head: Head, options: ReadingOptions) -> Dump:
    reader = ByteReader(head.path, "usearch")
    rows, width = reader.unpack("II")
    stored = reader.take(rows * width)
    if reader.take(7).tobytes() != b"usearch":
        raise reader.bad("the vectors are not followed by an index")
    reader.unpack("3H")
    _, scalar, key, _ = reader.unpack("4B")
    _, deleted, dimensions, _ = reader.unpack("QQQB")
    reader.take(64 - 7 - 6 - 4 - 25)
    size, connectivity, base, _, _ = reader.unpack("5Q")
    if scalar not in _SCALARS or key not in _KEYS or size != rows:
        raise reader.bad("holds vectors or keys of a kind that is not read", found=f"kinds {scalar} and {key}")
    dtype = np.dtype(_SCALARS[scalar])
    if dimensions * dtype.itemsize != width or connectivity > 1 << 16 or base > 1 << 16:
        raise reader.bad("has rows of another width", expected=f"{dimensions} {dtype.name}", found=f"{width} bytes")
    levels = reader.array("<i2", rows)
    if rows and int(levels.min()) < 0:
        raise reader.bad("has negative levels")
    # A node: its key, its level, its neighbours at the base and at each level above.
    node = 10 + 4 + 4 * base + levels.astype(np.int64) * (4 + 4 * connectivity)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(node)])
    nodes = reader.take(int(starts[-1]))
    keys = nodes[starts[:-1, None] + np.arange(8)].reshape(-1).view("<u8") if rows else np.empty(0, "<u8")
    present = keys != _FREE_KEY
    if int(present.sum()) != rows - deleted or (present.any() and int(keys[present].max()) >= 2**63):
        raise reader.bad("has keys that are none", expected=f"{rows - deleted} of them below 2**63")
    table: NDArray[Any] = stored.view(dtype).reshape(rows, dimensions)

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, rows, most):
            kept = present[first : first + most]
            block = table[first : first + most][kept]
            yield (
                keys[first : first + most][kept].view("<i8"),
                from_bfloat16(block) if scalar == _BFLOAT16 else block,
                {},
            )

    return BlockDump(
        head.path,
        blocks,
        format="usearch",
        rows=rows - deleted,
        dimensions=dimensions,
        own_key_type="int64",
        key_type=options.get("key_type"),
        dtype="bfloat16" if scalar == _BFLOAT16 else dtype.name,
    )


def _write_usearch(output: Output) -> None:
    """Build the index with the library, by one thread: rows keep their order, and the file is the same every time."""
    library = require("usearch.index", purpose="writing usearch indexes")
    if output.key_type not in ("int64", None):
        raise FormatError(
            "usearch cannot hold keys that are no integers; export to parquet", path=output.path, found=output.key_type
        )
    index, row = library.Index(ndim=output.dimensions, metric="cos", dtype="f32"), 0
    for keys, vectors in output.pairs:
        own = np.arange(row, row + len(vectors)) if keys is None else np.asarray(keys, np.int64)
        if len(own) and int(own.min()) < 0:
            raise FormatError("usearch cannot hold negative keys", path=output.path, found=str(own.min()))
        if len(own):
            index.add(own.astype(np.uint64), vectors, threads=1)
        row += len(vectors)
    with output.file() as file:
        index.save(str(file.name))


def _hnswlib_header(data: bytes) -> tuple[int, int, int, int, int] | None:
    """Return elements, bytes of one, where its label and its vector lie in it, and neighbours at the base."""
    if len(data) < 96:
        return None
    first, most, count, size, label, vector = np.frombuffer(data[:48], "<u8").tolist()
    base = int(np.frombuffer(data[64:72], "<u8")[0])
    fits = first == 0 and count <= most and size == label + 8 and vector == 4 * base + 4 and label > vector
    return (count, size, label, vector, base) if fits and (label - vector) % 4 == 0 and size < 1 << 24 else None


def _sniff_hnswlib(head: Head) -> float:
    return 0.95 if not head.compression and _hnswlib_header(head.data) else 0.0


def _open_hnswlib(head: Head, options: ReadingOptions) -> Dump:
    found = _hnswlib_header(head.data)
    reader = ByteReader(head.path, "hnswlib", at=96)
    if found is None:
        raise reader.bad("the header contradicts itself")
    count, size, label, vector, _ = found
    if count * size > reader.left:
        raise reader.bad("truncated", expected=f"{count} elements of {size} bytes", found=f"{reader.left} bytes")
    table = reader.take(count * size).reshape(count, size)
    living = table[:, 2] & 1 == 0  # the bit says that an element was deleted
    rows = int(living.sum())

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, count, most):
            part = table[first : first + most][living[first : first + most]]
            keys = np.ascontiguousarray(part[:, label:]).view("<i8").ravel()
            yield keys, np.ascontiguousarray(part[:, vector:label]).view("<f4"), {}

    return BlockDump(
        head.path,
        blocks,
        format="hnswlib",
        rows=rows,
        dimensions=(label - vector) // 4,
        own_key_type="int64",
        key_type=options.get("key_type"),
    )


def _open_annoy(head: Head, options: ReadingOptions) -> Dump:
    width = options.get("dimensions")
    if width is None or not 1 <= width <= 1 << 20:
        raise FormatError("an annoy file does not say how wide its vectors are: give dimensions=", path=head.path)
    reader = ByteReader(head.path, "annoy")
    # Bytes before the vector in a node: angular; euclidean and manhattan; dot.
    offsets = [offset for offset in (12, 16) if len(reader.data) % (offset + 4 * width) == 0 and len(reader.data)]
    counts = {offset: _annoy_items(reader, offset, width) for offset in offsets}
    offset = max(counts, key=lambda found: counts[found], default=0)
    if not counts or not counts[offset]:
        raise reader.bad("no nodes of that width", expected=f"{width} dimensions")
    table = reader.data.reshape(-1, offset + 4 * width)[: counts[offset]]

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, len(table), most):
            yield None, np.ascontiguousarray(table[first : first + most, offset:]).view("<f4"), {}

    return BlockDump(head.path, blocks, format="annoy", rows=len(table), dimensions=width, own_key_type=None)


def _annoy_items(reader: ByteReader, offset: int, width: int) -> int:
    """Return how many nodes are items: those before the first one with descendants."""
    nodes = reader.data.reshape(-1, offset + 4 * width)
    descendants = np.ascontiguousarray(nodes[:, :4]).view("<i4").ravel()
    inner = np.flatnonzero(descendants != 1)
    count = int(inner[0]) if len(inner) else len(nodes)
    if offset == 12 and count:  # angular keeps the squared length: it tells the two layouts apart
        some = np.ascontiguousarray(nodes[: min(count, 100), 4:]).view("<f4")
        with np.errstate(all="ignore"):
            norms = (some[:, 2:].astype(np.float64) ** 2).sum(axis=1)
            fits = np.isclose(norms, some[:, 0], rtol=1e-3)
        return count if fits.all() or not some[:, 0].any() else 0
    return count


FORMATS = (
    Format(
        "usearch",
        (".usearch",),
        "usearch index: vectors as they are stored, and keys",
        open=_open_usearch,
        sniff=_sniff_usearch,
        write=_write_usearch,
        library="usearch",
    ),
    Format(
        "hnswlib",
        (".hnswlib", ".bin", ".hnsw"),
        "hnswlib index of float32: vectors and labels",
        open=_open_hnswlib,
        sniff=_sniff_hnswlib,
    ),
    Format(
        "annoy",
        (".annoy", ".ann"),
        "annoy index: its items, in order; has to be named, with dimensions=",
        open=_open_annoy,
        options=("dimensions",),
    ),
)
