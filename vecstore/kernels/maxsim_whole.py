"""Score items of several vectors whose codes are those of a trellis, in whole numbers: the sum of best products.

Codes are decoded once for all query vectors, a strip of rows at a time, to bytes (`whole_panels`) that stay in the
first cache. What tables of 8 bits do for a query, whole products do in an eighth of the time, and more exactly; where
one instruction looks up 64 entries, tables are faster (`maxsim`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Centroids, Tiles, WholeQueries
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.centroids import raise_by_cell, read_cells
from vecstore.kernels.gather import tile_of
from vecstore.kernels.layout import LANES
from vecstore.kernels.maxsim import run_end
from vecstore.kernels.trellis_planes import lined_up
from vecstore.kernels.trellis_rows import Lying, lay, room_of
from vecstore.kernels.trellis_shuffles import STRIP
from vecstore.kernels.trellis_sums import fill_indices
from vecstore.kernels.whole_panels import GROUP, decode, greatest, invert, multiply, reduced, square

__all__ = ["close", "maxsim_whole"]


@njit(cache=True, nogil=True)
def maxsim_whole(level, where, size_bytes, lookups, numbers, asked, cells, starts, items, most, out):
    """out[i] = the score of item items[i], which has rows starts[item] to starts[item + 1], of which the first `most`.

    Items rise. One without rows scores -inf.
    """
    tiles, queries, centroids, own = Tiles(*where), WholeQueries(*asked), Centroids(*cells), reduced(level)
    steps = len(numbers[0]) >> 2
    count, unit = len(queries.shifts), len(queries.square) > 0
    room = room_of(own, size_bytes, len(lookups[2]), STRIP)
    panel, sums = lined_up(steps, 4 * GROUP), lined_up(len(queries.weights) + 2, 4 * GROUP).view(np.int32)
    over, best = np.ones(2 * GROUP, np.float32), np.full(count, -np.inf, np.float32)
    in_cells, own_cells = len(centroids.ids) > 0, np.zeros(GROUP, np.uint16)
    at = 0
    while at < len(items):
        stop_at = run_end(items, at)
        row, last = starts[items[at]], starts[items[stop_at - 1] + 1]
        at = close(at, stop_at, row, starts, items, queries.factors, best, out)
        while row < last:
            tile, held, start = tile_of(tiles, row)
            begin = row // LANES * LANES
            stop = min(last, tile + held, begin + STRIP)
            codes, vectors = Lying(tiles.data, start, held, tiles.row_bytes), (stop - begin + LANES - 1) // LANES
            lay(own, codes, begin - tile, vectors, size_bytes, room.planes, 0)
            fill_indices(own, room.planes, room.indices, vectors, lookups, tiles.data.ctypes.data, 0)
            for group in range((row - begin) // GROUP, (stop - begin + GROUP - 1) // GROUP):
                decode(own, room.indices, numbers, group, panel)
                multiply(own, panel, queries.weights, sums)
                if unit:
                    square(own, panel, sums[count + 1])
                    lengths_of(queries.square, sums[count + 1], sums[count], over)
                group_at = begin + GROUP * group
                group_end = min(stop, group_at + GROUP)
                if in_cells:
                    read_cells(centroids, group_at, group_end, own_cells)
                while row < group_end:
                    end, first = min(starts[items[at] + 1], group_end), starts[items[at]]
                    some = min(end, first + most) - row
                    if some > 0 and in_cells:
                        begun, by_cell = row - group_at, centroids.products
                        raise_by_cell(sums, begun, begun + some, over, queries.shifts, own_cells, by_cell, best)
                    elif some > 0:
                        raise_to(sums, row - group_at, some, over, queries.shifts, best)
                    row = end
                    at = close(at, stop_at, row, starts, items, queries.factors, best, out)


@borrowing
def lengths_of(factors, squares, products, over):
    """over[row] = 1 / the length of a row of a group."""
    scale, linear, bias = np.float32(factors[0]), np.float32(factors[1]), np.float32(factors[2])
    invert(squares.ctypes.data, products.ctypes.data, scale, linear, bias, over.ctypes.data)


@borrowing
def raise_to(sums, first, count, over, shifts, best):
    """Raise what is best of each query vector to its best of some rows."""
    over_at = over.ctypes.data + 4 * first
    for q in range(len(best)):
        best[q] = max(best[q], greatest(sums[q].ctypes.data + 4 * first, shifts[q], over_at, count))


@borrowing
def close(at, stop_at, row, starts, items, factors, best, out):
    """Write the scores of items that end before `row`; return the first one that does not."""
    while at < stop_at and starts[items[at] + 1] <= row:
        total = 0.0
        for q in range(len(factors)):
            total += factors[q] * best[q]
            best[q] = -np.inf
        out[at] = total if starts[items[at]] < starts[items[at] + 1] else -np.inf
        at += 1
    return at
