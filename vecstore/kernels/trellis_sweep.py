"""Find the rows that score best by a sweep of the first bytes of their codes, and of more bytes of few rows.

Scores are approximate, by tables of 8 bits: what comes out are candidates to be scored exactly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.gather import place
from vecstore.kernels.heap import push
from vecstore.kernels.layout import LANES
from vecstore.kernels.sweep import PRODUCT, UNIT
from vecstore.kernels.trellis_planes import CHUNK, copy_chunk, fetch, lined_up, to_planes
from vecstore.kernels.trellis_sums import add_passes, at_least, lowest_bit

__all__ = ["sweep_trellis"]

MOST_ENTRY, MOST_SUM = 255, 65535
WAITING, LEAST_WAITING = 65536, 8192  # rows that may wait, of all queries and of one
SOON = 2048  # rows that wait when the best of them are scored by all bytes for the first time
FIRST = 128  # of them
BATCH = 256  # rows whose codes are fetched together
BINS = 512


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
    owners,
    levels,
    weights,
    norm_terms,
    typical,
    norm_biases,
    made_for,
    limits,
    margins,
    wanted,
    biases,
    edges,
    floors,
    allowed,
    heap_scores,
    heap_rows,
    sizes,
):
    """Offer rows `first` to `last` to the heaps of all queries, by approximate scores.

    The first of several stages sweeps the first bytes of all rows. Rows whose scores by these reach a limit wait. Now
    and then, and at the end, those that score best among the new ones are scored by all bytes and offered: the
    `wanted`-th best score so far says what rows have to reach from then on. In the end those that wait and may still
    matter are looked at by the bytes of the next stage, what still matters by those of the one after it. One stage
    alone offers what it sweeps. Several need rows that are all in one cell.

    Parameters
    ----------
    level : static number
        See `simd`.
    data, offsets, block_rows, tile_rows, row_bytes
        Block i of `block_rows` rows begins at data[offsets[i]]: tiles of `tile_rows` rows as
        `vecstore.container.part.Part` says, the last of which holds as many rows as there are, rounded up to LANES.
    rows : int
        Of all blocks together.
    kind : PRODUCT, UNIT or SQUARED
        See `sweep`.
    sizes_bytes : (stages,) int64
        How many bytes of a row each stage looks at.
    lookups : of each stage, (passes, planes, matrices, images)
        See `trellis_sums.add_passes`.
    owners, levels : of each stage, (some coefficients,) int64 and (some coefficients, 64) float32
        See `Lookups`.
    weights : (q, coefficients) float32
        Of coefficients, in q . x.
    norm_terms : of each stage, (lookups, 64) float32
        Tables that add up, with `norm_biases`, to |x|^2.
    typical, norm_biases : (stages,) float64
        Length of a vector of which so many bytes are known.
    made_for : (stages, q) float64
        About which score tables are most exact, where `kind` is UNIT.
    limits : (q,) float64
        What a row's score by the first of several stages has to be at least.
    margins : (stages, q) float64
        By how much its score by each stage but the last may be less than the `wanted`-th best by all bytes.
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
    # scales[stage, q]: a score is bias * [0] + [1] + sum of table entries * [2]
    scales = np.empty((stages, queries, 3))
    widest = 0
    for stage in range(stages):
        widest = max(widest, len(norm_terms[stage]))
    tables = np.empty((stages, queries, widest, norm_terms[0].shape[1]), np.uint8)
    for q in range(queries):
        for stage in range(stages):
            scales[stage, q] = fill(
                kind,
                made_for[stage, q],
                typical[stage],
                products(weights[q], owners[stage], levels[stage], norm_terms[stage]),
                norm_terms[stage],
                norm_biases[stage],
                lookups[stage][0],
                tables[stage, q],
            )
    room = max(WAITING // queries, LEAST_WAITING) + tile_rows if stages > 1 else 1
    waiting, waiting_scores = np.empty((queries, room), np.int64), np.empty((queries, room), np.float32)
    # How many rows wait; after how many of them new ones begin, and of how many the best are next scored by all bytes.
    counts, judged, patience = np.zeros(queries, np.int64), np.zeros(queries, np.int64), np.full(queries, SOON)
    # The best scores by all bytes, of rows that were offered in this call or before.
    reached, held = np.full((queries, wanted), -np.inf), np.zeros((queries, wanted), np.int64)
    for q in range(queries):
        for i in range(sizes[q]):
            if heap_scores[q, i] > reached[q, 0]:
                push(reached[q], held[q], wanted, heap_scores[q, i], 0)
    swept = -(-sizes_bytes[0] // CHUNK) * CHUNK
    planes, sums = lined_up(swept, tile_rows), lined_up(queries, 2 * tile_rows).view(np.uint16)
    parameters = (sizes_bytes, lookups, tables, margins, scales, biases)
    where = (data, offsets, block_rows, tile_rows, row_bytes, rows)
    heaps = (heap_scores, heap_rows, sizes, floors, reached, held)
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
        ahead, ahead_bytes = start, 0
        if stop < last:
            _, after, ahead = place(stop, offsets, block_rows, tile_rows, row_bytes, rows)
            ahead_bytes = min(swept, row_bytes) * after
        vectors = (stop - begin + LANES - 1) // LANES
        for byte in range(0, sizes_bytes[0], CHUNK):
            wide = min(CHUNK, row_bytes - byte)
            own = start + byte * height + (begin - tile) * wide
            # Look-ups fetch what is ahead from its front on and have no time for all of it.
            soon = ahead - start if byte >= sizes_bytes[0] // 2 else 0
            to_planes(level, data, own, wide, vectors, planes, byte, soon)
        sums[:] = 0
        add_passes(level, planes, vectors, lookups[0], tables[0], sums, data.ctypes.data + ahead, ahead_bytes)
        while row < stop:
            while edges[cell + 1] <= row:
                cell += 1
            end = min(stop, edges[cell + 1])
            for q in range(queries):
                base, worth = biases[q, cell] * scales[0, q, 0] + scales[0, q, 1], scales[0, q, 2]
                if stages == 1:
                    least = needed(floors[q], heap_scores[q], sizes[q])
                else:
                    least = max(limits[q], reached[q, 0] - margins[0, q])
                limit = threshold(least, base, worth)
                if limit > MOST_SUM:
                    continue
                own, own_scores, count = waiting[q], waiting_scores[q], counts[q]
                for lanes in range(row // LANES * LANES, end, LANES):
                    mask = at_least(level, sums[q], lanes - begin, np.uint16(limit))
                    if mask != 0:
                        mask &= between(row, end, lanes) & may(allowed, lanes)
                    while mask != 0:
                        at = lanes + lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        score = base + worth * sums[q, at - begin]
                        if stages > 1:
                            own[count], own_scores[count] = at, score
                            count += 1
                        elif score >= floors[q]:
                            sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], score, at)
                            limit = threshold(needed(floors[q], heap_scores[q], sizes[q]), base, worth)
                counts[q] = count
            row = end
        if stages == 1:
            continue
        for q in range(queries):
            own, own_scores, count = waiting[q], waiting_scores[q], counts[q]
            full = count > room - tile_rows
            if full or count - judged[q] >= patience[q]:
                count = judge(level, q, own, own_scores, judged[q], count, parameters, where, heaps)
                if full:
                    count = settle(level, q, own, own_scores, count, False, parameters, where, heaps)
                counts[q], judged[q], patience[q] = count, count, min(2 * patience[q], room)
    for q in range(queries):
        if counts[q] > 0:
            own, own_scores = waiting[q], waiting_scores[q]
            count = judge(level, q, own, own_scores, judged[q], counts[q], parameters, where, heaps)
            settle(level, q, own, own_scores, count, True, parameters, where, heaps)


@njit(cache=True, nogil=True)
def judge(level, q, waiting, scores, first, count, stages, where, heaps):
    """Score the best of a query's waiting rows `first` to `count` by all bytes; return how many wait then.

    Those that go on waiting, and their scores, are moved to the front.
    """
    if count - first <= FIRST:
        return count
    waiting, scores, count = waiting[first:count], scores[first:count], count - first
    least, found = best_of(scores, FIRST), 0
    for i in range(count):
        if scores[i] >= least:
            waiting[i], waiting[found] = waiting[found], waiting[i]
            scores[i], scores[found] = scores[found], scores[i]
            found += 1
    rescore(level, q, len(stages[0]) - 1, waiting, scores, found, stages, where)
    offer(q, waiting, scores, found, heaps)
    for i in range(min(found, count - found)):
        waiting[i], scores[i] = waiting[count - 1 - i], scores[count - 1 - i]
    return first + count - found


@njit(cache=True, nogil=True)
def settle(level, q, waiting, scores, count, final, stages, where, heaps):
    """Drop the waiting rows of a query that do not matter; return how many are left, which are moved to the front.

    Nothing is left in the end, or where most would be: they go through the stages then.
    """
    margins, tile_rows = stages[3], where[3]
    reached, last = heaps[4][q], len(margins) - 1
    count = keep(waiting, scores, count, reached[0] - margins[0, q])
    if not final and count <= (len(scores) - tile_rows) // 2:
        return count
    for stage in range(1, last):
        rescore(level, q, stage, waiting, scores, count, stages, where)
        count = keep(waiting, scores, count, reached[0] - margins[stage, q])
    rescore(level, q, last, waiting, scores, count, stages, where)
    offer(q, waiting, scores, count, heaps)
    return 0


@njit(cache=True, nogil=True)
def keep(waiting, scores, count, least):
    """Move those rows that score at least so much to the front; return how many they are."""
    kept = 0
    for i in range(count):
        waiting[kept], scores[kept] = waiting[i], scores[i]
        kept += scores[i] >= least  # no branch: nothing could predict it
    return kept


@njit(cache=True, nogil=True)
def offer(q, waiting, scores, count, heaps):
    """Offer waiting rows that are scored by all bytes to the heaps of a query."""
    heap_scores, heap_rows, sizes, floors, reached, held = heaps
    for i in range(count):
        score, row = np.float64(scores[i]), waiting[i]
        if score >= floors[q]:
            sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], score, row)
            if score > reached[q, 0]:
                push(reached[q], held[q], reached.shape[1], score, row)


@njit(cache=True, nogil=True)
def best_of(scores, count):
    """Return a score that at least `count` of the scores reach, and not many more."""
    low, high = scores[0], scores[0]
    for score in scores:
        low, high = min(low, score), max(high, score)
    step = BINS / max(np.float64(high) - np.float64(low), 1e-30) * (1 - 1e-6)
    bins = np.zeros(BINS + 1, np.int64)
    for score in scores:
        bins[np.int64((np.float64(score) - low) * step)] += 1
    at, found = BINS, 0
    while at > 0 and found + bins[at] < count:
        found += bins[at]
        at -= 1
    return low + at / step


@njit(cache=True, nogil=True)
def rescore(level, q, stage, waiting, scores, count, stages, where):
    """scores[:count] = the scores of waiting rows by the bytes of a stage."""
    sizes_bytes, lookups, tables, _, scales, biases = stages
    data, offsets, block_rows, tile_rows, row_bytes, rows = where
    chunks, base = -(-sizes_bytes[stage] // CHUNK), data.ctypes.data
    codes, planes = np.zeros(chunks * BATCH * CHUNK, np.uint8), lined_up(chunks * CHUNK, BATCH)
    sums, scale = np.empty((1, BATCH), np.uint16), scales[stage, q]
    places = np.empty((BATCH, 3), np.int64)  # where a row's tile begins, which row of the tile it is, and of how many
    into = codes.ctypes.data
    for first in range(0, count, BATCH):
        some = min(BATCH, count - first)
        for lane in range(some):
            row = waiting[first + lane]
            tile, height, start = place(row, offsets, block_rows, tile_rows, row_bytes, rows)
            places[lane, 0], places[lane, 1], places[lane, 2] = start, row - tile, height
            for byte in range(0, chunks * CHUNK, CHUNK):
                fetch(base + start + byte * height + (row - tile) * min(CHUNK, row_bytes - byte))
        for lane in range(some):
            start, at, height = places[lane]
            for chunk in range(chunks):
                byte, target = chunk * CHUNK, (chunk * BATCH + lane) * CHUNK
                wide = min(CHUNK, row_bytes - byte)
                source = start + byte * height + at * wide
                if wide == CHUNK:
                    copy_chunk(base + source, into + target)
                else:
                    for j in range(wide):
                        codes[target + j] = data[source + j]
        vectors = (some + LANES - 1) // LANES
        for chunk in range(chunks):
            to_planes(level, codes, chunk * BATCH * CHUNK, CHUNK, vectors, planes, chunk * CHUNK, 0)
        sums[:] = 0
        add_passes(level, planes, vectors, lookups[stage], tables[stage, q : q + 1], sums, base, 0)
        for lane in range(some):
            scores[first + lane] = biases[q, 0] * scale[0] + scale[1] + scale[2] * sums[0, lane]


@njit(inline="always")
def needed(floor, scores, size):
    """Return the score that a row has to reach to enter a heap."""
    return max(floor, scores[0]) if size == len(scores) else floor


@njit(inline="always")
def between(first, last, lanes):
    """Return which of LANES rows from `lanes` on are rows `first` to `last`, some of which are."""
    every = np.uint64(0xFFFFFFFFFFFFFFFF)
    return (every << np.uint64(max(first - lanes, 0))) & (every >> np.uint64(max(lanes + LANES - last, 0)))


@njit(inline="always")
def may(allowed, lanes):
    """Return which of LANES rows from `lanes` on may be found."""
    if len(allowed) == 0:
        return np.uint64(0xFFFFFFFFFFFFFFFF)
    word = lanes >> 5
    mask = np.uint64(allowed[word])
    if word + 1 < len(allowed):
        mask |= np.uint64(allowed[word + 1]) << np.uint64(32)
    return mask


@njit(inline="always")
def threshold(least, base, worth):
    """Return the sum that a row needs to reach a score."""
    return np.int64(min(max(np.ceil((least - base) / worth - 1e-9), 0.0), MOST_SUM + 1.0))


@njit(cache=True, nogil=True)
def products(weights, owners, levels, shape):
    """Return tables (lookups, 64) float32, as many as `shape` has, that add up to q . x."""
    terms = np.zeros(shape.shape, np.float32)
    for coefficient in range(len(owners)):
        into, own, weight = terms[owners[coefficient]], levels[coefficient], weights[coefficient]
        for entry in range(len(own)):
            into[entry] += weight * own[entry]
    return terms


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
