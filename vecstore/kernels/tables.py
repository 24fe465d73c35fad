"""Sums of table entries picked for each row: row i takes entries ids[starts[i] : starts[i + 1]]."""

from __future__ import annotations

from numba import njit

__all__ = ["add_gram", "add_targets", "sum_entries"]


@njit(cache=True, nogil=True)
def sum_entries(starts, ids, table, out):
    """out[i] += the entries of row i, added one after the other in float32, as plain loops elsewhere do."""
    for i in range(len(starts) - 1):
        for at in range(starts[i], starts[i + 1]):
            entry = ids[at]
            for k in range(out.shape[1]):
                out[i, k] += table[entry, k]


@njit(cache=True, nogil=True)
def add_targets(starts, ids, weights, x, out):
    """out += A' W x for the matrix A that picks entries."""
    for i in range(len(starts) - 1):
        for at in range(starts[i], starts[i + 1]):
            for k in range(x.shape[1]):
                out[ids[at], k] += weights[i] * x[i, k]


@njit(cache=True, nogil=True)
def add_gram(starts, ids, weights, table, row, out):
    """out += A' W A table; `row` is room for one row."""
    for i in range(len(starts) - 1):
        row[:] = 0
        for at in range(starts[i], starts[i + 1]):
            for k in range(table.shape[1]):
                row[k] += table[ids[at], k]
        for at in range(starts[i], starts[i + 1]):
            for k in range(table.shape[1]):
                out[ids[at], k] += weights[i] * row[k]
