"""Cells: every row belongs to its nearest of K centroids, and the codec works on what is left of it.

The rows of a shard are stored cell by cell, so the cell of a row follows from its position: it costs no byte, only the
centroids do. They are few but long, so they are stored coarsely, in one to four bits a dimension: principal components
of the centroids, each in as many bits as pay. The residuals are taken to the centroids as they are then, so what is
lost of a centroid is not lost to its rows, only left for the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.axes import Axes, most_axes
from vecstore.codecs.base import Arrays, Floats, Step, frozen, named
from vecstore.codecs.kmeans import kmeans
from vecstore.codecs.members import Whole
from vecstore.codecs.packing import join_uneven, split_uneven
from vecstore.codecs.products import row_products
from vecstore.codecs.transforms.pca import principal_axes
from vecstore.errors import CodecError

__all__ = ["COUNT_BYTES", "MOST_CELLS", "Cells", "Partition"]

MOST_CELLS = 1 << 16
MOST_NUMBERS = 1 << 27  # of all centroids together, which are held in memory
FEW_NUMBERS, MOST_OF_A_BYTE = 1 << 23, 64  # that a file may ask for anyway, or for each byte of its levels
CENTROID_BITS = (1, 4)  # a dimension, what the axes take included: at least, and where `SHARE` has room, at most
MOST_BITS = 8  # a component
FEW_AXES = 8  # that even a few cells may have, whose centroids would otherwise not be worth an axis
SHARE = 0.02  # of the bytes of the codes: what cells may take where their number is not named
ROWS_OF_A_CELL = 16  # at least, on average, of the training sample as well, where their number is not named
COUNT_BYTES = 4  # a cell's number of rows, in a shard
AXIS_BITS = 4  # a number of an axis, or rather less
COMPONENT_BYTES = 5  # that a component takes beside its axis, levels and bits
ASSIGN_SCORES = 1 << 22  # inner products held at once
ADDED_ROWS = 512  # at once: their centroids stay in the cache
LARGEST = 1e16  # up to here squares, summed over dimensions, stay inside float32
# The uniform quantizer of 1, 2, ... bits that is best for a Gaussian of variance one: its step, and its mean squared
# error (Max, Quantizing for minimum distortion, 1960, table II; from 6 bits on computed the same way).
STEPS = np.array([0, 1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308])
DISTORTION = np.array([1, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.0003035, 0.0000869])
GAINS = np.append(-np.diff(DISTORTION), 0)  # of one more bit


@dataclass(frozen=True)
class Cells(Step):
    """How many cells: ``cells:K``, or ``cells`` (0) for as many as the number of rows allows."""

    count: Annotated[int, Whole(0, MOST_CELLS)] = 0

    name = "cells"
    kind = "partition"
    summary = "store rows in the order of their nearest of K centroids, and code what is left"
    usage = "cells[:K]"

    @classmethod
    def integer(cls, text: str) -> int:
        count = super().integer(text)
        if not count:
            raise CodecError(f"cells:0; choose 1 to {MOST_CELLS:,}, or write cells alone")
        return count

    def __str__(self) -> str:
        return f"{self.name}:{self.count}" if self.count else self.name

    def fit(self, x: Floats, *, seed: int, rows: int, code_bytes: int) -> Partition:
        """Train on a sample (n, d) float32.

        Parameters
        ----------
        rows : int
            Of the store, or of each of its shards.
        code_bytes : int
            That the codec takes a row; with `rows` it says how many centroids are cheap.

        Raises
        ------
        CodecError
            More cells are named than the sample has rows.
        """
        count = self.count or self._affordable(x, rows, code_bytes)
        self._require_room(count, x.shape[1])
        if count > len(x):
            raise CodecError(f"cells: {count:,} of them for a sample of {len(x):,} rows; write cells:{len(x)} or fewer")
        centroids = kmeans(x, count, seed=seed)
        d = x.shape[1]
        mean, exact, variances = principal_axes(centroids, min(d if count >= d else 2 * count, most_axes(d)))
        room = int(8 * (SHARE * rows * code_bytes - _other_bytes(count, d)))
        left = most = max(_least_bits(count, d), min(room, CENTROID_BITS[1] * count * d))
        while True:
            bits = _bits(variances, count, d, left)
            axes = Axes.principal(exact, variances, len(bits))
            taken = sum(array.nbytes for array in axes.arrays.values()) + COMPONENT_BYTES * len(bits)
            excess = 8 * taken + count * int(bits.sum()) - most
            if excess <= 0:
                break
            left -= excess  # axes of a steep spectrum take more than was reckoned
        components = (centroids - mean) @ axes.matrix.T  # components[cell, component]
        steps = np.maximum(components.std(axis=0), 1e-30) * STEPS[bits]
        middle = 1 << bits.astype(np.int64) - 1
        levels = np.clip(np.floor(components / steps) + middle, 0, 2 * middle - 1).astype(np.uint8)
        joined = join_uneven(levels, bits)
        self._require_worth(joined, d)
        return Partition(mean, axes, steps.astype("<f4"), bits, joined)

    @staticmethod
    def _require_room(count: int, dimensions: int) -> None:
        if not 1 <= count <= max(MOST_NUMBERS // dimensions, 1):
            raise CodecError(f"cells: {count:,} centroids of {dimensions:,} dimensions are too many to hold in memory")

    @staticmethod
    def _require_worth(levels: NDArray[np.uint8], dimensions: int) -> None:
        """Raise `CodecError` where centroids take far more memory than their levels (count, bytes) take in a file."""
        if len(levels) * dimensions > max(FEW_NUMBERS, MOST_OF_A_BYTE * levels.nbytes):
            raise CodecError(f"cells: {len(levels):,} centroids that {levels.nbytes:,} bytes tell apart; take fewer")

    @staticmethod
    def _affordable(x: Floats, rows: int, code_bytes: int) -> int:
        """Return the largest power of two of cells that take at most `SHARE` of the codes."""
        most = min(rows // ROWS_OF_A_CELL, len(x) // ROWS_OF_A_CELL, MOST_CELLS)
        count = 1
        while 2 * count <= most and size_bytes(2 * count, x.shape[1]) <= SHARE * rows * code_bytes:
            count *= 2
        return count

    def restore(self, dimensions: int, arrays: Arrays) -> Partition:
        """Rebuild from what `Partition.arrays` gave."""
        self._require_room(self.count, dimensions)
        components = arrays["bits"].size if "bits" in arrays else 0
        (bits,) = named(arrays, dtype="|u1", bits=(components,))
        if bits.min(initial=1) < 1 or bits.max(initial=1) > MOST_BITS:
            raise CodecError(f"the file's centroids have components of other than 1 to {MOST_BITS} bits")
        mean, scales = named(arrays, mean=(dimensions,), scales=(components,))
        if "axis_bits" in arrays:
            axes = Axes.restore(arrays, (components, dimensions))
        else:  # files of before: their scales belong to whole numbers
            (whole,) = named(arrays, dtype="|i1", axes=(components, dimensions))
            axes = Axes({"axes": whole}, whole.astype(np.float32))
        (levels,) = named(arrays, dtype="|u1", levels=(self.count, -(-int(bits.sum(dtype=np.int64)) // 8)))
        self._require_worth(levels, dimensions)
        return Partition(mean, axes, scales, bits, levels)


def size_bytes(count: int, dimensions: int) -> int:
    """Return what so many cells take in a shard at least."""
    return _least_bits(count, dimensions) // 8 + _other_bytes(count, dimensions)


def _least_bits(count: int, d: int) -> int:
    """Return the bits that axes and levels get, however few rows there are."""
    return max(CENTROID_BITS[0] * count * d, min(count - 1, FEW_AXES) * (_axis_bits(d) + MOST_BITS * count))


def _axis_bits(d: int) -> int:
    return AXIS_BITS * d + 8 * (1 + COMPONENT_BYTES)


def _other_bytes(count: int, dimensions: int) -> int:
    """Return what is stored beside axes and levels: their mean, the rest of the last byte of levels, and counts."""
    return 4 * dimensions + (1 + COUNT_BYTES) * count


class Partition:
    """Trained cells.

    With a centroid's levels l, ``mean + ((l - (2**bits - 1) / 2) * scales) @ axes`` is the centroid.

    Attributes
    ----------
    count, dimensions : int
    centroids : (count, dimensions) float32
        As they are when they were stored and read back.
    arrays : mapping of names to arrays
        What a file holds: `mean` (d) and `scales` (c) float32, those of `vecstore.codecs.axes.Axes`, `bits` (c) uint8,
        and `levels` (count, bytes) uint8, a centroid's levels side by side, each lowest bit first.
    cell_bytes : int
        That a cell's number takes where it does not follow from the position.
    """

    def __init__(
        self, mean: Floats, axes: Axes, scales: Floats, bits: NDArray[np.uint8], levels: NDArray[np.uint8]
    ) -> None:
        given: Arrays = {"mean": mean, **axes.arrays, "scales": scales, "bits": bits, "levels": levels}
        self.arrays: Mapping[str, NDArray[Any]] = {name: frozen(array) for name, array in given.items()}
        centroids, middle = np.empty((len(levels), len(mean)), np.float32), ((1 << bits.astype(np.int64)) - 1) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(levels), ADDED_ROWS):
                some = slice(start, start + ADDED_ROWS)
                components = (split_uneven(levels[some], bits) - middle).astype(np.float32) * scales
                centroids[some] = components @ axes.matrix + mean
        self._set(centroids)

    def _set(self, centroids: Floats) -> None:
        if not (np.abs(centroids) <= LARGEST).all():
            raise CodecError("the file's centroids are not finite numbers, or far too large")
        self.centroids = frozen(centroids.astype(np.float32))
        self.count, self.dimensions = self.centroids.shape
        self.cell_bytes = max(-(-(self.count - 1).bit_length() // 8), 1)
        self._halves = np.einsum("ij,ij->i", self.centroids, self.centroids) / 2

    def assign(self, x: Floats) -> NDArray[np.int64]:
        """Return the cell of each row of x (n, d), the nearest centroid's: (n,)."""
        cells = np.empty(len(x), np.int64)
        step = max(ASSIGN_SCORES // self.count, 1)
        for start in range(0, len(x), step):
            products = row_products(x[start : start + step], self.centroids.T)
            cells[start : start + step] = np.argmax(products - self._halves, axis=1)
        return cells

    def add(self, cells: NDArray[np.int64], residuals: Floats) -> Floats:
        """Add to each residual (n, d), in place, the centroid of its cell (n,); return the same array."""
        for start in range(0, len(residuals), ADDED_ROWS):
            residuals[start : start + ADDED_ROWS] += self.centroids.take(cells[start : start + ADDED_ROWS], axis=0)
        return residuals

    def prefix(self, dimensions: int) -> Partition:
        """Return the same cells with centroids cut to the first dimensions; it has no arrays to store."""
        shorter = Partition.__new__(Partition)
        shorter.arrays = {}
        shorter._set(self.centroids[:, :dimensions])
        return shorter


def _bits(variances: NDArray[np.float64], count: int, d: int, left: int) -> NDArray[np.uint8]:
    """Return the bits of the first components: they go, one by one, where they lower the error most for what they cost.

    All take about `left` bits at most.

    A bit costs one of every centroid; the first one of a component costs its axis as well.
    """
    bits = np.zeros(len(variances), np.int64)
    while True:
        costs = count + np.where(bits == 0, _axis_bits(d), 0)
        worth = variances * GAINS[bits] / costs
        worth[costs > left] = 0
        best = int(worth.argmax())
        if worth[best] <= 0:
            return bits[bits > 0].astype(np.uint8)
        bits[best] += 1
        left -= int(costs[best])
