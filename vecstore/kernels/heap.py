"""The best k of scored rows, kept as a heap whose root is the worst of them."""

from __future__ import annotations

from numba import njit

__all__ = ["offer_all", "push"]


@njit(cache=True, nogil=True)
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
    if not (score > scores[0] or (score == scores[0] and row < rows[0])):
        return size
    i = 0
    while True:  # move worse children up
        child = 2 * i + 1
        if child >= k:
            break
        other = child + 1
        if other < k and (
            scores[other] < scores[child] or (scores[other] == scores[child] and rows[other] > rows[child])
        ):
            child = other
        if not (scores[child] < score or (scores[child] == score and rows[child] > row)):
            break
        scores[i], rows[i] = scores[child], rows[child]
        i = child
    scores[i], rows[i] = score, row
    return size


@njit(cache=True, nogil=True)
def offer_all(found, rows, floors, heap_scores, heap_rows, sizes):
    """Consider found[query, i], the score of row rows[i], for every query, where it is at least floors[query]."""
    k = heap_scores.shape[1]
    for q in range(found.shape[0]):
        least = floors[q]
        if sizes[q] == k:
            least = max(least, heap_scores[q, 0])
        for i in range(found.shape[1]):
            if found[q, i] >= least:
                sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], found[q, i], rows[i])
                if sizes[q] == k:
                    least = max(least, heap_scores[q, 0])
