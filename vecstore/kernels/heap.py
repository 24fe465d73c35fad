"""The best k of scored rows, kept as a heap whose root is the worst of them."""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Heap
from vecstore.kernels.borrowing import borrowing

__all__ = ["all_bounded", "bound_of", "offer_all", "offer_listed", "push", "sort_heaps"]

TOGETHER = 64  # scores of which hardly ever one reaches the floor


@borrowing
def push(scores, rows, size, score, row):
    """Consider a row for scores[k], rows[k], of which `size` are filled; return the new size.

    Of equal scores the lower row is better. Once the heap is full, scores[0] is what a row has to exceed.
    """
    k = len(scores)
    if size < k:
        i = size
        while i > 0:  # move worse parents down
            parent = (i - 1) >> 1
            if not (score < scores[parent] or (score == scores[parent] and row > rows[parent])):
                break
            scores[i], rows[i] = scores[parent], rows[parent]
            i = parent
        scores[i], rows[i] = score, row
        return size + 1
    if score > scores[0] or (score == scores[0] and row < rows[0]):
        replace_root(scores, rows, k, score, row)
    return size


@borrowing
def replace_root(scores, rows, size, score, row):
    """Put a row in the place of the worst one of a heap."""
    i = 0
    while True:  # move worse children up
        child = 2 * i + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            scores[other] < scores[child] or (scores[other] == scores[child] and rows[other] > rows[child])
        ):
            child = other
        if not (scores[child] < score or (scores[child] == score and rows[child] > row)):
            break
        scores[i], rows[i] = scores[child], rows[child]
        i = child
    scores[i], rows[i] = score, row


@borrowing
def sort_heaps(heaps):
    """Leave every query's rows best first, and equal scores in row order."""
    heap = Heap(*heaps)
    for q in range(len(heap.sizes)):
        scores, rows = heap.scores[q], heap.rows[q]
        for end in range(heap.sizes[q] - 1, 0, -1):  # the worst of those before goes to the end
            score, row = scores[end], rows[end]
            scores[end], rows[end] = scores[0], rows[0]
            replace_root(scores, rows, end, score, row)


@njit(inline="always")
def bound_of(q, heap):
    """Return the score that a row has to reach to enter a query's heap."""
    floor = heap.floors[q]
    return max(floor, heap.scores[q, 0]) if heap.sizes[q] == heap.scores.shape[1] else floor


@borrowing
def all_bounded(heap):
    """Return whether there is such a score for every query."""
    for q in range(len(heap.sizes)):
        if heap.sizes[q] < heap.scores.shape[1] and heap.floors[q] == -np.inf:
            return False
    return True


@borrowing
def offer_all(found, rows, heaps):
    """Consider found[query, i], the score of row rows[i], for every query, where it is at least the query's floor."""
    heap, n = Heap(*heaps), found.shape[1]
    for q in range(found.shape[0]):
        least = bound_of(q, heap)
        for start in range(0, n, TOGETHER):
            stop, reaching = min(start + TOGETHER, n), 0
            for i in range(start, stop):  # without a branch, so that several are compared at a time
                reaching += found[q, i] >= least
            if not reaching:
                continue
            for i in range(start, stop):
                if found[q, i] >= least:
                    heap.sizes[q] = push(heap.scores[q], heap.rows[q], heap.sizes[q], found[q, i], rows[i])
                    least = bound_of(q, heap)


@borrowing
def offer_listed(found, rows, indptr, heaps):
    """Consider found[i], the score of row rows[i], for query q where indptr[q] <= i < indptr[q + 1]."""
    heap = Heap(*heaps)
    for q in range(len(indptr) - 1):
        least = bound_of(q, heap)
        for i in range(indptr[q], indptr[q + 1]):
            if found[i] >= least:
                heap.sizes[q] = push(heap.scores[q], heap.rows[q], heap.sizes[q], found[i], rows[i])
                least = bound_of(q, heap)
