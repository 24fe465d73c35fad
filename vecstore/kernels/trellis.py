"""Trellis-coded quantization: the cheapest path through a trellis for every row, and codes back to coefficients.

Both kernels describe a code by the same arrays, which `vecstore.codecs.trellis.layout.CodeLayout` computes:

``bits[i]``
    bits that step i takes: one of the path, the others a sub-index.
``firsts[i] : firsts[i + 1]``
    the coefficients that step i codes (one or two).
``starts[j]``
    where the levels of coefficient j begin in ``levels``; a level's number is sub-index * 4 + subset.
``paths[i]``, ``heads[i]``, ``rests[i]``
    places in the code, in bits: of the step's path bit, of the upper ``uppers[i]`` bits of its sub-index, and of the
    others. Those of eight steps from a multiple of eight on are next to each other.

The encoder also takes ``subsets[w]``, the subset that the window w of path bits names, newest bit highest.
"""

from __future__ import annotations

import os
from ctypes import string_at
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from vecstore.kernels.arguments import Decoding
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.simd import I8, I64, load

__all__ = ["DECODED", "LANE_ARRAYS", "decode_lanes", "decode_rows", "encode_rows", "lane_bytes"]

LANES = 32  # rows that go through the trellis side by side, so that every inner loop is a few vector instructions
DECODED, STRIP = 64, 16  # rows that are decoded side by side, as many strips as are needed
LANE_ARRAYS = 6  # that decoding needs room for
WORD = 8  # bytes that are read at once: the bits of eight steps, wherever in a byte they begin


# fastmath: a product and the sum it enters may be fused; no other liberty is taken, and infinity stays infinity.
@njit(cache=True, nogil=True, fastmath={"contract"})
def encode_rows(z, bits, firsts, starts, levels, places, subsets, out):
    """out[n] = the code whose coefficients are nearest to z[n] (Viterbi's algorithm); ties go to the lower branch.

    places are paths, heads, rests and uppers.
    """
    steps, windows = len(bits), len(subsets)
    states = windows // 2
    block = np.empty((z.shape[1], LANES), np.float32)  # block[coefficient, row]
    cost = np.empty((states, LANES), np.float32)
    extended = np.empty((states, LANES), np.float32)
    gap = np.empty((4, LANES), np.float32)  # gap[subset, row]: squared distance to the subset's nearest level
    error = np.empty(LANES, np.float32)
    nearest = np.empty((steps, 4, LANES), np.uint8)  # nearest[step, subset, row]: sub-index of that level
    oldest = np.empty((steps, states, LANES), np.uint8)  # oldest bit of the window by which a state is best reached
    for start in range(0, z.shape[0], LANES):
        rows = min(LANES, z.shape[0] - start)
        for lane in range(LANES):
            for j in range(z.shape[1]):
                block[j, lane] = z[start + min(lane, rows - 1), j]
        cost[:] = np.inf
        cost[0] = 0
        for i in range(steps):
            for subset in range(4):
                _search(block, firsts[i], firsts[i + 1], starts, levels, subset, bits[i], error, gap, nearest[i])
            for state in range(states):
                _extend(cost, gap, subsets, state, oldest[i], extended)
            cost, extended = extended, cost
        for lane in range(rows):
            _trace(cost, nearest, oldest, bits, places, subsets, lane, out[start + lane])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _search(block, first, end, starts, levels, subset, bits, error, gap, nearest):
    """gap[subset], nearest[subset] = distance to and number of the nearest of a subset's 2**(bits - 1) points."""
    best, number = gap[subset], nearest[subset]
    for lane in range(LANES):
        best[lane] = np.inf
        number[lane] = 0
    for sub in range(1 << (bits - 1)):
        level = levels[starts[first] + 4 * sub + subset]
        for lane in range(LANES):
            away = block[first, lane] - level
            error[lane] = away * away
        for j in range(first + 1, end):
            level = levels[starts[j] + 4 * sub + subset]
            for lane in range(LANES):
                away = block[j, lane] - level
                error[lane] += away * away
        for lane in range(LANES):
            if error[lane] < best[lane]:
                number[lane] = sub
            best[lane] = error[lane] if error[lane] < best[lane] else best[lane]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _extend(cost, gap, subsets, state, oldest, extended):
    """extended[state], oldest[state] = the cheaper of the two ways into a state: windows 2 * state, 2 * state + 1."""
    mask = len(cost) - 1
    way0, way1 = cost[2 * state & mask], cost[(2 * state + 1) & mask]
    gap0, gap1 = gap[subsets[2 * state]], gap[subsets[2 * state + 1]]
    into, bit = extended[state], oldest[state]
    for lane in range(LANES):
        cost0, cost1 = way0[lane] + gap0[lane], way1[lane] + gap1[lane]
        bit[lane] = 1 if cost1 < cost0 else 0
        into[lane] = cost1 if cost1 < cost0 else cost0


@njit(cache=True, nogil=True)
def _trace(cost, nearest, oldest, bits, places, subsets, lane, code):
    """Walk back from the cheapest last state and write one row's code."""
    paths, heads, rests, uppers = places
    state = 0
    for other in range(len(cost)):
        if cost[other, lane] < cost[state, lane]:
            state = other
    newest = len(cost)  # the window's highest bit
    mask = len(cost) - 1
    code[:] = 0
    for i in range(len(bits) - 1, -1, -1):
        window = 2 * state + (1 if oldest[i, state, lane] else 0)
        sub = np.uint64(nearest[i, subsets[window], lane])
        lower = np.uint64(bits[i] - 1 - uppers[i])
        _put(code, heads[i], sub >> lower)
        _put(code, rests[i], sub & ((np.uint64(1) << lower) - np.uint64(1)))
        _put(code, paths[i], np.uint64(1 if window & newest else 0))
        state = window & mask


@njit(inline="always")
def _put(code, place, value):
    """Set those bits of a code, from a place on, that are set in a value of up to nine bits."""
    shifted = value << np.uint64(place & 7)
    if shifted & np.uint64(255):
        code[place >> 3] |= np.uint8(shifted & np.uint64(255))
    if shifted >> np.uint64(8):
        code[(place >> 3) + 1] |= np.uint8(shifted >> np.uint64(8))


@njit(cache=True, nogil=True)
def decode_rows(codes, bits, firsts, starts, levels, places, high, low, memory, out):
    """out[:, n] = the coefficients that codes[n] stands for; places are as for `encode_rows`."""
    plan = Decoding(bits, firsts, starts, levels, places, high, low, memory)
    width = lane_bytes(plan, codes.shape[1])
    some, lanes = np.zeros((DECODED, width), np.uint8), np.empty((LANE_ARRAYS, DECODED), np.uint64)
    found = np.empty((out.shape[0], DECODED), np.float32)
    for start in range(0, codes.shape[0], DECODED):
        rows = min(DECODED, codes.shape[0] - start)
        for lane in range(rows):
            for j in range(codes.shape[1]):
                some[lane, j] = codes[start + lane, j]
        decode_lanes(plan, some, rows, lanes, found)
        for j in range(out.shape[0]):
            for lane in range(rows):
                out[j, start + lane] = found[j, lane]


@njit(cache=True, nogil=True)
def lane_bytes(plan, size_bytes):
    """Return how many bytes `decode_lanes` may look at of each code: those behind its last one have to be 0."""
    last = 8 * size_bytes
    for i in range(len(plan.bits)):
        for places in plan.places[:3]:
            last = max(last, places[i])
    return (last >> 3) + 1 + WORD


@borrowing
def decode_lanes(plan, codes, rows, lanes, out):
    """out[:, lane] = the coefficients that codes[lane] stands for, of up to DECODED rows, which are lanes.

    codes (DECODED, lane_bytes) uint8, `lanes` (LANE_ARRAYS, DECODED) uint64 is room. Rows are rounded up to STRIP.

    The plan's high and low tell the steps back (``vecstore.codecs.trellis.layout.taps``) whose path bits make up the
    bits of a subset; those of eight steps come from a few shifts of their path bits and of the `memory` ones before.
    """
    paths, heads, rests, uppers = plan.places
    bits, firsts, starts, levels = plan.bits, plan.firsts, plan.starts, plan.levels
    one, two = np.uint64(1), np.uint64(2)
    # path: bits of eight steps, above those that are remembered; bit i of upper and lower is of the i-th step's subset
    head, rest, path, upper, lower, number = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5]
    memory, base, stride = plan.memory, codes.ctypes.data, codes.shape[1]
    strips = (rows + STRIP - 1) // STRIP
    for lane in range(strips * STRIP):
        path[lane] = 0
    for first in range(0, len(bits), 8):
        last = min(first + 8, len(bits)) - 1
        mask = np.uint64((1 << (last + 1 - first)) - 1)
        head_at, rest_at, path_at = heads[first], rests[first], paths[first]
        for lane in range(strips * STRIP):
            code = base + lane * stride
            head[lane] = word(code + (head_at >> 3)) >> np.uint64(head_at & 7)
            rest[lane] = word(code + (rest_at >> 3)) >> np.uint64(rest_at & 7)
            path[lane] |= (word(code + (path_at >> 3)) >> np.uint64(path_at & 7) & mask) << np.uint64(memory)
        _parities(path, plan.high, memory, strips, upper)
        _parities(path, plan.low, memory, strips, lower)
        for lane in range(strips * STRIP):
            path[lane] >>= np.uint64(last + 1 - first)
        for i in range(first, last + 1):
            in_head, in_rest = np.uint64(heads[i] - heads[first]), np.uint64(rests[i] - rests[first])
            wide = np.uint64(bits[i] - 1 - uppers[i])
            head_mask = np.uint64((1 << uppers[i]) - 1)
            rest_mask = np.uint64((1 << (bits[i] - 1 - uppers[i])) - 1)
            step = np.uint64(i - first)
            for lane in range(strips * STRIP):
                subset = (upper[lane] >> step & one) << one | (lower[lane] >> step & one)
                sub = (head[lane] >> in_head & head_mask) << wide | (rest[lane] >> in_rest & rest_mask)
                number[lane] = sub << two | subset
            for j in range(firsts[i], firsts[i + 1]):
                own, into = levels[starts[j] : starts[j + 1]], out[j]
                for lane in range(strips * STRIP):
                    into[lane] = own[number[lane]]


@borrowing
def _parities(path, backs, memory, strips, into):
    """into[lane], bit i = the exclusive-or of the path bits so many steps back from step i of the group."""
    for lane in range(strips * STRIP):
        into[lane] = 0
    for back in backs:
        shift = np.uint64(memory - back)
        for lane in range(strips * STRIP):
            into[lane] ^= path[lane] >> shift


@intrinsic
def _word(typing, address):

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        return load(b, b.inttoptr(arguments[0], I8.as_pointer()), I64)

    return types.uint64(types.intp), generate


def _interpreted_word(address):
    return np.uint64(int.from_bytes(string_at(int(address), WORD), "little"))


INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
word = _interpreted_word if INTERPRETED else _word  # the eight bytes at an address, the first one lowest
