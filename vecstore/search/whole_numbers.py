"""Coefficients of `tcq` codes and queries as whole numbers, for kernels that multiply bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.kernels import arguments
from vecstore.kernels.arguments import WholeQueries
from vecstore.kernels.layout import ENTRIES
from vecstore.search.coefficients import Coefficients
from vecstore.search.trellis import Stage

__all__ = ["WholeNumbers"]

ZERO, MOST_BYTE, MOST_WEIGHT = 64, 63, 64  # what stands for 0, and how far from it bytes and weights go
TOGETHER, STEP = 8, 4  # coefficients that a kernel multiplies at once, and looks up
NARROW, INDEX_BITS = 16, 6


@dataclass(frozen=True)
class WholeNumbers:
    """What bytes stand for the coefficients of codes.

    Attributes
    ----------
    kernel : arguments.WholeNumbers
    order : (coefficients,) int64
        In which coefficients come there; others, up to a multiple of 8, are 0.
    step : float
        Coefficients are so many times a byte less ZERO.
    """

    kernel: arguments.WholeNumbers
    order: NDArray[np.int64]
    step: float

    @classmethod
    def of(cls, stage: Stage) -> WholeNumbers:
        """Return those of all coefficients that a stage looks at."""
        levels = stage.kernel.levels
        step = max(float(np.abs(levels).max(initial=0)) / MOST_BYTE, 1e-30)
        numbers = (np.rint(levels / step) + ZERO).astype(np.uint8)
        shifts = np.array([_shift(own) for own in levels], np.int32)
        order = np.argsort(shifts >= 0, kind="stable")  # wide ones first
        wide = -(-int((shifts < 0).sum()) // STEP) * STEP
        room = max(-(-len(order) // TOGETHER) * TOGETHER, wide)
        owners, own_shifts = np.zeros(room, np.int64), np.zeros(room, np.int32)
        tables = np.full((room, ENTRIES), ZERO, np.uint8)
        owners[: len(order)], tables[: len(order)] = stage.kernel.owners[order], numbers[order]
        own_shifts[: len(order)] = np.maximum(shifts[order], 0)
        narrow = np.stack([tables[at, np.arange(NARROW) << own_shifts[at] & ENTRIES - 1] for at in range(room)])
        kernel = arguments.WholeNumbers(owners, own_shifts, tables[:wide], np.ascontiguousarray(narrow[wide:]))
        return cls(kernel, order, step)

    def queries(self, coefficients: Coefficients, given: Floats, *, unit: bool) -> WholeQueries:
        """Return queries (q, d) as whole weights; of cosines with rows where `unit` is set, else of products."""
        weights, biases = coefficients.weights(given)
        if unit:
            weights = np.concatenate([weights, coefficients.linear[None]])
        steps = np.maximum(np.abs(weights).max(axis=1), 1e-30).astype(np.float64) / MOST_WEIGHT
        whole = np.zeros((len(weights), len(self.kernel.owners)), np.int8)
        whole[:, : weights.shape[1]] = np.rint(weights / steps[:, None])[:, self.order]
        factors, zeros = self.step * steps, -ZERO * whole.sum(axis=1, dtype=np.int64)
        count, square = len(given), np.empty(0)
        if unit:
            constant = factors[-1] * zeros[-1] + coefficients.constant
            square = np.array([coefficients.scale * self.step**2, factors[-1], constant])
        shifts = (biases / factors[:count] + zeros[:count]).astype(np.float32)
        return WholeQueries(whole.view(np.uint8), shifts, factors[:count], square)


def _shift(levels: Floats) -> int:
    """Return the lowest of the four bits, next to each other, by which an index tells a coefficient, -1 if more do."""
    index = np.arange(ENTRIES)
    for shift in range(INDEX_BITS):
        if (levels[(index >> shift & NARROW - 1) << shift & ENTRIES - 1] == levels).all():
            return shift
    return -1
