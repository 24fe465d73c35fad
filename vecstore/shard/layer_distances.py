"""How far the fine layer's vectors lie from the coarse layer's, one byte a row: what makes a bound of every score.

For any query q and vectors f (fine) and c (coarse), q . f <= q . c + |q| |f - c| (Cauchy and Schwarz), and a distance
to f is no less than that to c minus |f - c|. The byte holds |f - c|, rounded up, as a multiple of a scale kept for each
4,096 rows; where the metric is the cosine, f and c are scaled to length one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.block_buffer import BlockBuffer
from vecstore.container.container import ColumnWriter, Container, ContainerWriter
from vecstore.container.joined_part import join
from vecstore.container.part import Part
from vecstore.errors import CorruptError

__all__ = ["GROUP_ROWS", "LAYER_DISTANCE_BYTES", "PART", "LayerDistanceWriter", "LayerDistances", "distances"]

PART, SCALES = "residuals", "residuals.scales"
GROUP_ROWS = 4096
LAYER_DISTANCE_BYTES = 1 + 4 / GROUP_ROWS  # of a row
ROUNDING = 4e-6  # of a vector's length: scores are computed in float32


def distances(coarse: Floats, fine: Floats, *, directions: bool) -> Floats:
    """Return how far what both layers decode to, (n, d) each, lies apart, with a margin for rounding: (n,).

    With `directions` both are scaled to length one before.
    """
    if directions:
        coarse, fine = unit(coarse), unit(fine)
    gaps = np.linalg.norm(fine - coarse, axis=1) + ROUNDING * np.linalg.norm(fine, axis=1)
    return np.asarray(gaps, np.float32)


class LayerDistanceWriter:
    """Write the bounds as the rows arrive."""

    def __init__(self, container: ContainerWriter) -> None:
        self._bytes = ColumnWriter(container, PART, "|u1")
        self._scales = ColumnWriter(container, SCALES, "<f4")
        self._group = BlockBuffer(np.empty(GROUP_ROWS, np.float32))

    def add(self, gaps: Floats) -> None:
        """Append rows: their distances (n,), as `distances` gives them."""
        for group in self._group.add(gaps):
            self._put(group)

    def close(self) -> None:
        """Write the last rows and declare the parts."""
        self._put(self._group.rest())
        self._bytes.close()
        self._scales.close()

    def _put(self, gaps: Floats) -> None:
        """Write a group of rows under one scale."""
        if not len(gaps):
            return
        scale = np.nextafter(np.float32(gaps.max() / 255 * 1.00001), np.float32(np.inf))
        self._scales.add(np.array([scale], np.float32))
        self._bytes.add(np.ceil(gaps / scale).astype(np.uint8))


class LayerDistances:
    """The bounds of a shard's rows; or of the rows of several shards, one behind the other.

    Attributes
    ----------
    largest : float
        No row's bound is larger.
    """

    def __init__(self, parts: Sequence[Part], scales: Sequence[Floats]) -> None:
        self._parts, self._of_each, self._part = parts, scales, join(parts)
        self._scales = np.concatenate(scales)
        self._edges = np.cumsum([0, *(part.rows for part in parts)])
        self._first_groups = np.cumsum([0, *map(len, scales)])
        self.largest = float(self._scales.max(initial=0)) * 255

    @classmethod
    def read(cls, container: Container, rows: int) -> Self:
        """Return those of a shard."""
        part = container.expect(PART, "|u1", (rows,))
        scales = container.expect(SCALES, "<f4", (-(-rows // GROUP_ROWS),)).array()
        if not np.isfinite(scales).all() or scales.min(initial=0) < 0:
            raise CorruptError("part 'residuals.scales' is malformed", path=container.path)
        return cls([part], [scales])

    @classmethod
    def joined(cls, each: Sequence[LayerDistances]) -> LayerDistances:
        """Return those of several shards as one."""
        if len(each) == 1:
            return each[0]
        return cls([part for own in each for part in own._parts], [scale for own in each for scale in own._of_each])

    def of(self, rows: NDArray[np.int64]) -> Floats:
        """Return the bounds of rows in range: (n,) float32."""
        shard = np.searchsorted(self._edges, rows, side="right") - 1
        group = self._first_groups[shard] + (rows - self._edges[shard]) // GROUP_ROWS
        return np.asarray(self._part.values(self._part.slots_of(rows)) * self._scales[group], np.float32)
