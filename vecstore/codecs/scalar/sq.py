"""Scalar quantization: each dimension by itself, on a uniform grid of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Numbers, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.members import Among
from vecstore.codecs.packing import join, paired, split
from vecstore.kernels import entries

__all__ = ["SQ"]

KERNEL_ROWS = 64  # from so many rows on, compiled code pays for being loaded


@dataclass(frozen=True)
class SQ(Quantizer):
    """Round each dimension to one of 2**bits levels between two bounds trained for that dimension.

    The bounds are the shrunken range of the sample that has the least squared error, at 8 bits with a margin for rows
    that were not in the sample; values beyond them are clipped. Codes: 8 bits are a byte a dimension; 4 bits two
    dimensions a byte, the even one low; 6 bits the upper four bits of all dimensions as for 4, then the lower two,
    four dimensions a byte, the first one lowest.
    """

    bits: Annotated[int, Among(4, 6, 8)] = 8

    name = "sq"
    summary = "scalar quantizer, 2**B levels a dimension"
    usage = "sq:8, sq:6 or sq:4"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        z = z[: 1 << 14]
        middle, low, high = z.mean(axis=0), z.min(axis=0), z.max(axis=0)
        best = np.full(z.shape[1], np.inf, np.float32)
        bounds = np.stack([low, high])
        for shrink in np.linspace(1, 0.3, 15, dtype=np.float32):
            tried = np.stack([middle + shrink * (low - middle), middle + shrink * (high - middle)])
            error = TrainedSQ(self.bits, *self._grid(tried)).errors(z)
            better = error < best
            best = np.where(better, error, best)
            bounds = np.where(better, tried, bounds)
        if self.bits == 8:  # levels are so fine that clipping costs more than it saves
            # As far as the next maximum of a Gaussian exceeds that of n on average, σ / √(2 ln n), as a share of the
            # latter, σ √(2 ln n) (Gumbel, Statistics of Extremes, 1958, section 4.2).
            bounds = middle + np.float32(1 + 0.5 / np.log(len(z) + 1)) * (bounds - middle)
        return TrainedSQ(self.bits, *self._grid(bounds))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        return TrainedSQ(self.bits, *named(arrays, lowest=(dimensions,), steps=(dimensions,)))

    def _grid(self, bounds: Floats) -> tuple[Floats, Floats]:
        low, high = bounds
        steps = (high - low) / np.float32((1 << self.bits) - 1)
        return low.astype("<f4"), np.where(steps > 0, steps, 1).astype("<f4")


class TrainedSQ(TrainedQuantizer):
    def __init__(self, bits: int, lowest: Floats, steps: Floats) -> None:
        self.bits, self.lowest, self.steps = bits, frozen(lowest), frozen(steps)
        self._most = float((1 << bits) - 1)
        self.dimensions = d = len(lowest)
        self.code_bytes = {8: d, 6: -(-d // 2) + -(-d // 4), 4: -(-d // 2)}[bits]
        self.tile_rows, self.code_kind = (32, "tables16") if bits == 4 else (1, "numbers")

    def errors(self, z: Floats) -> Floats:
        """Return the mean squared error of each dimension: (d,)."""
        sums = np.empty(self.dimensions, np.float32)
        entries.sum_errors(np.ascontiguousarray(z), self.lowest, self.steps, self._most, sums)
        return sums / np.float32(len(z))

    def levels(self, z: Floats) -> NDArray[np.uint8]:
        """Return the level of each dimension: (n, d) uint8."""
        levels = np.empty(z.shape, np.uint8)
        entries.encode_levels(np.ascontiguousarray(z), self.lowest, self.steps, self._most, levels)
        return levels

    def encode(self, z: Floats) -> Codes:
        levels = self.levels(z)
        if self.bits == 8:
            return levels
        if self.bits == 4:
            return join(levels, 2)
        return np.concatenate([join(levels >> np.uint8(2), 2), join(levels & np.uint8(3), 4)], axis=1)

    def decode(self, codes: Codes) -> Floats:
        if self.bits == 8:
            levels = codes
        elif self.bits == 4:
            levels = split(codes, 2, self.dimensions)
        else:
            upper = -(-self.dimensions // 2)
            levels = split(codes[:, :upper], 2, self.dimensions) << np.uint8(2)
            levels |= split(codes[:, upper:], 4, self.dimensions)
        if len(levels) < KERNEL_ROWS:
            return levels * self.steps + self.lowest
        z = np.empty(levels.shape, np.float32)
        entries.decode_levels(np.ascontiguousarray(levels), self.lowest, self.steps, z)
        return z

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        if self.bits != 4:
            return None
        values = self.lowest[:, None] + self.steps[:, None] * np.arange(16, dtype=np.float32)  # values[d, level]
        terms = linear[:, :, None] * values
        if quadratic is not None:
            terms += quadratic[:, None] * values * values
        return paired(terms)

    @property
    def numbers(self) -> Numbers | None:
        if self.bits == 4:
            return None
        return Numbers("u1" if self.bits == 8 else "u6", self.steps, self.lowest)

    def prefix(self, dimensions: int) -> TrainedQuantizer | None:
        if self.bits == 6:  # its lower bits lie behind all upper ones
            return None
        return TrainedSQ(self.bits, self.lowest[:dimensions], self.steps[:dimensions])

    @property
    def arrays(self) -> Arrays:
        return {"lowest": self.lowest, "steps": self.steps}
