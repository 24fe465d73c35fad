"""Files of the similarity search community: .fvecs, .bvecs, .ivecs (each row with its width), and .fbin and its kin.

The first are of INRIA's TEXMEX corpora. The others have a header of two numbers, then the rows: big-ann benchmarks and
DiskANN.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from vecstore.formats.array_dump import ArrayDump
from vecstore.formats.array_keys import open_keys
from vecstore.formats.binary_array import BinaryArray
from vecstore.formats.dump import Dump
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.keys_beside import keys_beside
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

__all__ = ["FORMATS"]

_MOST_DIMENSIONS = 1 << 20
_BLOCK_BYTES = 4 << 20


def _count(head: Head) -> int:
    """Return the bytes of the content; for compressed data by reading it."""
    if head.is_whole:
        return len(head.data)
    if head.size >= 0:
        return head.size
    size = 0
    with Stream(head.path) as stream:
        while data := stream.read(_BLOCK_BYTES):
            size += len(data)
    return size


def _width(head: Head, itemsize: int) -> int:
    """Return the dimensions that the rows of a .fvecs file agree on, as far as the head goes; 0 if they do not."""
    if len(head.data) < 4:
        return 0
    (width,) = struct.unpack_from("<i", head.data)
    row = 4 + width * itemsize
    size = len(head.data) if head.is_whole else head.size
    if not 1 <= width <= _MOST_DIMENSIONS or (size % row if size >= 0 else len(head.data) < 2 * row):
        return 0
    starts = range(0, len(head.data) - 3, row)
    return width if all(head.data[start : start + 4] == head.data[:4] for start in starts) else 0


def _vecs_sniffer(dtype: str) -> Callable[[Head], float]:
    kind = np.dtype(dtype)

    def sniff(head: Head) -> float:
        width = _width(head, kind.itemsize)
        if not width:
            return 0.0
        if kind.itemsize == 1:
            return 0.8
        numbers = np.frombuffer(head.data[4 : 4 + 4 * width].ljust(4 * width, b"\0"), "<i4")
        whole = bool(((numbers >= 0) & (numbers < 1 << 24)).all()) and bool(numbers.any())
        return 0.85 if whole == (kind.kind == "i") else 0.8

    return sniff


def _vecs_opener(name: str, dtype: str) -> Callable[[Head, ReadingOptions], Dump]:
    kind = np.dtype(dtype)

    def open(head: Head, options: ReadingOptions) -> Dump:
        if len(head.data) < 4:
            raise FormatError("holds no rows", path=head.path, expected=f"{name} rows", found=head.shown())
        (width,) = struct.unpack_from("<i", head.data)
        if not 1 <= width <= _MOST_DIMENSIONS:
            raise FormatError(
                f"no {name} file",
                path=head.path,
                where="byte 0",
                expected=f"1 to {_MOST_DIMENSIONS} dimensions",
                found=str(width),
            )
        rows, rest = divmod(_count(head), 4 + width * kind.itemsize)
        if rest:
            raise FormatError(
                "truncated, damaged, or rows of several widths; fetch or write it again",
                path=head.path,
                expected=f"whole rows of {width} {kind.name} and their width",
                found=f"{rest} bytes after {rows} of them",
            )
        array = BinaryArray(head.path, (rows, width), kind, row_header=struct.pack("<i", width))
        return ArrayDump(array, open_keys(options), format=name)

    return open


def _write_fvecs(output: Output) -> None:
    with ExitStack() as stack:
        file = stack.enter_context(output.file())
        for vectors in stack.enter_context(keys_beside(output)):
            rows = np.empty((len(vectors), output.dimensions + 1), "<f4")
            rows[:, :1].view("<i4")[:] = output.dimensions
            rows[:, 1:] = vectors
            file.write(rows.data)


def _bin_header(head: Head) -> tuple[int, int]:
    return struct.unpack_from("<ii", head.data) if len(head.data) >= 8 else (-1, 0)


def _bin_sniffer(dtype: str) -> Callable[[Head], float]:
    kind = np.dtype(dtype)

    def sniff(head: Head) -> float:
        rows, width = _bin_header(head)
        if head.compression or rows < 0 or not 1 <= width <= _MOST_DIMENSIONS:
            return 0.0
        if head.size != 8 + rows * width * kind.itemsize:
            return 0.0
        if kind.itemsize != 4 or not rows:
            return 0.8
        numbers = np.frombuffer(head.data[8 : 8 + 4 * min(width * rows, 1000)], "<i4")
        whole = bool(((numbers > -(1 << 24)) & (numbers < 1 << 24)).all()) and bool(numbers.any())
        return 0.85 if whole == (kind.kind == "i") else 0.8

    return sniff


def _bin_opener(name: str, dtype: str) -> Callable[[Head, ReadingOptions], Dump]:
    kind = np.dtype(dtype)

    def open(head: Head, options: ReadingOptions) -> Dump:
        rows, width = _bin_header(head)
        expected = 8 + rows * width * kind.itemsize
        if rows < 0 or not 1 <= width <= _MOST_DIMENSIONS or (head.size >= 0 and head.size != expected):
            raise FormatError(
                f"no {name} file, or truncated",
                path=head.path,
                where="byte 0",
                expected=f"two numbers, rows and dimensions, and as many {kind.name}",
                found=f"{rows} x {width} in {head.size} bytes" if rows >= 0 else head.shown(),
            )
        array = BinaryArray(head.path, (rows, width), kind, offset=8)
        return ArrayDump(array, open_keys(options), format=name)

    return open


def _write_fbin(output: Output) -> None:
    with ExitStack() as stack:
        file = stack.enter_context(output.file())
        file.write(struct.pack("<II", output.rows, output.dimensions))
        for vectors in stack.enter_context(keys_beside(output)):
            file.write(np.ascontiguousarray(vectors, "<f4").data)


def _open_raw(head: Head, options: ReadingOptions) -> Dump:
    name, width = options.get("dtype"), options.get("dimensions")
    types = ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "uint16", "int32")
    if name not in types or width is None or not 1 <= width <= _MOST_DIMENSIONS:
        raise FormatError(
            f"a raw file says neither: give dtype= (one of {', '.join(types)}) and dimensions=",
            path=head.path,
            found=f"{name!r} and {width}",
        )
    kind = np.dtype("<u2" if name == "bfloat16" else name).newbyteorder("<")
    rows, rest = divmod(_count(head), width * kind.itemsize)
    if rest:
        raise FormatError(
            "is no whole number of rows; check dtype= and dimensions=",
            path=head.path,
            expected=f"rows of {width} {name}",
            found=f"{rest} bytes after {rows} of them",
        )
    array = BinaryArray(head.path, (rows, width), kind, bfloat16=name == "bfloat16")
    return ArrayDump(array, open_keys(options), format="raw")


_VECS = (
    ("fvecs", "<f4", "float32", _write_fvecs),
    ("bvecs", "<u1", "uint8", None),
    ("ivecs", "<i4", "int32", None),
)
_BINS = (
    ("fbin", "<f4", "float32", _write_fbin),
    ("f16bin", "<f2", "float16", None),
    ("u8bin", "<u1", "uint8", None),
    ("i8bin", "<i1", "int8", None),
    ("ibin", "<i4", "int32", None),
)
FORMATS = (
    *(
        Format(
            name,
            (f".{name}",),
            f"rows of a 4-byte width and as many {words} (TEXMEX, faiss)",
            open=_vecs_opener(name, dtype),
            sniff=_vecs_sniffer(dtype),
            write=write,
            options=("keys",),
            streamed=True,
        )
        for name, dtype, words, write in _VECS
    ),
    *(
        Format(
            name,
            (f".{name}",),
            f"rows and dimensions in 8 bytes, then {words} (big-ann, DiskANN)",
            open=_bin_opener(name, dtype),
            sniff=_bin_sniffer(dtype),
            write=write,
            options=("keys",),
            streamed=True,
        )
        for name, dtype, words, write in _BINS
    ),
    Format(
        "raw",
        (".raw", ".f32"),
        "nothing but numbers, row after row: has to be named, with dtype= and dimensions=",
        open=_open_raw,
        options=("keys", "dtype", "dimensions"),
        streamed=True,
    ),
)
