"""The best rows by what they are decoded to, found by exact scores and by how far these can be off."""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Heap
from vecstore.kernels.borrowing import OPTIONS, borrowing
from vecstore.kernels.heap import TOGETHER, bound_of, push

__all__ = ["offer_near"]


# fastmath: sums are compared; several numbers are multiplied at a time.
@njit(fastmath={"reassoc", "contract"}, **OPTIONS)
def _product(x, y):
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


@borrowing
def offer_near(scores, shifts, gaps, reach, queries, decoded, weights, less, rows, heaps):
    """Consider decoded rows for every query: those whose score may reach its floor, and only they are scored.

    A decoded row scores weights[i] * queries[q] . decoded[i] - less[i], which is at most scores[q, i], that of the row
    itself, + shifts[i] + gaps[i] * reach[q]. Returns how many were scored.
    """
    heap, n, scored = Heap(*heaps), scores.shape[1], 0
    for q in range(scores.shape[0]):
        least, far = bound_of(q, heap), reach[q]
        for start in range(0, n, TOGETHER):
            stop, reaching = min(start + TOGETHER, n), 0
            for i in range(start, stop):  # without a branch, so that several are compared at a time
                reaching += scores[q, i] + shifts[i] + gaps[i] * far >= least
            if not reaching:
                continue
            for i in range(start, stop):
                if scores[q, i] + shifts[i] + gaps[i] * far >= least:
                    scored += 1
                    score = weights[i] * _product(queries[q], decoded[i]) - less[i]
                    heap.sizes[q] = push(heap.scores[q], heap.rows[q], heap.sizes[q], score, rows[i])
                    least = bound_of(q, heap)
    return scored
