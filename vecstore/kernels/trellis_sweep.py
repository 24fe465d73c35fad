"""Find the rows that score best by a sweep of the first bytes of their codes, and of more bytes of few rows.

Scores are approximate, by tables of 8 bits: what comes out are candidates to be scored exactly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.heap import push
from vecstore.kernels.sweep import PRODUCT, UNIT
from vecstore.kernels.trellis_sums import LANES, add_passes, at_least, lowest_bit

__all__ = ["sweep_trellis"]

MOST_ENTRY, MOST_SUM = 255, 65535


@njit(cache=True, nogil=True)
def sweep_trellis(
    level,
    data,
    offsets,
    block_rows,
    tile_rows,
    row_bytes,
    rows,
    first,
    last,
    kind,
    sizes_bytes,
    lookups,
    terms,
    norm_terms,
    typical,
    norm_biases,
    made_for,
    limits,
    biases,
    edges,
    floors,
    allowed,
    heap_scores,
    heap_rows,
    sizes,
):
    """Offer rows `first` to `last` to the heaps of all queries, by approximate scores.

    The first of several stages sweeps the first bytes of all rows. A row whose score by these reaches a limit goes on
    to the next stage, which looks at more bytes, 64 such rows at a time; what gets through the last stage is offered.

    Parameters
    ----------
    level : static number
        See `simd`.
    data, offsets, block_rows, tile_rows, row_bytes
        Block i of `block_rows` rows begins at data[offsets[i]]: tiles[row_bytes, tile_rows rows], the last of which
        holds as many rows as there are, rounded up to LANES.
    rows : int
        Of all blocks together.
    kind : PRODUCT, UNIT or SQUARED
        See `sweep`.
    sizes_bytes : (stages,) int64
        How many bytes of a row each stage looks at.
    lookups : of each stage, (passes, planes, matrices, images)
        See `trellis_sums.add_passes`.
    terms, norm_terms : of each stage, (q, lookups, 64) float32 and (lookups, 64) float32
        Tables that add up to q . x and, with `norm_biases`, to |x|^2.
    typical, norm_biases : (stages,) float64
        Length of a vector of which so many bytes are known.
    made_for, limits : (stages, q) float64
        About which score tables are most exact, where `kind` is UNIT, and what a row has to reach in each stage.
    biases : (q, cells) float64
        What is to be added to q . x in each cell.
    edges : (cells + 1,) int64
        Rows edges[c] to edges[c + 1] are in cell c.
    floors : (q,) float64
        Rows that score less do not count.
    allowed : (multiples of 32 of all rows,) uint32, or empty
        Bit i of item t: row 32 t + i may be found.
    heap_scores, heap_rows, sizes : (q, k) float64, (q, k) int64, (q,) int64
        See `heap`.
    """
    queries, stages = len(sizes), len(sizes_bytes)
    # waiting[q, :counts[q]]: row, cell, place of the first byte and distance between bytes, of rows that go on.
    waiting, counts = np.empty((queries, LANES + tile_rows, 4), np.int64), np.zeros(queries, np.int64)
    # scales[stage, q]: a score is bias * [0] + [1] + sum of table entries * [2]
    scales = np.empty((stages, queries, 3))
    widest = 0
    for stage in range(stages):
        widest = max(widest, terms[stage].shape[1])
    tables = np.empty((stages, queries, widest, terms[0].shape[2]), np.uint8)
    sums = np.empty((queries, tile_rows), np.uint16)
    held = np.empty(sizes_bytes[-1] * LANES, np.uint8)
    for q in range(queries):
        for stage in range(stages):
            scales[stage, q] = fill(
                kind,
                made_for[stage, q],
                typical[stage],
                terms[stage][q],
                norm_terms[stage],
                norm_biases[stage],
                lookups[stage][0],
                tables[stage, q],
            )
    row, cell = first, np.searchsorted(edges, first, side="right") - 1
    while row < last:
        tile, height, start = place(row, offsets, block_rows, tile_rows, row_bytes, rows)
        stop, begin = min(last, tile + height, rows), row // LANES * LANES
        some = len(allowed) == 0
        for t in range(row >> 5, (stop + 31) >> 5):
            some = some or allowed[t] != 0
        if not some:
            row = stop
            continue
        ahead, ahead_bytes = 0, 0
        if stop < last:
            _, after, ahead = place(stop, offsets, block_rows, tile_rows, row_bytes, rows)
            ahead_bytes = sizes_bytes[min(1, stages - 1)] * after  # what survivors need, too: else they wait for it
        vectors = (stop - begin + LANES - 1) // LANES
        sums[:] = 0
        add_passes(level, data, start + begin - tile, height, vectors, lookups[0], tables[0], sums, ahead, ahead_bytes)
        while row < stop:
            while edges[cell + 1] <= row:
                cell += 1
            end = min(stop, edges[cell + 1])
            for q in range(queries):
                base, worth = biases[q, cell] * scales[0, q, 0] + scales[0, q, 1], scales[0, q, 2]
                limit = threshold(needed(stages == 1, q, limits[0], floors, heap_scores, sizes), base, worth)
                if limit > MOST_SUM:
                    continue
                own, count = waiting[q], counts[q]
                for lanes in range(row // LANES * LANES, end, LANES):
                    mask = at_least(level, sums[q], lanes - begin, np.uint16(limit))
                    while mask != 0:
                        at = lanes + lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        if at < row or at >= end or not may(allowed, at):
                            continue
                        if stages == 1:
                            score = base + worth * sums[q, at - begin]
                            if score >= floors[q]:
                                sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], score, at)
                                limit = threshold(
                                    needed(stages == 1, q, limits[0], floors, heap_scores, sizes), base, worth
                                )
                            continue
                        own[count, 0], own[count, 1], own[count, 2], own[count, 3] = at, cell, start + at - tile, height
                        count += 1
                counts[q] = count
            row = end
        for q in range(queries):
            if counts[q] >= LANES:
                counts[q] = judge(
                    level,
                    q,
                    waiting[q],
                    counts[q],
                    data,
                    sizes_bytes,
                    lookups,
                    tables,
                    scales,
                    limits,
                    biases,
                    floors,
                    held,
                    heap_scores,
                    heap_rows,
                    sizes,
                )
    for q in range(queries):
        judge(
            level,
            q,
            waiting[q],
            counts[q],
            data,
            sizes_bytes,
            lookups,
            tables,
            scales,
            limits,
            biases,
            floors,
            held,
            heap_scores,
            heap_rows,
            sizes,
        )


@njit(cache=True, nogil=True)
def judge(
    level,
    q,
    waiting,
    count,
    data,
    sizes_bytes,
    lookups,
    tables,
    scales,
    limits,
    biases,
    floors,
    held,
    heap_scores,
    heap_rows,
    sizes,
):
    """Take rows of a query that wait through the stages after the first, as far as they get; return 0, none being left.

    held (bytes * LANES,) is room for LANES rows of codes.
    """
    sums = np.empty((1, LANES), np.uint16)
    for stage in range(1, len(sizes_bytes)):
        kept, scale, last = 0, scales[stage, q], stage + 1 == len(sizes_bytes)
        for first in range(0, count, LANES):
            some = min(LANES, count - first)
            for lane in range(some):
                start, stride = waiting[first + lane, 2], waiting[first + lane, 3]
                for j in range(sizes_bytes[stage]):
                    held[j * LANES + lane] = data[start + j * stride]
            sums[:] = 0
            add_passes(level, held, 0, LANES, 1, lookups[stage], tables[stage, q : q + 1], sums, 0, 0)
            for lane in range(some):
                row, cell = waiting[first + lane, 0], waiting[first + lane, 1]
                score = biases[q, cell] * scale[0] + scale[1] + scale[2] * sums[0, lane]
                if score < needed(last, q, limits[stage], floors, heap_scores, sizes):
                    continue
                if last:
                    sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], score, row)
                else:
                    for i in range(4):
                        waiting[kept, i] = waiting[first + lane, i]
                    kept += 1
        count = kept
    return 0


@njit(inline="always")
def place(row, offsets, block_rows, tile_rows, row_bytes, rows):
    """Return the first row of the tile that a row is in, for how many rows it has room, and where it begins."""
    block, tile = row // block_rows, row // tile_rows * tile_rows
    left = min((block + 1) * block_rows, rows) - tile
    height = min(tile_rows, (left + LANES - 1) // LANES * LANES)
    return tile, height, offsets[block] + (tile - block * block_rows) * row_bytes


@njit(inline="always")
def needed(last, q, limits, floors, scores, sizes):
    """Return the score that a row has to reach in a stage, the last one or another."""
    if not last:
        return limits[q]
    return max(floors[q], scores[q, 0]) if sizes[q] == scores.shape[1] else floors[q]


@njit(inline="always")
def may(allowed, row):
    return len(allowed) == 0 or allowed[row >> 5] >> np.uint32(row & 31) & np.uint32(1) != 0


@njit(inline="always")
def threshold(least, base, worth):
    """Return the sum that a row needs to reach a score."""
    return np.int64(min(max(np.ceil((least - base) / worth - 1e-9), 0.0), MOST_SUM + 1.0))


@njit(cache=True, nogil=True)
def fill(kind, made_for, length, terms, norm_terms, norm_bias, passes, tables):
    """Write tables of 8 bits; return what a score is: bias * [0] + [1] + sum of their entries * [2].

    A score q . x / |x| is B + (q . x - B |x|) / |x|; near the bound B, where it matters, |x| may be taken as
    `length` in the denominator and as (|x|^2 + length^2) / (2 length), its tangent there, in the numerator.
    """
    a, b, constant, over = 1.0, 0.0, 0.0, 1.0
    if kind == UNIT:
        over = 1 / length
        b = -made_for / (2 * length)
        constant = b * (norm_bias + length * length)
    elif kind != PRODUCT:
        a, b, constant = 2.0, -1.0, -norm_bias
    lows = np.empty(len(terms))
    widest = total = 0.0
    for i in range(len(passes)):
        together = 0.0
        for j in range(passes[i, 0], passes[i, 0] + passes[i, 1]):
            low, high = np.inf, -np.inf
            for e in range(terms.shape[1]):
                value = a * terms[j, e] + b * norm_terms[j, e]
                low, high = min(low, value), max(high, value)
            lows[j] = low
            constant += low
            together += high - low
        widest, total = max(widest, together), total + together
    # Rounding adds at most one half to each entry.
    unit = max(widest / (MOST_ENTRY - 2), total / (MOST_SUM - len(terms)), 1e-30)
    for j in range(len(terms)):
        for e in range(terms.shape[1]):
            value = a * terms[j, e] + b * norm_terms[j, e]
            tables[j, e] = np.uint8((value - lows[j]) / unit + 0.5)
    return a * over, constant * over + (made_for if kind == UNIT else 0.0), unit * over
