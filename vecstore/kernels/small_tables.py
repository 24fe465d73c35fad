"""The 8-bit tables by which a scan passes rows over: made of the exact ones for what a row has to reach.

Every entry is rounded up, so that a sum of entries bounds a score from above.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from vecstore.kernels import byte, nibble
from vecstore.kernels.arguments import PRODUCT, SQUARED, UNIT
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.heap import bound_of
from vecstore.kernels.nibble import first_table, nibble_sums
from vecstore.kernels.simd import name_of, number_of
from vecstore.kernels.table_entries import TOGETHER, span_of, write_bytes, write_digits

__all__ = ["SmallTables", "empty_tables", "expected", "layout_of", "refined", "renew", "set_threshold"]

LINE = 64  # bytes of a cache line, at which tables begin


class SmallTables(NamedTuple):
    """The 8-bit tables of all queries, and what a sum of their entries stands for: base + worth * sum.

    Attributes
    ----------
    entries, digits : (q * bytes,) uint8
        The latter are empty without second digits.
    steps : int
        How many the second digit divides a step of the first into.
    seen : (q, 3) float64
        Of the rows scored before there are tables: how many, the sum of their scores, and that of their squares.
    made_for : (q,) float64
        The bound that a query's were made for; -inf until they are.
    base, worth : (q,) float64
    needed, thresholds : (q,) float64, (q,) int32
        What a sum has to reach for its row to be scored, and the least whole number that does.
    lowest : (tables,) float64
        Room for the least entries of a query's tables.
    sums : (2, 32) int32
        Room for the sums of a tile.
    """

    entries: NDArray[np.uint8]
    digits: NDArray[np.uint8]
    steps: int
    seen: NDArray[np.float64]
    made_for: NDArray[np.float64]
    base: NDArray[np.float64]
    worth: NDArray[np.float64]
    needed: NDArray[np.float64]
    thresholds: NDArray[np.int32]
    lowest: NDArray[np.float64]
    sums: NDArray[np.int32]


@njit(cache=True, nogil=True)
def empty_tables(layout, queries, terms, two_digits):
    """Return `SmallTables` of none yet."""
    count, entries = terms.shape[1], terms.shape[2]
    group = layout[0]
    query_bytes = 256 * count if entries == 256 else -(-count // (2 * group)) * group * 32
    made_for, seen = np.empty(queries), np.empty((queries, 3))
    for q in range(queries):
        made_for[q] = -np.inf
        for i in range(3):
            seen[q, i] = 0
    return SmallTables(
        zeros(queries * query_bytes),
        zeros(queries * query_bytes if two_digits else 0),
        max(min(layout[1], layout[2] // count), 1),  # sums of second digits must not overflow
        seen,
        made_for,
        np.empty(queries),
        np.empty(queries),
        np.empty(queries),
        np.empty(queries, np.int32),
        np.empty(count),
        np.empty((2, 32), np.int32),
    )


@njit(cache=True, nogil=True)
def zeros(size):
    """Return so many bytes that begin at a cache line."""
    room = np.empty(size + LINE, np.uint8)
    for i in range(len(room)):  # as `np.zeros` does, which would be compiled for this alone
        room[i] = 0
    first = -room.ctypes.data % LINE
    return room[first : first + size]


def layout_of(bits, level):
    """Return how a level wants the tables for codes of 4 or 8 bits, as `nibble.LAYOUTS` says."""
    raise NotImplementedError


@overload(layout_of, jit_options={"nogil": True})
def _layout_of(bits, level):
    group, most, most_sum = nibble.LAYOUTS[name_of(level)] if number_of(bits) == 4 else byte.LAYOUT
    # As plain integers: literal ones would have everything that takes them compiled for each layout.
    return lambda bits, level: (np.int64(group), np.int64(most), np.int64(most_sum))


@borrowing
def renew(q, layout, queries, heap, small, rank):
    """Make the tables of a query where what was learned makes better ones, and set its threshold.

    The first ones are made for what the bound will be at the end: when all rows were seen, of which one in `rank` is
    wanted.
    """
    bound, made_for = bound_of(q, heap), small.made_for[q]
    lengths = queries.least, queries.largest
    first = made_for == -np.inf
    if first:
        hoped = expected(small.seen[q], rank)
        made_for = hoped if queries.kind == UNIT and hoped > max(bound, 0.0) else bound
    elif queries.kind == UNIT and abs(gain(bound, made_for, lengths)) > small.worth[q]:
        made_for = bound
    if first or made_for != small.made_for[q]:
        weights = combination(queries.kind, made_for, queries.biases[q], queries.norm_bias, lengths)
        fill(q, layout, queries, weights, small)
        small.made_for[q] = made_for
    set_threshold(q, bound, queries, small)


@borrowing
def expected(seen, rank):
    """Return a score that about one in `rank` rows reaches, by some that were seen; -inf where that is not known.

    As if scores were normal.
    """
    count = seen[0]
    if count < 2 or rank < 4:
        return -np.inf
    mean, twice = seen[1] / count, 2 * logarithm(rank)
    deviations = np.sqrt(twice) - logarithm(2 * np.pi * twice) / (2 * np.sqrt(twice))
    return mean + deviations * np.sqrt(max(seen[2] / count - mean * mean, 0.0))


@njit(inline="always")
def logarithm(x):
    """Return the natural one of a number from one on, to a twentieth: a library of kernels can call no other."""
    found = 0.0
    while x > 2:
        x, found = x / 2, found + 0.6931
    return found + (x - 1) * 0.6931


@borrowing
def set_threshold(q, bound, queries, small):
    """Let rows of a query pass from the sum on that a row needs to reach `bound`."""
    made_for, needed = small.made_for[q], 0.0
    if queries.kind != UNIT:
        needed = bound
    elif made_for > 0:  # q . x - B |x| has to reach (bound - B) |x|
        needed = (bound - made_for) * (queries.least if bound > made_for else queries.largest)
    # A part in a million covers the rounding of what comes before.
    small.needed[q] = (needed - small.base[q]) / small.worth[q] - 1e-6
    small.thresholds[q] = np.int32(min(max(np.ceil(small.needed[q]), -1.0), 2.0**31 - 1))


@borrowing
def refined(level, layout, q, codes, at, small):
    """Return which rows of a tile pass by both digits."""
    queries, sums = len(small.needed), small.sums
    query_bytes = len(small.entries) // queries
    first, together = first_table(q, queries, layout[0], query_bytes)
    nibble_sums(level, codes, at, small.entries, first, query_bytes, together, sums[0])
    nibble_sums(level, codes, at, small.digits, first, query_bytes, together, sums[1])
    mask, needed, steps = np.uint32(0), small.needed[q], small.steps
    for lane in range(32):
        mask |= np.uint32(sums[0, lane] - sums[1, lane] / steps >= needed) << np.uint32(lane)
    return mask


@borrowing
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


@njit(inline="always")
def gain(bound, made_for, lengths):
    """Return by how much tables made for `bound` would tell rows apart better than those made for less."""
    return (bound - made_for) * (lengths[1] - lengths[0] if made_for > 0 else lengths[1])


@borrowing
def fill(q, layout, queries, weights, small):
    """Write the tables of a query, and what a sum of their entries stands for."""
    group, most, most_sum = layout
    a, b, base = weights
    count, entries = queries.terms.shape[1:]
    total_queries, query_bytes = len(small.base), len(small.entries) // len(small.base)
    terms = queries.terms.ctypes.data + 4 * q * count * entries
    norm_terms = queries.norm_terms.ctypes.data if len(queries.norm_terms) else terms
    lowest, widest, total = small.lowest, 0.0, 0.0
    for j in range(count):
        at = 4 * j * entries
        low, high = np.inf, -np.inf
        for i in range(at, at + 4 * entries, 4 * TOGETHER):
            some: tuple[float, float] = span_of(terms + i, norm_terms + i, a, b)
            low, high = min(low, some[0]), max(high, some[1])
        lowest[j] = low
        base += low
        widest, total = max(widest, high - low), total + (high - low)
    # Rounding up adds at most one to each entry.
    unit = max(widest / (most - 1), total / max(most_sum - count, 1), 1e-300)
    small.base[q], small.worth[q], each = base, unit, 1 / unit
    written, digits = small.entries.ctypes.data, small.digits.ctypes.data
    for j in range(count):
        place = table_at(q, total_queries, j, entries, group, query_bytes)
        for i in range(0, entries, TOGETHER):
            at = 4 * (j * entries + i)
            write_bytes(terms + at, norm_terms + at, a, b, lowest[j], each, written + place + i)
            if len(small.digits):
                write_digits(terms + at, norm_terms + at, a, b, lowest[j], each, small.steps, digits + place + i)


@njit(inline="always")
def table_at(q, queries, j, entries, group, query_bytes):
    """Return where table j of a query begins; see `nibble_masks` and `byte_masks`."""
    if entries == 256:
        return q * query_bytes + 256 * j
    byte, side = j >> 1, j & 1
    first, together = first_table(q, queries, group, query_bytes)
    return first + (byte // group * together * 2 + side) * 16 * group + byte % group * 16
