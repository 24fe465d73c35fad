"""HDF5 files: a dataset of vectors, as ann-benchmarks has it ("train") or by any other name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.array_dump import ArrayDump
from vecstore.formats.array_keys import open_keys
from vecstore.formats.dump import Dump, Keys, KeyType, Problem
from vecstore.formats.format import SURE, Format, Output
from vecstore.formats.hdf5_strings import HeapStrings
from vecstore.formats.head import Head
from vecstore.formats.key_column import KeyColumn
from vecstore.formats.keys import convert_integers, convert_text, encode_strings, row_place
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.table_choice import Shaped, key_array, left_out, vector_array

from vecstore.errors import FormatError, require

__all__ = ["FORMATS", "LibraryArray", "LibraryKeys"]

_MOST_DATASETS = 1000


@dataclass(frozen=True)
class LibraryArray:
    """An array that a library reads piece by piece: `open` is a context manager that gives it."""

    path: Path
    open: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    where: str | None

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield consecutive blocks of at most `rows` rows."""
        with self.open() as array:
            for first in range(0, self.shape[0], rows):
                yield np.asarray(array[first : first + rows])


class LibraryKeys(KeyColumn):
    """Keys in such an array: integers, fixed or variable strings."""

    def __init__(self, array: LibraryArray | HeapStrings, key_type: KeyType | None) -> None:
        kinds: dict[str, KeyType] = {"i": "int64", "u": "int64", "S": "str", "U": "str", "O": "str", "T": "str"}
        if len(array.shape) != 1 or array.dtype.kind not in kinds:
            raise FormatError(
                "the array cannot serve as keys",
                path=array.path,
                where=array.where,
                expected="one dimension of integers, strings or bytes",
                found=f"shape {array.shape} of {array.dtype}",
            )
        self.path, self.rows, self._array = array.path, array.shape[0], array
        self.key_type = key_type or kinds[array.dtype.kind]

    def blocks(self, rows: int) -> Iterator[tuple[Keys, dict[int, Problem]]]:
        """Yield the keys of `rows` rows at a time."""
        first = 0
        for block in self._array.blocks(rows):
            problems: dict[int, Problem] = {}
            if block.dtype.kind in "iu":
                if block.size and int(block.max()) >= 2**63:
                    raise FormatError("a key does not fit a signed 64-bit integer", path=self.path)
                yield convert_integers(block.astype(np.int64), self.key_type), problems
            else:
                raw = [key if isinstance(key, bytes) else encode_strings([str(key)])[0] for key in block.tolist()]
                yield convert_text(raw, self.key_type, row_place(first), problems), problems
            first += len(block)


def _h5py(verb: str = "reading") -> Any:
    return require("h5py", purpose=f"{verb} hdf5")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"the HDF5 data is truncated or damaged ({reason}); fetch it again", path=path) from error


def _datasets(path: Path) -> dict[str, Shaped]:
    h5py, found = _h5py(), {}

    def visit(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
            elsewhere = "lies in other files, which a file that came from elsewhere could choose: they are not read"
            raise FormatError(f"dataset {name!r} {elsewhere}", path=path)
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = Shaped(tuple(item.shape), item.dtype)
        return True if len(found) > _MOST_DATASETS else None

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _array(path: Path, name: str, shaped: Shaped) -> LibraryArray:
    @contextmanager
    def opened() -> Iterator[Any]:
        with _translated(path), _h5py().File(path, "r") as file:
            yield file[name]

    return LibraryArray(path, opened, shaped.shape, shaped.dtype, f"dataset {name!r}")


def _key_array(path: Path, name: str, shaped: Shaped) -> LibraryArray | HeapStrings:
    """Return strings by the references to them, where these lie together in the file; anything else by the library."""
    with _translated(path), _h5py().File(path, "r") as file:
        dataset = file[name]
        start = dataset.id.get_offset()
        strings = _h5py().check_string_dtype(dataset.dtype)
        if strings is None or strings.length is not None or len(shaped.shape) != 1 or start is None:
            return _array(path, name, shaped)
        return HeapStrings(path, start, file.userblock_size, shaped.shape, shaped.dtype, f"dataset {name!r}")


def _open(head: Head, options: ReadingOptions) -> Dump:
    path = head.path
    with _translated(path):
        found = _datasets(path)
    chosen = vector_array(found, path, options.get("array"))
    keys: KeyColumn | None = open_keys(options)
    beside = None
    if keys is None and (beside := key_array(found)) is not None:
        keys = LibraryKeys(_key_array(path, beside, found[beside]), options.get("key_type"))
    dump = ArrayDump(_array(path, chosen, found[chosen]), keys, format="hdf5")
    dump.left_out = left_out(found, chosen, beside)
    return dump


def _sniff(head: Head) -> float:
    return SURE if head.data.startswith(b"\x89HDF\r\n\x1a\n") else 0.0


def _write(output: Output) -> None:
    h5py = _h5py("writing")
    kinds = {"str": h5py.string_dtype(), "bytes": h5py.vlen_dtype(np.uint8), "int64": np.dtype("<i8")}
    with output.file() as file, h5py.File(file, "w") as target:
        vectors = target.create_dataset("vectors", (output.rows, output.dimensions), "<f4")
        keys = None
        if output.key_type == "bytes":
            raise FormatError("hdf5 has no keys of bytes; export to parquet", path=output.path)
        if output.key_type is not None:
            keys = target.create_dataset("keys", (output.rows,), kinds[output.key_type])
        done = 0
        for own, block in output.pairs:
            vectors[done : done + len(block)] = block
            if keys is not None and len(block):
                keys[done : done + len(block)] = _strings(own, output)
            done += len(block)


def _strings(keys: Any, output: Output) -> Any:
    if isinstance(keys, np.ndarray):
        return keys
    if any("\0" in key for key in keys):
        raise FormatError("hdf5 cannot hold keys with a zero byte; export to parquet", path=output.path)
    return list(keys)


FORMATS = (
    Format(
        "hdf5",
        (".hdf5", ".h5"),
        "HDF5: a dataset (n, d), such as 'train' of ann-benchmarks, and one of keys",
        open=_open,
        sniff=_sniff,
        write=_write,
        options=("keys", "array"),
        library="h5py",
    ),
)
