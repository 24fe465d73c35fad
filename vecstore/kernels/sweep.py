"""Find the best rows of tiled codes: 8-bit tables sort out nearly all rows, exact tables score the rest.

Every entry of the 8-bit tables is rounded up, so the sum for a row bounds its score from above, and a row is passed
over only if it cannot enter the best k: the result is what scoring every row by the exact tables gives.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from vecstore.kernels.byte import byte_masks
from vecstore.kernels.heap import push
from vecstore.kernels.nibble import first_table, nibble_masks, nibble_sums
from vecstore.kernels.simd import number_of

__all__ = ["PRODUCT", "SQUARED", "UNIT", "room_for", "sweep_tiles"]

PRODUCT, UNIT, SQUARED = 0, 1, 2  # a score is q . x; q . x / |x|; 2 q . x - |x|^2
CHUNK = 8  # tiles between two looks at the thresholds
FEW_QUERIES = 3  # up to so many have little to do with each tile, and take longer chunks: of so many
LONG_CHUNK = 1 << 19  # bytes of code
FIRST_REFILL = 256  # rows after which tables are made anew for what was learned; next at twice as many, and so on
OVERRUN = 96  # bytes behind a tile that a kernel may read
NOTHING = 1e-30  # |x|^2 up to which a vector counts as zero, and its score as 0


def room_for(terms: NDArray[np.float32], layout: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return what `sweep_tiles` takes as `tables` for these terms; it begins at a cache line, as kernels want it."""
    queries, count, entries = terms.shape
    if not queries:
        return np.empty(0, np.uint8)
    size = queries * (count * 256 if entries == 256 else -(-count // (2 * layout[0])) * layout[0] * 32)
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size]


@njit(cache=True, nogil=True)
def sweep_tiles(
    bits,
    level,
    layout,
    data,
    offsets,
    block_rows,
    row_bytes,
    first,
    last,
    terms,
    norm_terms,
    tables,
    digits,
    biases,
    norm_bias,
    lengths,
    kind,
    floors,
    allowed,
    heap_scores,
    heap_rows,
    sizes,
):
    """Offer rows `first` to `last` to the heaps of all queries; return how many scores were computed exactly.

    Parameters
    ----------
    bits : static 4 or 8
        4: tables of 16 entries, for the low and the high half of each byte of code; 8: of 256, one a byte.
    level : static number
        See `simd`.
    layout : (group, most, most_sum)
        How this level wants its tables; see `nibble.LAYOUTS`.
    data, offsets, block_rows, row_bytes
        Block i of `block_rows` rows begins at data[offsets[i]]: tiles[row_bytes, 32 rows].
    first, last : int
        `first` is a multiple of 32.
    terms : (q, tables, entries) float32
        Their sum over a code, with the query's of `biases` (q,), is q . x.
    norm_terms : (tables, entries) float32
        The same, with `norm_bias`, for |x|^2; empty where `kind` is PRODUCT.
    tables : (q * bytes,) uint8
        Room for the 8-bit tables, filled with zeros; see `room_for`.
    digits : as `tables`, or empty
        Room for a second digit of each entry: with many tables what is lost by rounding adds up, so where several rows
        of a tile pass by the first digits, the second ones are added up too. For `bits` 4 only.
    lengths : (least, largest)
        Of |x| over all rows.
    kind : PRODUCT, UNIT or SQUARED
    floors : (q,) float64
        Rows that score less do not count. Raised to the worst of each full heap, so threads that share them learn from
        each other.
    allowed : (tiles of all rows,) uint32, or empty
        Bit i of item t: row 32 t + i may be found.
    heap_scores, heap_rows, sizes : (q, k) float64, (q, k) int64, (q,) int64
        See `heap`.
    """
    queries, k = heap_scores.shape
    query_bytes = len(tables) // queries
    longest = CHUNK
    if queries <= FEW_QUERIES and not len(allowed):
        longest = max(LONG_CHUNK // (32 * row_bytes), CHUNK)
    masks, thresholds = np.empty((queries, longest), np.uint32), np.empty(queries, np.int32)
    # Of each query's tables: the score of sum 0, the worth of 1, and the bound that they were made for.
    base, worth, made_for, needed = np.empty(queries), np.empty(queries), np.empty(queries), np.empty(queries)
    sums = np.empty((2, 32), np.int32)
    for q in range(queries):
        made_for[q] = -np.inf
    spare = np.empty(longest * 32 * row_bytes + OVERRUN, np.uint8)
    steps = second_digit(layout, terms.shape[1])
    exact, passed, refill, ready = 0, 0, 0, False
    row = first
    while row < last:
        block = row // block_rows
        # Short chunks at first, while each row that is scored raises the thresholds: an eighth of what was passed.
        stop = min(last, (block + 1) * block_rows, row + 32 * min(max(passed >> 8, 1), longest))
        tile, tiles = row >> 5, (stop - row + 31) >> 5
        if len(allowed):
            some = np.uint32(0)
            for i in range(tiles):
                some |= allowed[tile + i]
            if some == 0:
                row = stop
                continue
        codes, start = data, offsets[block] + (row - block * block_rows) * row_bytes
        size = tiles * 32 * row_bytes
        if start + size + OVERRUN > len(data):
            for i in range(size):  # a slice assigned would compile the text of its error, for seconds
                spare[i] = data[start + i]
            codes, start = spare, 0
        if not ready:
            ready = True
            for q in range(queries):
                ready &= sizes[q] == k or floors[q] > -np.inf
        if ready:
            if passed >= refill:
                refill = max(2 * passed, FIRST_REFILL)
                for q in range(queries):
                    bound = max(floors[q], heap_scores[q, 0]) if sizes[q] == k else floors[q]
                    if made_for[q] == -np.inf or (kind == UNIT and gain(bound, made_for[q], lengths) > worth[q]):
                        weights = combination(kind, bound, biases[q], norm_bias, lengths)
                        fill(q, queries, terms[q], norm_terms, weights, layout, tables, digits, base, worth)
                        made_for[q] = bound
                    needed[q] = threshold(kind, bound, made_for[q], base[q], worth[q], lengths[0])
                    thresholds[q] = as_whole(needed[q])
            tile_masks(bits, level, codes, start, 32 * row_bytes, tiles, tables, query_bytes, thresholds, masks)
        for q in range(queries):
            if ready:
                some = np.uint32(0)
                for i in range(tiles):
                    some |= masks[q, i]
                if some == 0:
                    continue
            for i in range(tiles):
                mask = masks[q, i] if ready else np.uint32(0xFFFFFFFF)
                if len(allowed):
                    mask &= allowed[tile + i]
                if ready and len(digits) and mask & (mask - np.uint32(1)):
                    at = start + i * 32 * row_bytes
                    mask &= refined(level, codes, at, q, queries, layout, tables, digits, steps, needed[q], sums)
                lane = 0
                while mask:
                    if mask & np.uint32(1) and row + 32 * i + lane < stop:
                        at = start + i * 32 * row_bytes + lane
                        found = score(codes, at, terms[q], norm_terms, biases[q], norm_bias, kind)
                        exact += 1
                        if found >= floors[q]:
                            before = heap_scores[q, 0]
                            sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], found, row + 32 * i + lane)
                            if sizes[q] == k and heap_scores[q, 0] != before:
                                floors[q] = max(floors[q], heap_scores[q, 0])
                                if ready:
                                    needed[q] = threshold(kind, floors[q], made_for[q], base[q], worth[q], lengths[0])
                                    thresholds[q] = as_whole(needed[q])
                    mask >>= np.uint32(1)
                    lane += 1
        passed += stop - row
        row = stop
    return exact


def tile_masks(bits, level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    """Call `nibble_masks` or `byte_masks`."""
    raise NotImplementedError


@overload(tile_masks, jit_options={"nogil": True})
def _tile_masks(bits, level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    kernel = nibble_masks if number_of(bits) == 4 else byte_masks

    def masks_of(bits, level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
        kernel(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks)

    return masks_of


@njit(cache=True, nogil=True)
def refined(level, codes, at, q, queries, layout, tables, digits, steps, needed, sums):
    """Return which rows of a tile pass by both digits."""
    query_bytes = len(tables) // queries
    first, together = first_table(q, queries, layout[0], query_bytes)
    nibble_sums(level, codes, at, tables, first, query_bytes, together, sums[0])
    nibble_sums(level, codes, at, digits, first, query_bytes, together, sums[1])
    mask = np.uint32(0)
    for lane in range(32):
        mask |= np.uint32(sums[0, lane] - sums[1, lane] / steps >= needed) << np.uint32(lane)
    return mask


@njit(cache=True, nogil=True)
def combination(kind, bound, bias, norm_bias, lengths):
    """Return (a, b, c) such that a * sum of terms + b * sum of norm terms + c has to reach a threshold.

    A score q . x / |x| reaches a bound B when q . x - B |x| is not negative. |x| is the square root of a sum of
    entries; for a positive B it is bounded from below by the chord of the root between the least and the largest
    length, for a negative one from above by a tangent: linear in the sum, so one set of tables does for both.
    """
    if kind == PRODUCT:
        return 1.0, 0.0, bias
    if kind == SQUARED:
        return 2.0, -1.0, 2 * bias - norm_bias
    least, largest = lengths
    if least + largest <= 0:
        return 1.0, 0.0, bias
    slope, intercept = 1 / (least + largest), least * largest / (least + largest)
    if bound < 0:
        middle = (least + largest) / 2
        slope, intercept = 1 / (2 * middle), middle / 2
    return 1.0, -bound * slope, bias - bound * (intercept + slope * norm_bias)


@njit(cache=True, nogil=True)
def threshold(kind, bound, made_for, base, worth, least):
    """Return the sum of table entries that a row needs to reach `bound`."""
    if kind != UNIT:
        needed = bound
    elif made_for > 0:  # q . x - B |x| has to reach (bound - B) |x|
        needed = (bound - made_for) * least
    else:
        needed = 0.0
    return (needed - base) / worth - 1e-6  # a part in a million covers the rounding of what comes before


@njit(cache=True, nogil=True)
def gain(bound, made_for, lengths):
    """Return by how much tables made for `bound` would tell rows apart better than those made for less."""
    return (bound - made_for) * (lengths[1] - lengths[0] if made_for > 0 else lengths[1])


@njit(cache=True, nogil=True)
def as_whole(needed):
    """Return the least whole sum that is enough."""
    return np.int32(min(max(np.ceil(needed), -1.0), 2.0**31 - 1))


@njit(cache=True, nogil=True)
def second_digit(layout, count):
    """Return how many steps the second digit divides a step of the first into: sums of `count` must not overflow."""
    return max(min(layout[1], layout[2] // count), 1)


@njit(cache=True, nogil=True)
def fill(q, queries, terms, norm_terms, weights, layout, tables, digits, base, worth):
    """Write the tables of a query, rounded up, and what a sum of their entries stands for: base + worth * sum."""
    group, most, most_sum = layout
    a, b, c = weights
    count, entries = terms.shape
    steps = second_digit(layout, count)
    values, lowest = np.empty((count, entries)), np.empty(count)
    widest = total = 0.0
    base[q] = c
    for j in range(count):
        low, high = np.inf, -np.inf
        for i in range(entries):
            value = a * terms[j, i] + (b * norm_terms[j, i] if b != 0 else 0.0)
            values[j, i] = value
            low, high = min(low, value), max(high, value)
        lowest[j] = low
        base[q] += low
        widest, total = max(widest, high - low), total + (high - low)
    # Rounding up adds at most one to each entry.
    unit = max(widest / (most - 1), total / max(most_sum - count, 1), 1e-300)
    worth[q], each = unit, 1 / unit
    for j in range(count):
        at = place(q, queries, j, entries, group, len(tables) // queries)
        for i in range(entries):
            exact = (values[j, i] - lowest[j]) * each
            whole = np.ceil(exact)
            tables[at + i] = np.uint8(whole)
            if len(digits):
                digits[at + i] = np.uint8(np.floor((whole - exact) * steps))


@njit(inline="always")
def place(q, queries, j, entries, group, query_bytes):
    """Return where table j of a query begins; see `nibble_masks` and `byte_masks`."""
    if entries == 256:
        return q * query_bytes + 256 * j
    byte, side = j >> 1, j & 1
    first, together = first_table(q, queries, group, query_bytes)
    return first + (byte // group * together * 2 + side) * 16 * group + byte % group * 16


@njit(cache=True, nogil=True)
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
