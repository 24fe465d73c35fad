"""Columns of a file as what fields take: lists of vectors, terms with weights, vectors."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import ShapeError, require

__all__ = ["checked_columns", "terms_of", "tokens_of", "vectors_of"]

Pieces = Iterable[Mapping[str, Any]]  # columns of some rows after the other, of pyarrow


def checked_columns(given: Any) -> tuple[str, ...]:
    """Return the names of columns that were given in place of rows; () for rows."""
    if isinstance(given, str):
        return (given,)
    pair = isinstance(given, tuple) and len(given) == 2 and all(isinstance(name, str) for name in given)
    return given if pair else ()


def tokens_of(pieces: Pieces, name: str, room: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the vectors of a column of lists of vectors, (T, d), and how many each row has.

    They lie in a nameless file in the folder `room`, mapped.
    """
    counts: list[NDArray[np.int64]] = []
    with tempfile.TemporaryFile(dir=room) as file:
        width, kind, total = 0, np.dtype("<f4"), 0
        for piece in pieces:
            own, inner = _flat(piece[name], f"column {name!r}", "lists of vectors")
            counts.append(own)
            if not len(inner):
                continue
            lengths, values = _flat(inner, f"column {name!r}", "lists of vectors")
            width = width or int(lengths[0])
            if not width or (lengths != width).any() or values.null_count:
                raise ShapeError(f"column {name!r}: vectors have {width or 'some'} numbers each, and no null")
            numbers = _numbers(values, name)
            kind = numbers.dtype if not total else kind
            file.write(np.ascontiguousarray(numbers, kind).tobytes())
            total += len(lengths)
        file.flush()
        flat = np.memmap(file, kind, "r", shape=(total, width)) if total else np.empty((0, width), np.float32)
    return flat, np.concatenate([np.empty(0, np.int64), *counts])


def terms_of(pieces: Pieces, names: Sequence[str]) -> tuple[NDArray[np.int64], list[NDArray[Any]], list[NDArray[Any]]]:
    """Return how many terms rows have, and terms and weights, piece by piece.

    Of one column of maps, of lists of pairs, or of pairs of lists; or of two columns of lists.
    """
    pa = require("pyarrow", purpose="reading columns")
    counts, terms, weights = [np.empty(0, np.int64)], [], []
    for piece in pieces:
        told = " and ".join(f"column {name!r}" for name in names)
        given = [piece[name] for name in names]
        if len(given) == 1 and pa.types.is_struct(given[0].type) and given[0].type.num_fields == 2:
            given = list(given[0].flatten())  # a null has null lists
        if len(given) == 2:
            (own, left), (other, right) = (_flat(column, told, "lists of terms and of weights") for column in given)
            if not np.array_equal(own, other):
                raise ShapeError(f"{told}: a row has as many weights as terms")
        else:
            own, pairs = _flat(given[0], told, "maps of terms to weights, or lists of such pairs")
            if not pa.types.is_struct(pairs.type) or pairs.type.num_fields != 2:
                raise ShapeError(f"{told} holds maps of terms to weights, found {given[0].type}")
            left, right = pairs.flatten()
        if left.null_count or right.null_count:
            raise ShapeError(f"{told}: null among the terms or weights")
        counts.append(own)
        words = pa.types.is_string(left.type) or pa.types.is_large_string(left.type)
        try:
            terms.append(_numbers(left.cast(pa.int64()) if words else left, names[0]))
        except pa.ArrowInvalid:
            raise ShapeError(f"{told}: terms are whole numbers; number your words, as a tokenizer does") from None
        weights.append(_numbers(right, names[-1]))
    return np.concatenate(counts), terms, weights


def vectors_of(pieces: Pieces, name: str, room: Path) -> NDArray[Any]:
    """Return the vectors of a column, (n, d), mapped; rows without one raise `ShapeError`."""

    def one_a_row() -> Iterable[Mapping[str, Any]]:
        pa = require("pyarrow", purpose="reading columns")
        for piece in pieces:
            column = piece[name]
            yield {name: pa.ListArray.from_arrays(pa.array(np.arange(len(column) + 1, dtype=np.int32)), column)}

    found, counts = tokens_of(one_a_row(), name, room)
    if len(found) != int(counts.sum()):
        raise ShapeError(f"column {name!r} has rows without a vector")
    return found


def _flat(column: Any, told: str, expected: str) -> tuple[NDArray[np.int64], Any]:
    """Return how long the lists of a column are, 0 for null, and what is in them one after the other."""
    pa = require("pyarrow", purpose="reading columns")
    types = pa.types
    if types.is_null(column.type):
        return np.zeros(len(column), np.int64), pa.array([], pa.list_(pa.float32()))
    listed = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_map)
    if not any(is_kind(column.type) for is_kind in listed):
        raise ShapeError(f"{told} holds {expected}; found {column.type}")
    if types.is_map(column.type):
        kind = column.type
        pairs = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
        column = column.cast(pairs)
    counts = require("pyarrow.compute", purpose="reading columns").list_value_length(column).fill_null(0)
    return counts.to_numpy(zero_copy_only=False).astype(np.int64), column.flatten()


def _numbers(values: Any, name: str) -> NDArray[Any]:
    found = values.to_numpy(zero_copy_only=False)
    if found.dtype.kind not in "fiu":
        raise ShapeError(f"column {name!r} holds numbers; found {values.type}")
    return np.asarray(found)
