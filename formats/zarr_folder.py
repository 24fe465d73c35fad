"""Zarr arrays and groups, versions 2 and 3, in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.formats.array_dump import ArrayDump
from vecstore.formats.array_keys import open_keys
from vecstore.formats.dump import Dump
from vecstore.formats.format import SURE, Format, Output
from vecstore.formats.hdf5 import LibraryArray, LibraryKeys
from vecstore.formats.head import Head
from vecstore.formats.key_column import KeyColumn
from vecstore.formats.key_spool import KeySpool
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.replacement import FolderReplacement
from vecstore.formats.table_choice import Shaped, key_array, left_out, vector_array
from vecstore.formats.zarr_store import guarded_store

from vecstore.errors import FormatError, require

__all__ = ["FORMATS"]

_CHUNK_BYTES = 4 << 20
_MOST_CHUNK_BYTES = 256 << 20
_LEAST_BOUND = 32 << 20  # of what a chunk may unpack to


def _zarr(verb: str = "reading") -> Any:
    return require("zarr", purpose=f"{verb} zarr")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    except Exception as error:  # codecs of all kinds raise errors of all kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"the zarr data is truncated or damaged ({reason}); fetch it again", path=path) from error


def _arrays(path: Path, most_bytes: int = _LEAST_BOUND, most_strings: int | None = None) -> dict[str, Any]:
    opened = _zarr().open(guarded_store(path, most_bytes, most_strings), mode="r")
    return {"": opened} if hasattr(opened, "shape") else dict(opened.arrays())


def _array(path: Path, name: str, array: Any) -> LibraryArray:
    shaped, chunk = _shaped(array), int(np.prod([float(length) for length in array.chunks]))
    chunk_bytes = chunk * shaped.dtype.itemsize
    if chunk_bytes > _MOST_CHUNK_BYTES:
        found = str(chunk_bytes)
        raise FormatError("has chunks too large to read one at a time", path=path, expected="256 MiB", found=found)
    strings = chunk if shaped.dtype.kind in "OT" else None

    @contextmanager
    def opened() -> Iterator[Any]:
        with _translated(path):
            yield _arrays(path, max(chunk_bytes, _LEAST_BOUND), strings)[name]

    return LibraryArray(path, opened, shaped.shape, shaped.dtype, f"array {name!r}" if name else None)


def _shaped(array: Any) -> Shaped:
    return Shaped(tuple(array.shape), np.dtype(array.dtype))


def _open(head: Head, options: ReadingOptions) -> Dump:
    path = head.path
    with _translated(path):
        arrays = _arrays(path)
        found = {name: _shaped(array) for name, array in arrays.items()}
    chosen = vector_array(found, path, options.get("array"))
    keys: KeyColumn | None = open_keys(options)
    beside = None
    if keys is None and (beside := key_array(found)) is not None:
        keys = LibraryKeys(_array(path, beside, arrays[beside]), options.get("key_type"))
    dump = ArrayDump(_array(path, chosen, arrays[chosen]), keys, format="zarr")
    dump.left_out = left_out(found, chosen, beside)
    return dump


def _sniff(head: Head) -> float:
    return SURE if head.names & {".zarray", ".zgroup", "zarr.json"} else 0.0


def _write(output: Output) -> None:
    zarr = _zarr("writing")
    chunk = max(1, _CHUNK_BYTES // (4 * output.dimensions))
    with FolderReplacement(output.path) as folder, KeySpool(output) as keys:
        group = zarr.open_group(str(folder), mode="w")
        shape, chunks = (output.rows, output.dimensions), (min(chunk, max(output.rows, 1)), output.dimensions)
        vectors = group.create_array("vectors", shape=shape, dtype="<f4", chunks=chunks)
        _fill(vectors, (keys.taken(own, block) for own, block in output.pairs))
        if output.key_type == "bytes":
            raise FormatError("zarr has no keys of bytes; export to parquet", path=output.path)
        if output.key_type is not None:
            size = min(1 << 16, max(output.rows, 1))
            kind = keys.dtype if output.key_type == "int64" else "string"
            column = group.create_array(
                "keys",
                shape=(output.rows,),
                dtype=kind,
                chunks=(size,),
            )
            _fill(column, keys.blocks())


def _fill(array: Any, blocks: Any) -> None:
    done = 0
    for block in blocks:
        if len(block):
            array[done : done + len(block)] = block
        done += len(block)


FORMATS = (
    Format(
        "zarr",
        (".zarr",),
        "Zarr array or group, versions 2 and 3: an array (n, d) and one of keys",
        open=_open,
        sniff=_sniff,
        write=_write,
        options=("keys", "array"),
        library="zarr",
    ),
)
