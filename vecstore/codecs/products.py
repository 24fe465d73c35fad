"""Products of rows with a matrix, as encoding needs them: the same whoever encodes a row, and with which others."""

from __future__ import annotations

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.kernels import entries
from vecstore.kernels.levels import best_level, tag
from vecstore.kernels.numbers import SHAPES
from vecstore.parallel import over_slices

__all__ = ["FEW_ROWS", "decoded_products", "row_products"]

FEW_ROWS = 8  # are sooner multiplied by a BLAS than compiled code is loaded
# Numbers of a matrix that one vector is multiplied with: a BLAS shares out larger products, and those of several rows,
# to threads. Where all processors are at work these wait for each other, for milliseconds; and they go on turning.
UNSHARED = 1 << 18


def row_products(x: Floats, matrix: Floats) -> Floats:
    """Return x @ matrix, each sum taken in one order: (n, m) float32.

    A BLAS is about as fast, but a row's last bits depend there on how many rows there are, and on its threads. They
    are the same on all processors that multiply and add in one step, which are all with AVX2 or NEON.

    Parameters
    ----------
    x : (n, k) float32
    matrix : (k, m) float32
        In any order.
    """
    rows = np.ascontiguousarray(x, np.float32)
    out = np.empty((len(rows), matrix.shape[1]), np.float32)
    level, weights = best_level(), np.asarray(matrix, np.float32)

    def multiply(part: slice) -> None:
        entries.multiply_rows(tag(level), tuple(SHAPES[level]), rows[part], weights, out[part])

    over_slices(multiply, len(rows), at_least=256)
    return out


def decoded_products(z: Floats, matrix: Floats) -> Floats:
    """Return z @ matrix, of what is decoded and of queries: as `row_products`, but a few rows load no compiled code."""
    if len(z) >= FEW_ROWS:
        return row_products(z, matrix)
    depth, width = matrix.shape
    out, step = np.empty((len(z), width), np.float32), max(UNSHARED // max(depth, 1), 1)
    for row, sums in zip(np.asarray(z, np.float32), out, strict=True):
        for start in range(0, width, step):
            np.dot(row, matrix[:, start : start + step], out=sums[start : start + step])
    return out
