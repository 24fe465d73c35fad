"""Find the best rows of plain numbers for many queries at once: each row is read once, see `panels`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vecstore.kernels.arguments import PRODUCT, SQUARED, UNIT, Heap, NumberQueries, Tiles
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.dense import product
from vecstore.kernels.heap import bound_of, push
from vecstore.kernels.number_scan import OVERRUN, least_length, score_of, square_of, start_of, unpack_six
from vecstore.kernels.numbers import NumberKind
from vecstore.kernels.panels import (
    DEPTH,
    PANEL_ROWS,
    narrow_products,
    reached,
    to_floats,
    wide_products,
)
from vecstore.kernels.table_scan import NOTHING

ROUNDING = 4e-6  # by how much less than it is a sum in float32 may come out, relatively to what is needed


class Batch(NamedTuple):
    """What is the same for all panels. Queries are in groups of two vectors.

    Attributes
    ----------
    lanes, tile_rows : int
        See `numbers.Shape`.
    steps : int
        Into which a row is cut.
    sums : (groups, rows of a panel, 2 lanes) float32
        Or whole numbers of as many bits.
    lines : (2, groups * 2 lanes) float32
        See `set_line`.
    """

    lanes: int
    tile_rows: int
    steps: int
    sums: NDArray[np.float32]
    lines: NDArray[np.float32]


class Panel(NamedTuple):
    """Some rows from `row` on, their numbers `stride` bytes apart from an address on; `bits` of them may be found."""

    row: int
    rows: int
    address: int
    stride: int
    bits: np.uint32


@njit(cache=True, nogil=True)
def scan_batch(number_kind, how, level, shape, where, asked, found, ranges, allowed):
    kind, tiles, queries, heap = NumberKind(*number_kind), Tiles(*where), NumberQueries(*asked), Heap(*found)
    lanes, tile_rows = shape
    count, d = queries.weights.shape
    groups = (count + 2 * lanes - 1) // (2 * lanes)
    sums, lines = np.empty((groups, PANEL_ROWS, 2 * lanes), np.float32), np.empty((2, groups * 2 * lanes), np.float32)
    batch = Batch(lanes, tile_rows, (d + 3) >> 2 if len(how) > 1 else d, sums, lines)
    lines[0], lines[1] = 0, np.inf  # of no query
    for q in range(count):
        set_line(q, bound_of(q, heap), queries, lines)
    spare = np.empty(PANEL_ROWS * max(tiles.row_bytes, d) + OVERRUN, np.uint8)
    floats, squares = np.empty((PANEL_ROWS, DEPTH), np.float32), np.empty(PANEL_ROWS)
    exact = 0
    for each in range(len(ranges)):
        row, last = ranges[each, 0], ranges[each, 1]
        while row < last:
            block_end = (row // tiles.block_rows + 1) * tiles.block_rows
            stop = min(last, block_end, (row | 31) + 1)
            bits = allowed[row >> 5] >> np.uint32(row & 31) if len(allowed) else np.uint32(0xFFFFFFFF)
            if bits:
                address, stride = numbers_of(kind, tiles, row, stop - row, d, spare)
                panel = Panel(row, stop - row, address, stride, np.uint32(bits))
                ahead = np.int64(tiles.data.ctypes.data + start_of(tiles, row) + panel.rows * tiles.row_bytes)
                multiply(kind.tag, how, level, panel, batch, queries.packed, floats, ahead)
                least = least_length(kind.tag, tiles, row, last, queries)
                exact += offer_panel(kind.tag, how, level, panel, batch, queries, heap, squares, least)
            row = stop
    return exact


@borrowing
def multiply(kind, how, level, panel, batch, packed, floats, ahead):
    """Set the sums of a panel and all queries, and ask for what lies behind it meanwhile."""
    lanes, tile_rows, steps, sums, packed_at = batch.lanes, batch.tile_rows, batch.steps, batch.sums, packed.ctypes.data
    groups, queries, rows, sums_at = len(sums), len(packed) // (4 * steps), panel.rows, np.int64(sums.ctypes.data)
    group_stride, row_stride = sums.strides[0], sums.strides[1]
    for group in range(groups):
        for i in range(rows):
            for q in range(2 * lanes):
                sums[group, i, q] = 0
    for step in range(0, steps, DEPTH):
        some, rows_at, stride = min(DEPTH, steps - step), panel.address + 4 * step, panel.stride
        if len(how) == 1:
            rows_at, stride = np.int64(floats.ctypes.data), np.int64(floats.strides[0])
            for i in range(rows):
                to_floats(kind, panel.address + i * panel.stride, step, some, rows_at + i * stride)
        for group in range(groups):
            wide = queries - 2 * lanes * group > lanes
            weights_at = packed_at + 8 * lanes * steps * group + 4 * step * (2 * lanes if wide else lanes)
            into, at_once, asked = sums_at + group * group_stride, tile_rows if wide else 2 * tile_rows, ahead
            for i in range(0, rows, at_once):
                from_at, sum_at = rows_at + i * stride, into + i * row_stride
                if wide:
                    wide_products(how, level, from_at, stride, weights_at, some, sum_at, asked)
                else:
                    narrow_products(how, level, from_at, stride, weights_at, some, sum_at, asked)
                asked += 64 * some
        ahead += 64 * some * (rows // tile_rows)


@borrowing
def offer_panel(kind, how, level, panel, batch, queries, heap, squares, shortest):
    """Score the rows of a panel whose sums may matter, and offer them; return how many scores were computed."""
    sums, lines, exact = batch.sums, batch.lines, 0
    least = np.float32(shortest * shortest if queries.kind == SQUARED else shortest)
    squares[:] = -1
    for group in range(len(sums)):
        start = 2 * batch.lanes * group
        slopes_at = np.int64(lines.ctypes.data) + 4 * start
        shifts_at = slopes_at + lines.strides[0]
        for i in range(panel.rows):
            sums_at = np.int64(sums.ctypes.data) + group * sums.strides[0] + i * sums.strides[1]
            mask = np.uint32(reached(how, level, sums_at, slopes_at, shifts_at, least))
            if mask == 0 or not (panel.bits >> np.uint32(i)) & np.uint32(1):
                continue
            place = panel.address + i * panel.stride
            if queries.kind != PRODUCT:
                if squares[i] < 0:
                    squares[i] = square_of(kind, place, queries)
                if squares[i] > NOTHING:
                    u = np.float32(squares[i] if queries.kind == SQUARED else np.sqrt(squares[i]))
                    mask &= np.uint32(reached(how, level, sums_at, slopes_at, shifts_at, u))
            if mask:
                exact += offer_row(kind, mask, panel.row + i, place, squares[i], start, queries, heap, lines)
    return exact


@borrowing
def numbers_of(kind, tiles, row, rows, d, spare):
    """Return the address of some rows' numbers, of which a whole panel may be read, and the bytes from row to row."""
    start, size = start_of(tiles, row), rows * tiles.row_bytes
    if kind.six:
        unpack_six(tiles.data, start, tiles.row_bytes, rows, d, spare)
        return np.int64(spare.ctypes.data), d
    if start + PANEL_ROWS * tiles.row_bytes + OVERRUN <= tiles.ends[row // tiles.block_rows]:
        return np.int64(tiles.data.ctypes.data + start), tiles.row_bytes
    for i in range(size):  # a slice assigned would compile the text of its error, for seconds
        spare[i] = tiles.data[start + i]
    return np.int64(spare.ctypes.data), tiles.row_bytes


@borrowing
def set_line(q, bound, queries, lines):
    """Set the line of a query: what a sum has to reach for its score to reach `bound`, slope * u + shift.

    u is |x| for a score of the kind UNIT, and |x|^2 for SQUARED.
    """
    slope, shift = 0.0, bound - queries.biases[q]
    if queries.kind == SQUARED:
        slope, shift = 0.5, bound / 2 - queries.biases[q]
    elif queries.kind == UNIT:
        slope, shift = (bound, -queries.biases[q]) if bound > 0 else (0.0, -np.inf)
    slack, scale = queries.bounds[q]
    slope, shift = slope / scale, (shift - slack) / scale
    lines[0, q] = slope - ROUNDING * abs(slope)
    lines[1, q] = shift - ROUNDING * abs(shift)


@borrowing
def offer_row(kind, mask, row, place, square, start, queries, heap, lines):
    """Score a row for the queries from `start` on that are set in a mask, and offer it to them; return how many."""
    exact, q = 0, start
    while mask:
        if mask & np.uint32(1):
            weights = queries.weights[q]
            dot = queries.biases[q] + np.float64(product(kind, place, weights.ctypes.data, len(weights)))
            score = score_of(dot, square, queries.kind)
            exact += 1
            if score >= heap.floors[q]:
                scores = heap.scores[q]
                heap.sizes[q] = push(scores, heap.rows[q], heap.sizes[q], score, row)
                if heap.sizes[q] == len(scores) and scores[0] > heap.floors[q]:
                    heap.floors[q] = scores[0]
                    set_line(q, heap.floors[q], queries, lines)
            else:  # another thread may have raised it
                set_line(q, heap.floors[q], queries, lines)
        mask >>= np.uint32(1)
        q += 1
    return exact
