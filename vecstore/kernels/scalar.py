"""Levels of uniform grids, one grid a dimension: rows become levels, levels become rows again."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["decode_levels", "encode_levels", "sum_errors"]

WHOLE = np.float32(1.5 * 2**23)  # a float32 of this size has no fraction: adding it rounds, half to even


# Python's division looks for zeros, one number after the other; steps are none.
@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _level(value, lowest, step, most):
    """Return the nearest level, as a float; of two that are equally near the even one."""
    level = (value - lowest) / step
    level = level if level > np.float32(0) else np.float32(0)
    level = level if level < most else most
    return (level + WHOLE) - WHOLE


@njit(cache=True, nogil=True, error_model="numpy")
def encode_levels(x, lowest, steps, most, levels):
    """Write the levels, 0 to `most`, of rows x (n, d)."""
    n, d = x.shape
    most = np.float32(most)
    for i in range(n):
        for j in range(d):
            levels[i, j] = np.uint8(np.int32(_level(x[i, j], lowest[j], steps[j], most)))


@njit(cache=True, nogil=True)
def decode_levels(levels, lowest, steps, x):
    """Write the rows (n, d) that levels stand for."""
    n, d = levels.shape
    for i in range(n):
        for j in range(d):
            x[i, j] = np.float32(levels[i, j]) * steps[j] + lowest[j]


@njit(cache=True, nogil=True, error_model="numpy")
def sum_errors(x, lowest, steps, most, sums):
    """Write the squared errors of the levels of rows x (n, d), summed row by row: (d,)."""
    n, d = x.shape
    most = np.float32(most)
    sums[:] = 0
    for i in range(n):
        for j in range(d):
            error = _level(x[i, j], lowest[j], steps[j], most) * steps[j] + lowest[j] - x[i, j]
            sums[j] += error * error
