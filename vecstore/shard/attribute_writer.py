"""Write columns of attributes into a container: each in Arrow's buffers, a part a buffer.

docs/format.md, section 5 (Shards), specifies the parts.
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import ContainerWriter
from vecstore.errors import ShapeError, require
from vecstore.shard.attribute_types import ARROW_NAMES, NUMBERS

__all__ = ["AttributeSpool", "write_attributes"]

MOST_BUFFER_BYTES = (1 << 32) - 1  # of a value of LMDB
SHORT = 1 << 31  # starts up to here have four bytes


class AttributeSpool:
    """Columns of a shard on their way into it, in a temporary file without a name.

    Parameters
    ----------
    directory : path
    schema : pyarrow.Schema
        As `as_table` gives it.
    """

    def __init__(self, directory: Path, schema: Any) -> None:
        pa = require("pyarrow", purpose="keeping columns")
        self.schema = schema
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._writer = pa.ipc.new_file(self._file, schema)

    def add(self, table: Any) -> None:
        """Append the rows of a table of this schema."""
        self._writer.write_table(table)

    def write(self, container: ContainerWriter, positions: NDArray[np.integer[Any]] | None) -> list[dict[str, Any]]:
        """Write all into a container, in another order where positions (n,) are given; return the description."""
        pa = require("pyarrow", purpose="keeping columns")
        self._writer.close()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()  # the map stays
        table = pa.ipc.open_file(pa.py_buffer(mapped)).read_all()
        return write_attributes(container, table, positions)

    def abort(self) -> None:
        """Give up: remove the temporary file."""
        self._file.close()


def write_attributes(
    container: ContainerWriter, table: Any, positions: NDArray[np.integer[Any]] | None = None
) -> list[dict[str, Any]]:
    """Write the columns of a table, as `as_table` gives it, and return what the description says of them.

    One column is in memory at a time. Raises `ShapeError` for a buffer that a file does not hold.
    """
    described = []
    for number, name in enumerate(table.column_names):
        column = table[name]
        column = (column if positions is None else column.take(positions)).combine_chunks()
        described.append({"name": name, **_Column(container, number, name).write(column)})
    return described


class _Column:
    """The parts of one column."""

    def __init__(self, container: ContainerWriter, number: int, name: str) -> None:
        self._container, self._number, self._name = container, number, name

    def write(self, column: Any) -> dict[str, Any]:
        """Write the parts of an array; return its type, and how many nulls it has."""
        types, kind = require("pyarrow", purpose="keeping columns").types, column.type
        if column.null_count:
            self._bits("validity", column.is_valid())
        if types.is_boolean(kind):
            self._bits("values", column.fill_null(False))
            about: dict[str, Any] = {"type": "bool"}
        elif types.is_timestamp(kind):
            self._part("values", _numbers(column.cast("int64")).astype("<i8"))
            about = {"type": "timestamp", "unit": kind.unit} | ({"zone": kind.tz} if kind.tz else {})
        elif types.is_large_string(kind):
            about = {"type": "string", "dictionary": self._text(column)}
        elif types.is_large_list(kind):
            about = {"type": "strings", "dictionary": self._lists(column)}
        else:
            name = ARROW_NAMES.get(str(kind), str(kind))
            self._part("values", _numbers(column).astype(NUMBERS[name]))
            about = {"type": name}
        return about | {"nulls": column.null_count}

    def _lists(self, column: Any) -> bool:
        compute = require("pyarrow.compute", purpose="keeping columns")
        lengths = compute.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        self._part("lists", _starts(lengths))
        return self._text(column.flatten())

    def _text(self, column: Any) -> bool:
        """Write strings, those that differ once where that takes fewer bytes; return whether it did."""
        pa = require("pyarrow", purpose="keeping columns")
        encoded = column.dictionary_encode()
        distinct = encoded.dictionary if len(encoded.dictionary) else pa.array([""], pa.large_string())
        codes = _numbers(encoded.indices)
        codes = codes.astype(next(f"<i{size}" for size in (1, 2, 4) if len(distinct) <= 1 << (8 * size - 1)))
        plain = column.fill_null("")
        pays = codes.nbytes + 4 * len(distinct) + _text_bytes(distinct) < 4 * len(column) + _text_bytes(plain)
        if pays:
            self._part("values", codes)
        self._strings(distinct if pays else plain)
        return pays

    def _strings(self, strings: Any) -> None:
        _, starts, text = strings.buffers()
        starts = (
            np.frombuffer(starts, "<i8", len(strings) + 1, 8 * strings.offset) if len(strings) else np.zeros(1, "<i8")
        )
        size = int(starts[-1] - starts[0])
        self._part("starts", _starts(np.diff(starts)))
        self._part("text", np.frombuffer(text, np.uint8, size, int(starts[0])) if size else np.empty(0, np.uint8))

    def _bits(self, part: str, flags: Any) -> None:
        self._part(part, np.packbits(flags.to_numpy(zero_copy_only=False), bitorder="little"))

    def _part(self, part: str, array: NDArray[Any]) -> None:
        """Write an array as one block: what is mapped is then one buffer."""
        if array.nbytes > MOST_BUFFER_BYTES:
            raise ShapeError(
                f"columns: {self._name!r} takes {array.nbytes:,} bytes, more than 4 GiB in one file: give shard_bytes="
            )
        name = f"columns.{self._number}.{part}"
        self._container.declare(name, array.dtype, array.shape)
        if array.nbytes:
            self._container.put_block(name, np.ascontiguousarray(array).view(np.uint8))


def _numbers(column: Any) -> NDArray[Any]:
    """Return values, 0 for null: (n,)."""
    return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False))


def _starts(lengths: NDArray[Any]) -> NDArray[Any]:
    """Return where runs of these lengths begin, and where the last one ends: (n + 1,)."""
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return starts.astype("<i4" if starts[-1] < SHORT else "<i8")


def _text_bytes(strings: Any) -> int:
    compute = require("pyarrow.compute", purpose="keeping columns")
    return int(compute.sum(compute.binary_length(strings)).as_py() or 0)
