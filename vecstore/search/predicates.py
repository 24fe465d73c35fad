"""What a condition asks of the values of a column: Arrow arrays in, an Arrow array of bool out, null where unknown.

Of columns with a dictionary each entry is asked once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from vecstore.errors import require

__all__ = ["compared", "contains", "is_one_of", "like"]

FEW = 8  # comparisons of numbers that take no longer than one lookup of each in a set
COMPARISONS = {"=": "equal", "!=": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}


def compared(left: Any, how: str, right: Any) -> Any:
    """Return which values compare so with a scalar, or with those of another column."""
    compute = _compute()
    compare = getattr(compute, COMPARISONS[how])
    if hasattr(right, "__len__"):
        return compare(_plain(left), _plain(right))
    return _of_entries(left, lambda values: compare(values, right))


def is_one_of(column: Any, values: list[Any]) -> Any:
    """Return which values are equal to one of some scalars of one type."""
    if len(values) <= FEW:
        return _of_entries(column, lambda own: _is_any(own, values))
    compute, pa = _compute(), _arrow()
    of = pa.array([value.as_py() for value in values], values[0].type)
    return _of_entries(column, lambda own: _known(own, compute.is_in(own.cast(of.type), value_set=of)))


def like(column: Any, pattern: str, *, ignore_case: bool) -> Any:
    """Return which strings match a pattern of LIKE."""
    return _of_entries(column, lambda own: _compute().match_like(own, pattern, ignore_case=ignore_case))


def contains(column: Any, text: str) -> Any:
    """Return which lists of strings hold a string."""
    pa = _arrow()
    starts = column.offsets.to_numpy()
    first, last = int(starts[0]), int(starts[-1])
    flags = _of_entries(column.values.slice(first, last - first), lambda own: _compute().equal(own, text))
    before = np.concatenate([[0], np.cumsum(np.asarray(flags.to_numpy(zero_copy_only=False), bool))])
    found = before[starts[1:] - first] > before[starts[:-1] - first]
    return pa.array(found, mask=column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None)


def _of_entries(column: Any, test: Callable[[Any], Any]) -> Any:
    """Return what a test says of the values; of a dictionary's entries, once each."""
    pa = _arrow()
    if not pa.types.is_dictionary(column.type):
        return test(column)
    found, codes = test(column.dictionary), column.indices
    entries = np.flatnonzero(found.to_numpy(zero_copy_only=False)) if not found.null_count else None
    if entries is None or len(entries) > FEW:
        return found.take(codes)
    return _is_any(codes, [pa.scalar(entry, codes.type) for entry in entries.tolist() or [-1]])


def _is_any(column: Any, values: list[Any]) -> Any:
    """Return which values are equal to one of a few scalars: sooner so than by looking each up in a set, or a list."""
    compute = _compute()
    return reduce(compute.or_, (compute.equal(column, value) for value in values))


def _known(column: Any, found: Any) -> Any:
    """Return what was found, null where the column is."""
    return _compute().if_else(column.is_valid(), found, None) if column.null_count else found


def _plain(column: Any) -> Any:
    return column.dictionary_decode() if _arrow().types.is_dictionary(column.type) else column


def _arrow() -> Any:
    return require("pyarrow", purpose="filters")


def _compute() -> Any:
    return require("pyarrow.compute", purpose="filters")
