"""Products of rows with a matrix whose last bits depend on nothing else: not on other rows, threads or processors.

A BLAS adds up a row's products in an order that depends on how many rows there are and on which thread takes it, so
that what a row is encoded as would depend on who encodes it with which others. Here every sum is taken in one order:
over `DEPTH` terms one after the other, and then over these sums.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.numbers import FLOATS
from vecstore.kernels.panels import DEPTH, wide_products

__all__ = ["multiply_rows"]

ROWS_AT_ONCE = 256  # stay in the second cache while all columns go by


@njit(cache=True, nogil=True)
def multiply_rows(level, shape, x, matrix, out):
    """out = x @ matrix; x (n, k), matrix (k, m) in any order, `shape` as `numbers.SHAPES` says."""
    lanes, together = shape
    steps, columns = matrix.shape
    width = 2 * lanes
    weights, sums = np.empty((steps, width), np.float32), np.empty((together, width), np.float32)
    last = np.zeros((together, steps), np.float32)  # rows of which not as many are left
    whole = len(x) // together * together
    for i in range(whole, len(x)):
        for k in range(steps):
            last[i - whole, k] = x[i, k]
    x_at, stride = np.int64(x.ctypes.data), np.int64(4 * steps)
    weights_at, sums_at = np.int64(weights.ctypes.data), np.int64(sums.ctypes.data)
    for start in range(0, len(x), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, len(x))
        for column in range(0, columns, width):
            wide = min(width, columns - column)
            for k in range(steps):
                for j in range(width):
                    weights[k, j] = matrix[k, column + j] if j < wide else np.float32(0)
            for row in range(start, stop, together):
                # Asked for here: an array that only its address is left of is freed.
                rows_at = x_at + row * stride if row < whole else np.int64(last.ctypes.data)
                for i in range(together):
                    for j in range(width):
                        sums[i, j] = 0
                for step in range(0, steps, DEPTH):
                    some, asked = min(DEPTH, steps - step), rows_at + together * stride
                    from_at, factors_at = rows_at + 4 * step, weights_at + 4 * width * step
                    wide_products(FLOATS, level, from_at, stride, factors_at, some, sums_at, asked)
                for i in range(min(together, len(x) - row)):
                    for j in range(wide):
                        out[row + i, column + j] = sums[i, j]
