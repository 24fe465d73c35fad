"""Find the rows that score best by a scan of the first bytes of their codes, and of more bytes of few rows.

Scores are approximate, by tables of 8 bits: what comes out are candidates to be scored exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vecstore.kernels.arguments import Heap, Stage, Tiles, TrellisQueries
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.gather import tile_of
from vecstore.kernels.heap import bound_of, push
from vecstore.kernels.layout import LANES
from vecstore.kernels.table_scan import some_of
from vecstore.kernels.trellis_planes import CHUNK
from vecstore.kernels.trellis_rows import Lying, room_of, sum_rows, sums_of
from vecstore.kernels.trellis_sums import at_least, lowest_bit
from vecstore.kernels.trellis_tables import MOST_SUM, tables_of
from vecstore.kernels.trellis_waiting import LEAST, MOST, Scoring, is_due, judge, nobody, settle, settle_some


class Scanned(NamedTuple):
    """Rows `row` to `end` of one cell: sums[q, i] is what table entries add up to for row begin + i."""

    sums: NDArray[np.uint16]
    begin: int
    row: int
    end: int


@njit(cache=True, nogil=True)
def scan_trellis(level, used, where, stages, asked, found, ranges, allowed):
    tiles, queries, heap, stage = Tiles(*where), TrellisQueries(*asked), Heap(*found), Stage(*stages[0])
    count, several = len(heap.sizes), used > 1
    tables, scales = tables_of(stages, used, queries)
    scoring = Scoring(stages, tables, scales, queries.biases)
    waiting = nobody(max(MOST // count, LEAST) + tiles.tile_rows if several else 1, queries, heap)
    room = room_of(level, stage.size_bytes, len(stage.norm_terms), tiles.tile_rows)
    sums, edges = sums_of(level, count, tiles.tile_rows), queries.edges
    for each in range(len(ranges)):
        row, last = ranges[each, 0], ranges[each, 1]
        place = np.searchsorted(edges, row, side="right") - 1
        while row < last:
            tile, held, start = tile_of(tiles, row)
            stop, begin = min(last, tile + held), row // LANES * LANES
            if len(allowed) and not some_of(allowed, row >> 5, ((stop + 31) >> 5) - (row >> 5)):
                row = stop
                continue
            ahead, ahead_bytes, following = 0, 0, stop if stop < last else -1
            if following < 0 and each + 1 < len(ranges):
                following = ranges[each + 1, 0]
            if following >= 0:
                _, after, then = tile_of(tiles, following)
                ahead, ahead_bytes = then - start, min(-(-stage.size_bytes // CHUNK) * CHUNK, tiles.row_bytes) * after
            codes, vectors = Lying(tiles.data, start, held, tiles.row_bytes), (stop - begin + LANES - 1) // LANES
            sum_rows(level, codes, begin - tile, vectors, stage, tables[0], room, sums, ahead, ahead_bytes)
            while row < stop:
                while edges[place + 1] <= row:
                    place += 1
                scanned, cell = Scanned(sums, begin, row, min(stop, edges[place + 1])), place % queries.biases.shape[1]
                for q in range(count):
                    base, worth = queries.biases[q, cell] * scales[0, q, 0] + scales[0, q, 1], scales[0, q, 2]
                    if several:
                        least = max(queries.limits[q], waiting.reached[q, 0] - queries.margins[0, q])
                        wait(q, scanned, base, worth, least, waiting, allowed)
                    else:
                        offer_scanned(q, scanned, base, worth, heap, allowed)
                row = scanned.end
            if several:
                for q in range(count):
                    if is_due(q, waiting, tiles.tile_rows):
                        settle_some(level, q, waiting, queries, scoring, tiles, heap)
    for q in range(count):
        if waiting.counts[q] > 0:
            judge(level, q, waiting, scoring, tiles, heap)
            settle(level, q, waiting, queries, scoring, tiles, heap)


@borrowing
def offer_scanned(q, scanned, base, worth, heap, allowed):
    """Offer those rows of a cell that score well enough to the heap of a query."""
    sums, scores, rows, floor = scanned.sums[q], heap.scores[q], heap.rows[q], heap.floors[q]
    limit = threshold_of(bound_of(q, heap), base, worth)
    if limit > MOST_SUM:
        return
    for lanes in range(scanned.row // LANES * LANES, scanned.end, LANES):
        mask = np.uint64(at_least(sums.ctypes.data + 2 * (lanes - scanned.begin), np.uint16(limit)))
        if mask != 0:
            mask &= between(scanned.row, scanned.end, lanes) & allowed_of(allowed, lanes)
        while mask != 0:
            at = lanes + lowest_bit(mask)
            mask &= mask - np.uint64(1)
            score = base + worth * sums[at - scanned.begin]
            if score >= floor:
                heap.sizes[q] = push(scores, rows, heap.sizes[q], score, at)
                limit = threshold_of(bound_of(q, heap), base, worth)


@borrowing
def wait(q, scanned, base, worth, least, waiting, allowed):
    """Let those rows of a cell wait that score at least so much for a query."""
    sums, rows, scores, count = scanned.sums[q], waiting.rows[q], waiting.scores[q], waiting.counts[q]
    limit = threshold_of(least, base, worth)
    if limit > MOST_SUM:
        return
    for lanes in range(scanned.row // LANES * LANES, scanned.end, LANES):
        mask = np.uint64(at_least(sums.ctypes.data + 2 * (lanes - scanned.begin), np.uint16(limit)))
        if mask != 0:
            mask &= between(scanned.row, scanned.end, lanes) & allowed_of(allowed, lanes)
        while mask != 0:
            at = lanes + lowest_bit(mask)
            mask &= mask - np.uint64(1)
            rows[count], scores[count] = at, base + worth * sums[at - scanned.begin]
            count += 1
    waiting.counts[q] = count


@njit(inline="always")
def between(first, last, lanes):
    """Return which of LANES rows from `lanes` on are rows `first` to `last`, some of which are."""
    every = np.uint64(0xFFFFFFFFFFFFFFFF)
    return (every << np.uint64(max(first - lanes, 0))) & (every >> np.uint64(max(lanes + LANES - last, 0)))


@njit(inline="always")
def allowed_of(allowed, lanes):
    """Return which of LANES rows from `lanes` on may be found."""
    if len(allowed) == 0:
        return np.uint64(0xFFFFFFFFFFFFFFFF)
    word = lanes >> 5
    mask = np.uint64(allowed[word])
    if word + 1 < len(allowed):
        mask |= np.uint64(allowed[word + 1]) << np.uint64(32)
    return mask


@njit(inline="always")
def threshold_of(least, base, worth):
    """Return the sum that a row needs to reach a score."""
    return np.int64(min(max(np.ceil((least - base) / worth - 1e-9), 0.0), MOST_SUM + 1.0))
