"""Find the best rows of codes that are plain numbers, a row's side by side."""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import PRODUCT, SQUARED, Heap, NumberQueries, Tiles
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.dense import GROUP, norm, product, whole_product, whole_products_reach
from vecstore.kernels.heap import bound_of, push
from vecstore.kernels.numbers import RUN, NumberKind
from vecstore.kernels.table_scan import NOTHING
from vecstore.kernels.trellis_planes import fetch

OVERRUN = 64  # bytes behind a row that a kernel may read
ALL_OF_GROUP = np.uint32((1 << GROUP) - 1)
FEW = 4  # rows of a group that are sooner multiplied one by one: a row alone takes four times as long
ROUNDED = 1 - 1e-6  # so that a length in float32 is not above what it stands for
AHEAD, LINE = 4, 64  # rows that are fetched while one is scored, and bytes of a cache line


@njit(cache=True, nogil=True)
def score_numbers(number_kind, where, asked, indptr, rows, out):
    kind, tiles, queries = NumberKind(*number_kind), Tiles(*where), NumberQueries(*asked)
    d, data_at, last = queries.weights.shape[1], tiles.data.ctypes.data, indptr[len(indptr) - 1]
    spare = np.empty(d, np.uint8)
    for q in range(len(indptr) - 1):
        for i in range(indptr[q], indptr[q + 1]):
            if i + AHEAD < last:
                then = data_at + start_of(tiles, rows[i + AHEAD])
                for byte in range(0, tiles.row_bytes, LINE):
                    fetch(then + byte)
            start = start_of(tiles, rows[i])
            address = data_at + start
            if kind.six:
                unpack_six(tiles.data, start, tiles.row_bytes, 1, d, spare)
                address = np.int64(spare.ctypes.data)
            out[i] = raw_score(kind.tag, address, q, queries)


@njit(cache=True, nogil=True)
def scan_numbers(number_kind, level, where, asked, found, ranges, allowed):
    kind, tiles, queries, heap = NumberKind(*number_kind), Tiles(*where), NumberQueries(*asked), Heap(*found)
    count, d, row_bytes = len(heap.sizes), queries.weights.shape[1], tiles.row_bytes
    spare = np.empty(32 * max(row_bytes, d) + OVERRUN, np.uint8)
    data, data_at, spare_at = (
        tiles.data,
        tiles.data.ctypes.data,
        np.int64(spare.ctypes.data),
    )  # signed: with both kinds it were a float
    weights_at, whole_at, bounds = queries.weights.ctypes.data, queries.whole_weights.ctypes.data, queries.bounds
    whole_bytes = queries.whole_weights.strides[0] if len(queries.whole_weights) else 0
    whole_d = queries.whole_weights.shape[1]
    exact = 0
    for each in range(len(ranges)):
        row, last = ranges[each, 0], ranges[each, 1]
        while row < last:
            block = row // tiles.block_rows
            stop = min(last, (block + 1) * tiles.block_rows, (row | 31) + 1)
            bits = allowed[row >> 5] >> np.uint32(row & 31) if len(allowed) else np.uint32(0xFFFFFFFF)
            if bits == 0:
                row = stop
                continue
            least = least_length(kind.tag, tiles, row, last, queries)
            start, size, stride = start_of(tiles, row), (stop - row) * row_bytes, row_bytes
            address = data_at + start
            if kind.six:
                unpack_six(data, start, row_bytes, stop - row, d, spare)
                address, stride = spare_at, d
            elif start + size + OVERRUN > tiles.ends[block]:
                for i in range(size):  # a slice assigned would compile the text of its error, for seconds
                    spare[i] = data[start + i]
                address = spare_at
            for q in range(count):
                limit = needed_product(bound_of(q, heap), q, queries, least)
                if whole_bytes:
                    whole = as_whole((limit - bounds[q, 0]) / bounds[q, 1])
                    weights = whole_at + q * whole_bytes
                    mask = whole_mask(level, address, stride, stop - row, weights, whole_d, whole, bits)
                else:
                    mask = product_mask(kind.tag, address, stride, stop - row, weights_at + 4 * q * d, d, limit, bits)
                if mask:
                    exact += offer_rows(kind.tag, mask, address, stride, row, q, queries, heap)
            row = stop
    return exact


@borrowing
def start_of(tiles, row):
    """Return where a row begins."""
    block = row // tiles.block_rows
    return tiles.offsets[block] + (row - block * tiles.block_rows) * tiles.row_bytes


@borrowing
def least_length(kind, tiles, row, last, queries):
    """Return what no row from `row` on is shorter than, to the end of its run, of the rows before `last`."""
    shortest, run = queries.shortest, row // RUN
    if len(shortest) == 0:
        return queries.least
    if shortest[run] < 0 and row % RUN == 0 and last - row >= RUN:  # two threads may both do it
        least = np.inf
        for i in range(row, row + RUN):
            least = min(least, square_of(kind, tiles.data.ctypes.data + start_of(tiles, i), queries))
        shortest[run] = np.sqrt(max(least, 0.0)) * ROUNDED
    return max(queries.least, np.float64(shortest[run]))


@borrowing
def offer_rows(kind, mask, address, stride, row, q, queries, heap):
    """Score those rows from an address on that are set in a mask, and offer them to a query; return how many."""
    scores, rows, exact = heap.scores[q], heap.rows[q], 0
    while mask:
        if mask & np.uint32(1):
            found = raw_score(kind, address, q, queries)
            exact += 1
            if found >= heap.floors[q]:
                heap.sizes[q] = push(scores, rows, heap.sizes[q], found, row)
                if heap.sizes[q] == len(scores):
                    heap.floors[q] = max(heap.floors[q], scores[0])
        mask >>= np.uint32(1)
        address += stride
        row += 1
    return exact


@borrowing
def needed_product(bound, q, queries, least):
    """Return what the sum of weights times numbers has to reach for a query's score of a row to reach `bound`."""
    bias = queries.biases[q]
    if queries.kind == PRODUCT:
        return bound - bias
    if queries.kind == SQUARED:
        return (bound + least * least) / 2 - bias
    return bound * least - bias if bound > 0 else -np.inf


@borrowing
def raw_score(kind, address, q, queries):
    """Return a query's score of the row whose numbers lie at an address."""
    weights = queries.weights[q]
    found = queries.biases[q] + np.float64(product(kind, address, weights.ctypes.data, len(weights)))
    square = 0.0 if queries.kind == PRODUCT else square_of(kind, address, queries)
    return score_of(found, square, queries.kind)


@borrowing
def square_of(kind, address, queries):
    """Return |x|^2 of the row whose numbers lie at an address."""
    linear, squared = queries.norm_weights[0].ctypes.data, queries.norm_weights[1].ctypes.data
    return queries.norm_bias + norm(kind, address, linear, squared, queries.norm_weights.shape[1])


@borrowing
def score_of(found, square, kind):
    """Return the score of a row with q . x = found and |x|^2 = square."""
    if kind == PRODUCT:
        return found
    if kind == SQUARED:
        return 2 * found - square
    return found / np.sqrt(square) if square > NOTHING else 0.0


@borrowing
def whole_mask(level, address, stride, rows, weights, d, limit, asked):
    """Return which of up to 32 rows have whole products of at least `limit`, one bit each, among those asked for."""
    mask = np.uint32(0)
    for first in range(0, rows, GROUP):
        own = (asked >> np.uint32(first)) & ALL_OF_GROUP
        if rows - first >= GROUP and more_than(own, FEW):
            reached = whole_products_reach(level, address + first * stride, stride, weights, d, limit) & own
            mask |= reached << np.uint32(first)
            continue
        for i in range(first, min(first + GROUP, rows)):
            if asked >> np.uint32(i) & np.uint32(1):
                mask |= np.uint32(whole_product(level, address + i * stride, weights, d) >= limit) << np.uint32(i)
    return mask


@borrowing
def more_than(bits, count):
    """Return whether more than so many bits are set."""
    for _ in range(count):
        bits &= bits - np.uint32(1)
    return bits != 0


@borrowing
def product_mask(kind, address, stride, rows, weights, d, limit, asked):
    """Return which of up to 32 rows have products of at least `limit`, one bit each, among those asked for."""
    mask = np.uint32(0)
    for i in range(rows):
        if asked >> np.uint32(i) & np.uint32(1):
            mask |= np.uint32(product(kind, address, weights, d) >= limit) << np.uint32(i)
        address += stride
    return mask


@borrowing
def unpack_six(data, start, row_bytes, rows, d, out):
    """out[row * d + i]: level i, of the upper four bits of all levels and then the lower two."""
    pairs, fours = (d + 1) // 2, (d + 3) // 4
    for row in range(rows):
        at = start + row * row_bytes
        upper, lower = data[at : at + pairs], data[at + pairs : at + pairs + fours]
        levels = out[row * d : row * d + d]
        for i in range(d):
            high = (upper[i >> 1] >> np.uint8(4 * (i & 1))) & np.uint8(15)
            low = (lower[i >> 2] >> np.uint8(2 * (i & 3))) & np.uint8(3)
            levels[i] = (high << np.uint8(2)) | low


@njit(cache=True, nogil=True)
def as_whole(limit):
    """Return the least whole number that is not below `limit`, a part in a million left to rounding."""
    return np.int32(min(max(np.ceil(limit - 1e-6), -(2.0**31)), 2.0**31 - 1))
