"""Find the best rows of tiled codes: 8-bit tables sort out nearly all rows, exact tables score the rest.

Every entry of the 8-bit tables is rounded up, so the sum for a row bounds its score from above, and a row is passed
over only if it cannot enter the best k: the result is what scoring every row by the exact tables gives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from vecstore.kernels.arguments import PRODUCT, SQUARED, Heap, TableQueries, Tiles
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.byte import byte_masks
from vecstore.kernels.heap import all_bounded, bound_of, push
from vecstore.kernels.nibble import nibble_masks
from vecstore.kernels.simd import number_of
from vecstore.kernels.small_tables import empty_tables, expected, layout_of, refined, renew, set_threshold

CHUNK = 8  # tiles between two looks at the thresholds
FEW_QUERIES = 3  # up to so many have little to do with each tile, and take longer chunks: of so many
LONG_CHUNK = 1 << 19  # bytes of code
FIRST_LOOK = 64  # tiles of which those rows are scored first that may well be among the best
FIRST_REFILL = 4096  # rows after which tables are made anew for what was learned; next at four times as many
OVERRUN = 96  # bytes behind a tile that a kernel may read
NOTHING = 1e-30  # |x|^2 up to which a vector counts as zero, and its score as 0


class Chunk(NamedTuple):
    """Rows `first` to `stop`; the tiles of `tile_bytes` from row `row` on begin at codes[start]."""

    codes: NDArray[np.uint8]
    start: int
    tile_bytes: int
    row: int
    first: int
    stop: int


@njit(cache=True, nogil=True)
def scan_tiles(bits, level, where, asked, found, ranges, allowed):
    tiles, queries, heap = Tiles(*where), TableQueries(*asked), Heap(*found)
    layout = layout_of(bits, level)
    count, tile_bytes = len(heap.sizes), 32 * tiles.row_bytes
    small = empty_tables(layout, count, queries.terms, queries.two_digits)
    longest = CHUNK
    if count <= FEW_QUERIES and not mostly_empty(allowed):
        longest = max(LONG_CHUNK // tile_bytes, CHUNK)
    masks, spare = np.empty((count, longest), np.uint32), np.empty(longest * tile_bytes + OVERRUN, np.uint8)
    exact, passed, refill, ready, rows = 0, 0, 0, False, 0
    for each in range(len(ranges)):
        rows += ranges[each, 1] - ranges[each, 0]
    rank = rows / heap.scores.shape[1]
    for each in range(len(ranges)):
        first, last = ranges[each, 0], ranges[each, 1]
        row = first & ~31
        while row < last:
            # Short chunks at first, while each row that is scored raises the thresholds: an eighth of what was passed.
            block_end = (row // tiles.block_rows + 1) * tiles.block_rows
            ready = ready or all_bounded(heap)
            first_look = ready and not refill
            stop = min(last, block_end, row + 32 * min(FIRST_LOOK if first_look else max(passed >> 8, 1), longest))
            wide = (stop - row + 31) >> 5
            if len(allowed) and not some_of(allowed, row >> 5, wide):
                row = stop
                continue
            codes, start = readable(tiles, row, wide, spare)
            chunk = Chunk(codes, start, tile_bytes, row, max(first, row), stop)
            if ready:
                if passed >= refill:
                    refill = max(4 * passed, FIRST_REFILL)
                    for q in range(count):
                        renew(q, layout, queries, heap, small, rank)
                if first_look:
                    exact += look_first(bits, level, layout, chunk, wide, masks, queries, small, heap, allowed)
                else:
                    mark(bits, level, chunk, wide, small, masks)
            for q in range(count):
                if ready and not some_of(masks[q], 0, wide):
                    continue
                exact += offer_chunk(level, layout, q, ready, chunk, masks, queries, small, heap, allowed)
            passed += stop - row
            row = stop
    return exact


@njit(cache=True, nogil=True)
def look_first(bits, level, layout, chunk, wide, masks, queries, small, heap, allowed):
    """Score rows that are likely to be among the best of a chunk, and mark the others that may still matter.

    What these rows score, all others have to reach. Return how many they were.
    """
    count, exact, hopeful, likely = len(heap.sizes), 0, False, np.empty(masks.shape, np.uint32)
    for q in range(count):
        bound, hoped = bound_of(q, heap), expected(small.seen[q], 32 * wide / heap.scores.shape[1])
        hopeful |= hoped > bound
        set_threshold(q, max(hoped, bound), queries, small)
    if not hopeful:
        mark(bits, level, chunk, wide, small, masks)
        return 0
    mark(bits, level, chunk, wide, small, likely)
    for q in range(count):
        exact += offer_chunk(level, layout, q, True, chunk, likely, queries, small, heap, allowed)
        set_threshold(q, bound_of(q, heap), queries, small)
    mark(bits, level, chunk, wide, small, masks)
    for q in range(count):
        for i in range(wide):
            masks[q, i] &= ~likely[q, i]
    return exact


@njit(cache=True, nogil=True)
def mark(bits, level, chunk, wide, small, masks):
    """Mark the rows of a chunk whose sums reach the thresholds."""
    own = len(small.entries) // len(small.thresholds)
    tile_masks(
        bits, level, chunk.codes, chunk.start, chunk.tile_bytes, wide, small.entries, own, small.thresholds, masks
    )


@njit(cache=True, nogil=True)
def score_tiles(where, asked, indptr, rows, out):
    """out[i]: the exact score of row rows[i] for query q, where indptr[q] <= i < indptr[q + 1]."""
    tiles, queries = Tiles(*where), TableQueries(*asked)
    norm_terms, norm_bias = queries.norm_terms, queries.norm_bias
    for q in range(len(indptr) - 1):
        terms, bias = queries.terms[q], queries.biases[q]
        for i in range(indptr[q], indptr[q + 1]):
            block, row = rows[i] // tiles.block_rows, rows[i] % tiles.block_rows
            at = tiles.offsets[block] + (row & ~31) * tiles.row_bytes + (row & 31)
            out[i] = score(tiles.data, at, terms, norm_terms, bias, norm_bias, queries.kind)


@borrowing
def offer_chunk(level, layout, q, ready, chunk, masks, queries, small, heap, allowed):
    """Score the rows of a chunk that may matter to a query, and offer them; leave these in masks, return how many."""
    codes, scores, rows = chunk.codes, heap.scores[q], heap.rows[q]
    terms, norm_terms, bias, norm_bias = queries.terms[q], queries.norm_terms, queries.biases[q], queries.norm_bias
    size, floor, exact, seen = heap.sizes[q], heap.floors[q], 0, small.seen[q]
    for i in range((chunk.stop - chunk.row + 31) >> 5):
        mask = masks[q, i] if ready else np.uint32(0xFFFFFFFF)
        if len(allowed):
            mask &= allowed[(chunk.row >> 5) + i]
        at, row = chunk.start + i * chunk.tile_bytes, chunk.row + 32 * i
        mask &= np.uint32(0xFFFFFFFF) << np.uint32(max(chunk.first - row, 0))
        if ready and len(small.digits) and mask & (mask - np.uint32(1)):
            mask &= refined(level, layout, q, codes, at, small)
            masks[q, i] = mask
        while mask:
            if mask & np.uint32(1) and row < chunk.stop:
                found = score(codes, at, terms, norm_terms, bias, norm_bias, queries.kind)
                exact += 1
                if not ready:
                    seen[0], seen[1], seen[2] = seen[0] + 1, seen[1] + found, seen[2] + found * found
                if found >= floor:
                    before = scores[0]
                    size = push(scores, rows, size, found, row)
                    if size == len(scores) and scores[0] != before:
                        floor = max(floor, scores[0])
                        heap.floors[q] = max(heap.floors[q], floor)
                        if ready:
                            set_threshold(q, floor, queries, small)
            mask >>= np.uint32(1)
            at += 1
            row += 1
    heap.sizes[q] = size
    return exact


@njit(inline="always")
def some_of(masks, first, count):
    """Return whether one of some masks has a bit set."""
    some = np.uint32(0)
    for i in range(first, first + count):
        some |= masks[i]
    return some != 0


@borrowing
def mostly_empty(allowed):
    """Return whether less than half of the groups of rows hold one that may be found: short chunks pass over them."""
    some = 0
    for i in range(len(allowed)):
        some += allowed[i] != 0
    return 2 * some < len(allowed)


@njit(inline="always")
def readable(tiles, row, count, spare):
    """Return an array, and where some tiles begin in it, that a kernel may read beyond."""
    block, size = row // tiles.block_rows, count * 32 * tiles.row_bytes
    start = tiles.offsets[block] + (row - block * tiles.block_rows) * tiles.row_bytes
    if start + size + OVERRUN <= tiles.ends[block]:
        return tiles.data, start
    for i in range(size):  # a slice assigned would compile the text of its error, for seconds
        spare[i] = tiles.data[start + i]
    return spare, 0


def tile_masks(bits, level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    """Call `nibble_masks` or `byte_masks`."""
    raise NotImplementedError


@overload(tile_masks, jit_options={"nogil": True})
def _tile_masks(bits, level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    kernel = nibble_masks if number_of(bits) == 4 else byte_masks

    def masks_of(bits, level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
        kernel(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks)

    return masks_of


@borrowing
def score(codes, at, terms, norm_terms, bias, norm_bias, kind):
    """Return the exact score of the row whose code bytes lie 32 apart from codes[at] on."""
    product, norm, more_product, more_norm = bias, norm_bias, 0.0, 0.0  # two chains of additions each, side by side
    if terms.shape[1] == 16:
        for j in range(terms.shape[0] // 2):
            value = codes[at + 32 * j]
            low, high = value & np.uint8(15), value >> np.uint8(4)
            product += terms[2 * j, low]
            more_product += terms[2 * j + 1, high]
            if kind != PRODUCT:
                norm += norm_terms[2 * j, low]
                more_norm += norm_terms[2 * j + 1, high]
    else:
        for j in range(terms.shape[0]):
            value = codes[at + 32 * j]
            product += terms[j, value]
            if kind != PRODUCT:
                norm += norm_terms[j, value]
    product, norm = product + more_product, norm + more_norm
    if kind == PRODUCT:
        return product
    if kind == SQUARED:
        return 2 * product - norm
    return product / np.sqrt(norm) if norm > NOTHING else 0.0
