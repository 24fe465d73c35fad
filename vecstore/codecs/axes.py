"""Orthonormal axes, stored in a byte a number.

Rounding tilts axes a little; making them orthonormal again leaves a rotation that is as good as the one before:
encoding and decoding turn by the same angles, and lengths are kept exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Floats, named

__all__ = ["named_axes", "orthonormal", "rounded"]

STEPS = 2  # of Newton and Schulz: each squares what is missing to orthonormality, from a few hundredths on


def rounded(axes: Floats) -> NDArray[np.int8]:
    """Return axes (c, d) as whole numbers, each row's largest being 127."""
    largest = np.maximum(np.abs(axes).max(axis=1, keepdims=True), 1e-30)
    return np.rint(axes / largest * 127).astype(np.int8)


def orthonormal(axes: NDArray[Any]) -> Floats:
    """Return what `rounded` was given, nearly: orthonormal rows (c, d) float32; others are returned as they are.

    Rows are scaled to length one, then A = (3 A - A A' A) / 2 is applied twice (Björck & Bowie, An iterative algorithm
    for computing the best estimate of an orthogonal matrix, 1971).
    """
    if axes.dtype != np.int8:
        return np.asarray(axes, np.float32)
    found = axes.astype(np.float32, order="C")  # sums depend on the order in memory; fitted and read must agree
    with np.errstate(all="ignore"):  # what a damaged file holds; whoever reads it looks at the result
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        for _ in range(STEPS):
            found = np.asarray(1.5 * found - 0.5 * (found @ found.T) @ found, np.float32)
    return found


def named_axes(arrays: Arrays, shape: tuple[int, int], name: str = "axes") -> NDArray[Any]:
    """Return the array of that name as it is stored, in bytes or as float32, or raise `CodecError`."""
    dtype = "|i1" if name in arrays and arrays[name].dtype == np.int8 else "<f4"
    (axes,) = named(arrays, dtype=dtype, **{name: shape})
    return axes
