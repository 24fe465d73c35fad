"""Orthonormal axes, stored in a few bits a number.

Rounding tilts axes; making them orthonormal again, each to those before it, leaves a rotation that is nearly as good:
encoding and decoding turn by the same angles, and lengths are kept exactly. What tilts an axis moves a part of its
variance to later ones, so axes of much variance are rounded finely, and principal axes of what is left are sought anew
on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Floats, frozen, named
from vecstore.codecs.packing import join_uneven, split_uneven
from vecstore.errors import CodecError

__all__ = ["Axes", "check_work", "most_axes", "named_axes", "orthonormal", "rounded"]

Matrix: TypeAlias = NDArray[np.float64]

BITS = (2, 8)  # a number
TILT = 0.1  # of the variance of the last axis: what rounding may move from an axis to later ones
FEWEST = 32  # dimensions, below which axes take little and rounding may leave two of them alike
FIRST = 8  # axes, before what is left is looked at anew; then twice as many
STEPS = {2: 1.04, 3: 0.6, 4: 0.34, 5: 0.184, 6: 0.101, 7: 0.055, 8: 0.03}  # best for Gaussian numbers, by bits
SPREADS = (0.8, 1.0, 1.25, 1.6)  # times that, tried for each axis
LEAST_TURNED = 1e-6  # of the length of an axis: what those before it leave, below which it is rounding
LEAST_LEFT = 1e-5  # squared length, below which what is left of an axis is rounding
WIDEST = 1 << 12  # dimensions, of which all axes are made orthonormal in a few seconds
MOST_WORK = WIDEST**3  # c * c * d for c axes of d dimensions
SQUARINGS = 2  # of Newton and Schulz: each squares what is missing to orthonormality, from a few hundredths on


def most_axes(dimensions: int) -> int:
    """Return how many axes of so many dimensions are not too many to make orthonormal."""
    return min(isqrt(MOST_WORK // dimensions), dimensions)


def check_work(count: int, dimensions: int) -> None:
    """Raise `CodecError` for more axes than can be made orthonormal in seconds."""
    if count > most_axes(dimensions):
        raise CodecError(
            f"{count} axes of {dimensions} dimensions would take minutes to train and to read; "
            f"put pca:{WIDEST} or fewer before"
        )


class Axes:
    """Orthonormal axes, as they are used and as a file holds them.

    Attributes
    ----------
    matrix : (c, d) float32
        Orthonormal rows. Those of a file are made when they are first asked for: whoever only copies codes needs none,
        and the threads of a BLAS go on turning for a tenth of a second after a product.
    arrays : mapping
        ``axes``, and ``axis_bits`` where these are packed: what `restore` takes.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], matrix: Floats | None = None) -> None:
        self.arrays: Mapping[str, NDArray[Any]] = {name: frozen(array) for name, array in arrays.items()}
        if matrix is not None:
            self.matrix = frozen(matrix)

    @classmethod
    def principal(cls, axes: Floats, variances: NDArray[np.float64], count: int) -> Axes:
        """Return `count` axes of few bits that keep nearly the variance that the first principal axes keep.

        Parameters
        ----------
        axes : (d, d) float32
            All principal axes.
        variances : (d,) float64
            Along them, largest first.
        """
        check_work(count, axes.shape[1])
        exact, d = axes.astype(np.float64), axes.shape[1]
        allowed = TILT * np.minimum(variances[count - 1] / np.maximum(variances[:count], 1e-300), 1)
        levels, bits = np.zeros((count, d), np.uint8), np.zeros(count, np.uint8)
        found, begin = np.empty((0, d)), 0
        while begin < count:
            end = min(max(2 * begin, FIRST), count)
            wanted = _leading(exact, variances, found, end - begin) if begin > 0 else exact[:end]
            levels[begin:end], bits[begin:end] = _rounded(wanted, allowed[begin:end])
            found = _in_order(levels[:end], bits[:end])
            begin = end
        return cls({"axes": join_uneven(levels.T, bits), "axis_bits": bits}, found.astype("<f4"))

    @classmethod
    def restore(cls, arrays: Arrays, shape: tuple[int, int]) -> Axes:
        """Return the axes (c, d) of a file, or raise `CodecError`; for numbers that are no axes when `matrix` is made.

        Files of before have them as float32, ready for use, or as whole numbers of a byte: see `orthonormal`.
        """
        count, dimensions = shape
        if "axis_bits" not in arrays:
            axes = named_axes(arrays, shape)
            check_work(count if axes.dtype == np.int8 else 0, dimensions)
            return cls({"axes": axes})
        (bits,) = named(arrays, dtype="|u1", axis_bits=(count,))
        if bits.min(initial=BITS[0]) < BITS[0] or bits.max(initial=BITS[0]) > BITS[1]:
            raise CodecError(f"the file's axes have numbers of other than {BITS[0]} to {BITS[1]} bits; it is damaged")
        check_work(count, dimensions)
        (axes,) = named(arrays, dtype="|u1", axes=(dimensions, -(-int(bits.sum(dtype=np.int64)) // 8)))
        return cls({"axes": axes, "axis_bits": bits})

    @cached_property
    def matrix(self) -> Floats:
        stored, bits = self.arrays["axes"], self.arrays.get("axis_bits")
        try:
            found = orthonormal(stored) if bits is None else _in_order(split_uneven(stored, bits).T, bits)
        except np.linalg.LinAlgError:
            raise CodecError("the file's axes are not independent; it is damaged") from None
        if not np.isfinite(found).all():
            raise CodecError("the file's axes are not finite numbers; it is damaged")
        return frozen(found.astype("<f4", copy=False))

    def first(self, count: int) -> Axes:
        """Return the first axes."""
        return Axes({"axes": self.matrix[:count]})


def _leading(exact: Matrix, variances: NDArray[np.float64], found: Matrix, count: int) -> Matrix:
    """Return the principal axes (count, d) of what axes that are found (n, d) have left.

    Sought among what is left of the first n + 2 count of the exact principal axes (d, d): that is where what tilted the
    found ones has gone, too, and far fewer than d dimensions (Rayleigh and Ritz). Found ones are orthonormal, so that
    they leave at least 2 count of these dimensions, or all that there are.
    """
    tilted = found @ exact.T  # among the exact axes, along which the covariance is diagonal
    some = min(len(found) + 2 * count, len(exact))
    left = np.eye(some, len(exact)) - tilted[:, :some].T @ tilted
    sizes, turn = np.linalg.eigh(left[:, :some])  # its rows' products with each other: a projection is its own square
    known = sizes > LEAST_LEFT
    basis = (turn[:, known] / np.sqrt(sizes[known])).T @ left
    order = np.linalg.eigh((basis * variances) @ basis.T)[1][:, ::-1]
    return np.asarray(order[:, :count].T @ basis @ exact)


def _rounded(axes: Matrix, allowed: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the levels (c, d) and bits (c,) of axes: the fewest bits that tilt an axis by no more than allowed.

    A tilt is the share of the squared length that turns to other directions. Signs are free: the largest number of an
    axis is made negative, since there is one more negative level.
    """
    count, d = axes.shape
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes, largest = np.where(largest > 0, -axes, axes), np.abs(largest)
    levels, bits = np.zeros((count, d), np.uint8), np.zeros(count, np.uint8)
    left = np.arange(count)
    for size in range(BITS[0] if d >= FEWEST else BITS[1], BITS[1] + 1):
        half, tilts = 1 << size - 1, np.full(count, np.inf)
        # Besides steps for dense axes one that reaches the largest number, for those with few numbers other than zero.
        dense = np.full_like(largest, STEPS[size] / np.sqrt(d))
        for steps in (largest / half, *(spread * dense for spread in SPREADS)):
            whole = np.clip(np.rint(axes[left] / steps[left]), -half, half - 1)
            lengths = np.einsum("ij,ij->i", whole, whole)
            tilt = 1 - np.einsum("ij,ij->i", whole, axes[left]) ** 2 / np.maximum(lengths, 1e-30)
            better = tilt < tilts[left]
            levels[left[better]], tilts[left[better]] = whole[better] + half, tilt[better]
        bits[left] = size
        left = left[tilts[left] > allowed[left]]
    return levels, bits


def _in_order(levels: NDArray[np.uint8], bits: NDArray[np.uint8]) -> Matrix:
    """Return the axes that levels (c, d) stand for, each turned to be orthonormal to those before it.

    Level l of b bits is l - 2**(b - 1). With A for these numbers, and A A' = L L' (Cholesky), the axes are L^-1 A.
    """
    rough = levels.astype(np.float64) - (1 << bits.astype(np.int64) - 1)[:, None]
    products = rough @ rough.T
    lower = np.linalg.cholesky(products)
    if (np.diag(lower) <= LEAST_TURNED * np.sqrt(np.diag(products))).any():
        raise np.linalg.LinAlgError("an axis lies among those before it")
    return np.linalg.solve(lower, rough)


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
        for _ in range(SQUARINGS):
            found = np.asarray(1.5 * found - 0.5 * (found @ found.T) @ found, np.float32)
    return found


def named_axes(arrays: Arrays, shape: tuple[int, int], name: str = "axes") -> NDArray[Any]:
    """Return the array of that name as it is stored, in bytes or as float32, or raise `CodecError`."""
    dtype = "|i1" if name in arrays and arrays[name].dtype == np.int8 else "<f4"
    (axes,) = named(arrays, dtype=dtype, **{name: shape})
    return axes
