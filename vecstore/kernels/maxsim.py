"""Score items of several vectors whose codes are those of a trellis: the sum of each query vector's best product.

A tile's sums of table entries are made for all query vectors, as scans do (`trellis_rows`). What is left of them is the
largest of each item, so nothing but a number an item leaves the cache. Scores are approximate, by tables of 8 bits.
Where rows are in cells, their centroids' products are added to sums before the largest is taken (`centroids`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Centroids, Stage, Tiles, TrellisQueries
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.centroids import raise_by_cell, read_cells
from vecstore.kernels.gather import tile_of
from vecstore.kernels.layout import LANES
from vecstore.kernels.trellis_planes import CHUNK
from vecstore.kernels.trellis_rows import Lying, room_of, sum_rows, sums_of
from vecstore.kernels.trellis_tables import tables_of

__all__ = ["maxsim_trellis", "run_end"]


@njit(cache=True, nogil=True)
def maxsim_trellis(level, where, stages, asked, cells, starts, items, most, out):
    """out[i] = the score of item items[i], which has rows starts[item] to starts[item + 1], of which the first `most`.

    Items rise. One without rows scores -inf.
    """
    tiles, queries, stage, centroids = Tiles(*where), TrellisQueries(*asked), Stage(*stages[0]), Centroids(*cells)
    count, in_cells = len(queries.weights), len(centroids.ids) > 0
    tables, scales = tables_of(stages, 1, queries)
    room = room_of(level, stage.size_bytes, len(stage.norm_terms), tiles.tile_rows)
    sums, best = sums_of(level, count, tiles.tile_rows), np.zeros(count, np.uint16)
    own_cells, shifts = np.zeros(tiles.tile_rows + LANES if in_cells else 0, np.uint16), np.zeros(count, np.float32)
    factors, tops = np.empty(count, np.float32), np.full(count, -np.inf, np.float32)
    for q in range(count):
        factors[q] = scales[0, q, 2]
    at = 0
    while at < len(items):
        stop_at = run_end(items, at)
        row, last = starts[items[at]], starts[items[stop_at - 1] + 1]
        at = close(at, stop_at, row, starts, items, queries, scales, best, tops, out)
        while row < last:
            tile, held, start = tile_of(tiles, row)
            stop = min(last, tile + held)
            vectors = (stop - row + LANES - 1) // LANES
            begin = min(row, tile + held - LANES * vectors)  # tiles hold whole vectors
            ahead, ahead_bytes = 0, 0
            if stop < last:
                _, after, then = tile_of(tiles, stop)
                ahead, ahead_bytes = then - start, min(-(-stage.size_bytes // CHUNK) * CHUNK, tiles.row_bytes) * after
            codes = Lying(tiles.data, start, held, tiles.row_bytes)
            sum_rows(level, codes, begin - tile, vectors, stage, tables[0], room, sums, ahead, ahead_bytes)
            if in_cells:
                read_cells(centroids, begin, stop, own_cells)
            while row < stop:
                end, first = min(starts[items[at] + 1], stop), starts[items[at]]
                if in_cells:
                    own = centroids.products
                    raise_by_cell(
                        sums, row - begin, min(end, first + most) - begin, factors, shifts, own_cells, own, tops
                    )
                else:
                    raise_to(sums, row - begin, min(end, first + most) - begin, best)
                row = end
                at = close(at, stop_at, row, starts, items, queries, scales, best, tops, out)


@borrowing
def raise_to(sums, first, end, best):
    """Raise what is best of each query vector to its largest sum of some rows."""
    for q in range(len(best)):
        own, most = sums[q], best[q]
        for row in range(first, end):
            most = max(most, own[row])
        best[q] = most


@borrowing
def run_end(items, at):
    """Return where the items end that follow each other by their numbers from items[at] on."""
    end = at + 1
    while end < len(items) and items[end] == items[end - 1] + 1:
        end += 1
    return end


@borrowing
def close(at, stop_at, row, starts, items, queries, scales, best, tops, out):
    """Write the scores of items that end before `row`; return the first one that does not."""
    while at < stop_at and starts[items[at] + 1] <= row:
        if starts[items[at]] == starts[items[at] + 1]:
            out[at] = -np.inf
        else:
            total = 0.0
            for q in range(len(best)):
                top = np.float64(tops[q]) if tops[q] > -np.inf else scales[0, q, 2] * best[q]
                total += queries.biases[q, 0] * scales[0, q, 0] + scales[0, q, 1] + top
                best[q], tops[q] = np.uint16(0), -np.inf
            out[at] = total
        at += 1
    return at
