"""Vectors and keys from what holds them in memory: arrays, columns of arrays, dicts of vectors, data frames.

Frames of pandas, polars and pyarrow are read by what they share: names of columns, and columns that become arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, ShapeError, did_you_mean

__all__ = ["columns_of", "in_memory", "vectors_and_keys"]

KEY_NAMES = ("key", "id", "word", "token", "name")  # of columns, the likeliest first


def in_memory(source: Any) -> bool:
    """Return whether `source` holds vectors itself, and is no path of a file that does."""
    return isinstance(source, (np.ndarray, Mapping, list, tuple)) or _is_frame(source)


def columns_of(given: Any, columns: Any) -> Any:
    """Return the columns to keep beside the vectors: what is given, or those of a frame with these names."""
    if not _are_names(columns):
        return columns
    if not _is_frame(given):
        raise OptionError(
            "columns=: names are for data frames and files; give a mapping of names to values, or a table"
        )
    names = list(map(str, given.column_names if hasattr(given, "column_names") else given.columns))
    for name in columns:
        if name not in names:
            raise OptionError(f"no column {name!r}{did_you_mean(name, names)}; columns are {', '.join(names)}")
    return given.select(list(columns)) if hasattr(given, "select") else given[list(columns)]


def _are_names(columns: Any) -> bool:
    return isinstance(columns, (list, tuple)) and all(isinstance(name, str) for name in columns)


def vectors_and_keys(given: Any, keys: Any = None, beside: Any = None) -> tuple[NDArray[Any], Any]:
    """Return the vectors (n, d) that are given in any of these ways, and their keys.

    Parameters
    ----------
    given : array (n, d), sequence or column of n vectors, mapping of keys to vectors, or data frame
        In a frame, the vectors are the only column of lists or arrays, or all columns where these are numbers. Keys
        are the column called key, id, word, token or name, or else the first one of strings or integers, or else the
        index of a pandas frame.
    keys : n keys, optional
        Of a frame also the name of their column.
    beside : names, optional
        Columns of a frame that are no vectors.

    Raises
    ------
    OptionError
        A mapping with keys besides its own, pairs of keys and vectors, or a frame whose columns do not tell what is
        what.
    ShapeError
        Vectors of several lengths.
    """
    if isinstance(given, Mapping):
        if keys is not None:
            raise OptionError("a mapping has keys of its own: leave out keys=, or give its values as vectors")
        return _stacked(_array([*given.values()])), list(given)
    if _is_frame(given):
        return _of_frame(given, keys, beside if _are_names(beside) else ())
    if isinstance(given, (list, tuple)) and given and _is_pair(given[0]):
        raise OptionError("these are pairs of key and vector: give a mapping, dict(pairs), or vectors and keys= apart")
    return _stacked(_array(given)), keys if keys is None or isinstance(keys, np.ndarray) else _listed(keys)


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and np.ndim(item[0]) == 0 and np.ndim(item[1]) == 1


def _is_frame(given: Any) -> bool:
    return hasattr(given, "columns") and hasattr(given, "__getitem__")


def _of_frame(frame: Any, keys: Any, beside: Collection[str]) -> tuple[NDArray[Any], Any]:
    every = list(frame.column_names if hasattr(frame, "column_names") else frame.columns)
    names = [name for name in every if name not in beside or name == keys]
    columns = {name: _array(frame[name]) for name in names}
    if isinstance(keys, str):
        if keys not in columns:
            found = ", ".join(map(str, names))
            raise OptionError(f"no column {keys!r}{did_you_mean(keys, map(str, names))}; columns are {found}")
        key_name: Any = keys
    else:
        key_name = None if keys is not None else _key_column(columns)
    vectors = [name for name, column in columns.items() if name != key_name and _holds_vectors(column)]
    if len(vectors) > 1:
        listed = ", ".join(map(repr, vectors))
        raise OptionError(
            f"several columns could be the vectors: {listed}; give the one as vectors, and keys= beside it"
        )
    if vectors:
        matrix = _stacked(columns[vectors[0]])
    else:
        numbers = {name: column for name, column in columns.items() if name != key_name and column.dtype.kind in "fiu"}
        if len(numbers) < len(columns) - (key_name is not None) or not numbers:
            raise OptionError(f"no column holds vectors, and not all are numbers: {', '.join(map(str, names))}")
        matrix = np.stack([*numbers.values()], axis=1)
    if keys is not None and not isinstance(keys, str):
        return matrix, _listed(keys)
    if key_name is not None:
        return matrix, _listed(frame[key_name])
    return matrix, _labels(frame)


def _key_column(columns: Mapping[Any, NDArray[Any]]) -> Any:
    """Return the name of the likeliest column of keys, or None; a table of integers alone has none."""
    texts = [name for name, column in columns.items() if _holds_text(column)]
    whole = [name for name, column in columns.items() if column.ndim == 1 and column.dtype.kind in "iu"]
    named = {str(name).lower(): name for name in [*whole, *texts]}
    likely = next((named[name] for name in KEY_NAMES if name in named), None)
    if likely is not None or texts:
        return likely if likely is not None else texts[0]
    return whole[0] if whole and any(map(_holds_vectors, columns.values())) else None


def _labels(frame: Any) -> Any:
    """Return the labels of a pandas frame's rows, unless they only count them."""
    index = getattr(frame, "index", None)
    return None if index is None or type(index).__name__ == "RangeIndex" else _listed(index)


def _holds_vectors(column: NDArray[Any]) -> bool:
    return column.ndim == 2 or (column.dtype == object and len(column) > 0 and np.ndim(column[0]) == 1)


def _holds_text(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "UST" or (
        column.dtype == object and len(column) > 0 and isinstance(column[0], (str, bytes))
    )


def _array(given: Any) -> NDArray[Any]:
    """Return a column or a sequence as an array; vectors of several lengths as objects, for `_stacked` to name."""
    try:
        return np.asarray(given)
    except ValueError:
        return np.asarray(given, object)


def _listed(keys: Any) -> Any:
    """Return keys as a list, or integers as an array."""
    found = keys.to_pylist() if hasattr(keys, "to_pylist") else keys.tolist() if hasattr(keys, "tolist") else list(keys)
    return np.asarray(found) if found and all(type(key) is int for key in found) else found


def _stacked(column: NDArray[Any]) -> NDArray[Any]:
    """Return vectors that lie in an array each as (n, d); anything else as it is."""
    if column.dtype != object or not len(column):
        return column
    widths = [np.shape(vector) for vector in column]
    for row, width in enumerate(widths):
        if width != widths[0] or len(width) != 1:
            raise ShapeError(f"vectors are as long as each other; row 0 has shape {widths[0]}, row {row} {width}")
    return np.stack([np.asarray(vector) for vector in column])
