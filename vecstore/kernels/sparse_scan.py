"""Scores of sparse rows by inverted lists: the best of a group, or those of some rows.

Term at a time: list after list adds what it says of a segment into sums that stay in the cache. Sums are float64, in
the order of terms, so a score is what a product with the rows as a sorted CSR matrix gives, bit by bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Heap, Lists
from vecstore.kernels.heap import bound_of, push
from vecstore.kernels.sparse import SEGMENT_ROWS, add_segment

__all__ = ["scan_lists", "score_lists"]

RUN = 64  # sums that are compared at once


@njit(cache=True, nogil=True)
def scan_lists(lists, chosen, factors, order, bounds, first, allowed, heaps, q):
    """Offer query q's heap the rows of a group; return whether the lists are sound.

    Parameters
    ----------
    lists : Lists
    chosen, factors : (terms,) int64, (terms,) float64
        Numbers of lists, ascending, and by what their codes are multiplied.
    order, bounds : (segments,) int64, (segments,) float64
        Segments in the order in which to look at them, and the most that a row of each can score: where that is not
        enough to be found, the rest of them is left out.
    first : int
        The number of the group's first row.
    allowed : (words,) uint32
        Bit i of word j: whether row 32 j + i may be found; empty for all.
    heaps : Heap
    q : int
    """
    lists, heap = Lists(*lists), Heap(*heaps)
    sums = np.empty(SEGMENT_ROWS, np.float64)
    for segment in order:
        least = bound_of(q, heap)
        if bounds[segment] < least:
            break
        if not add_segment(lists, chosen, factors, segment, sums):
            return False
        low = segment * SEGMENT_ROWS
        held = min(lists.rows - low, SEGMENT_ROWS)
        for start in range(0, held, RUN):
            stop, reached = min(start + RUN, held), 0
            for row in range(start, stop):
                reached += sums[row] >= least
            if reached == 0:
                continue
            for row in range(start, stop):
                number = first + low + row
                if sums[row] >= least and (len(allowed) == 0 or (allowed[number >> 5] >> np.uint32(number & 31)) & 1):
                    heap.sizes[q] = push(heap.scores[q], heap.rows[q], heap.sizes[q], sums[row], number)
                    least = bound_of(q, heap)
    return True


@njit(cache=True, nogil=True)
def score_lists(lists, chosen, factors, rows, out):
    """out[i] = score of row rows[i] of a group, ascending; return whether the lists are sound."""
    lists = Lists(*lists)
    sums = np.empty(SEGMENT_ROWS, np.float64)
    segment = -1
    for i in range(len(rows)):
        if rows[i] // SEGMENT_ROWS != segment:
            segment = rows[i] // SEGMENT_ROWS
            if not add_segment(lists, chosen, factors, segment, sums):
                return False
        out[i] = sums[rows[i] - segment * SEGMENT_ROWS]
    return True
