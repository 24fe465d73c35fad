"""Columns of Arrow as numbers and texts of numpy and Python.

As far as can be without pyarrow's compute functions, which a process takes a tenth of a second to import.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.column_choice import is_list

from vecstore.errors import require

__all__ = ["checked", "lengths_of", "numbers_of", "texts_of", "values_of", "values_of_some"]


def checked(column: Any) -> Any:
    """Return the column, text as bytes, once every offset in it is known to point inside it.

    Arrow believes the offsets in a file, and a wrong one crashes the process.
    """
    pa = _pyarrow()
    column.validate()
    for text, binary in ((pa.string(), pa.binary()), (pa.large_string(), pa.large_binary())):
        if column.type == text:
            column = column.view(binary)  # text that is not UTF-8 is a problem of its row, not of the file
    column.validate(full=True)
    return column


def lengths_of(column: Any) -> NDArray[np.int64]:
    """Return the length of each list; -1 for null."""
    pa = _pyarrow()
    if not column.null_count:  # a call to the library takes longer than all of this
        if pa.types.is_fixed_size_list(column.type):
            return np.full(len(column), column.type.list_size)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            return np.diff(numbers_of(column.offsets)).astype(np.int64)
    compute = require("pyarrow.compute", purpose="reading lists")
    lengths = numbers_of(compute.list_value_length(column))
    return (np.nan_to_num(lengths, nan=-1) if column.null_count else lengths).astype(np.int64)


def numbers_of(column: Any) -> NDArray[Any]:
    """Return numbers, NaN for null. Where nothing is null, pandas stays out, which pyarrow imports to make arrays."""
    pa = _pyarrow()
    plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    found: NDArray[Any] = (
        column.to_numpy(zero_copy_only=False) if column.null_count or not plain else np.from_dlpack(column)
    )
    return found


def texts_of(column: Any) -> list[str] | None:
    """Return texts, cut from one; None where some is not valid UTF-8, or they do not lie one behind the other."""
    types = _pyarrow().types
    wide = types.is_large_string(column.type) or types.is_large_binary(column.type)
    if not (wide or types.is_string(column.type) or types.is_binary(column.type)):
        return None
    if not len(column):
        return []
    _, offsets, data = column.buffers()
    edges = np.frombuffer(offsets, "<i8" if wide else "<i4")[column.offset : column.offset + len(column) + 1]
    raw = bytes(memoryview(data or b"")[int(edges[0]) : int(edges[-1])])
    edges = edges - edges[0]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    if len(text) < len(raw):  # places of letters, not of bytes
        begins = np.append((np.frombuffer(raw, np.uint8) & 0xC0) != 0x80, True)
        if not begins[edges].all():
            return None
        edges = (np.cumsum(begins) - 1)[edges]
    return [text[start:end] for start, end in pairwise(edges.tolist())]


def values_of(column: Any, length: int) -> Any:
    """Return the numbers of lists that are all of this length, one after another."""
    types = _pyarrow().types
    if types.is_fixed_size_list(column.type):
        return column.values.slice(column.offset * length, len(column) * length)
    if types.is_list(column.type) or types.is_large_list(column.type):
        return column.values.slice(column.offsets[0].as_py() if len(column) else 0, len(column) * length)
    return column.flatten()


def values_of_some(column: Any, chosen: NDArray[np.bool_]) -> Any:
    """Return the numbers of the chosen rows, one after another."""
    assert is_list(column.type)
    pa = _pyarrow()
    return (column if chosen.all() else column.filter(pa.array(chosen))).flatten()


def _pyarrow() -> Any:
    return require("pyarrow", purpose="reading arrow")
