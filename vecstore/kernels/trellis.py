"""Trellis-coded quantization: the cheapest path through a trellis for every row, and codes back to coefficients.

Both kernels describe a code by the same arrays, which `vecstore.codecs.trellis.CodeLayout` computes:

``bits[i]``
    bits that step i takes: one of the path, the others a sub-index.
``firsts[i] : firsts[i + 1]``
    the coefficients that step i codes (one or two).
``shifts[i]``
    where the step's sub-index begins in the integer that its group of eight steps is.
``edges[g] : edges[g + 1]``
    the bytes of group g.
``starts[j]``
    where the levels of coefficient j begin in ``levels``; a level's number is sub-index * 4 + subset.

The encoder also takes ``subsets[w]``, the subset that the window w of path bits names, newest bit highest.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["decode_rows", "encode_rows"]

LANES = 32  # rows that go through the trellis side by side, so that every inner loop is a few vector instructions


# fastmath: a product and the sum it enters may be fused; no other liberty is taken, and infinity stays infinity.
@njit(cache=True, nogil=True, fastmath={"contract"})
def encode_rows(z, bits, firsts, shifts, edges, starts, levels, subsets, out):
    """out[n] = the code whose coefficients are nearest to z[n] (Viterbi's algorithm); ties go to the lower branch."""
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
            _trace(cost, nearest, oldest, bits, shifts, edges, subsets, lane, out[start + lane])


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
def _trace(cost, nearest, oldest, bits, shifts, edges, subsets, lane, code):
    """Walk back from the cheapest last state and write one row's code."""
    state = 0
    for other in range(len(cost)):
        if cost[other, lane] < cost[state, lane]:
            state = other
    newest = len(cost)  # the window's highest bit
    mask = len(cost) - 1
    for g in range(len(edges) - 2, -1, -1):
        group = np.uint64(0)
        for i in range(min(8 * g + 8, len(bits)) - 1, 8 * g - 1, -1):
            window = 2 * state + (1 if oldest[i, state, lane] else 0)
            sub = np.uint64(nearest[i, subsets[window], lane])
            group |= sub << np.uint64(shifts[i])
            if window & newest:
                group |= np.uint64(1) << np.uint64(i - 8 * g)
            state = window & mask
        for at in range(edges[g], edges[g + 1]):
            code[at] = group & np.uint64(255)
            group >>= np.uint64(8)


@njit(cache=True, nogil=True)
def decode_rows(codes, bits, firsts, shifts, edges, starts, levels, high, low, memory, out):
    """out[:, n] = the coefficients that codes[n] stands for; coefficient by coefficient, so that rows are lanes.

    high and low tell the steps back (``vecstore.codecs.trellis.taps``) whose path bits make up the bits of a subset;
    those of a whole group come from a few shifts of its path bits and of the `memory` ones before.
    """
    one, two = np.uint64(1), np.uint64(2)
    group = np.empty(2 * LANES, np.uint64)
    path = np.empty(2 * LANES, np.uint64)  # path bits of the group, above those that are remembered
    upper = np.empty(2 * LANES, np.uint64)  # bit i: the upper bit of the subset of the group's step i
    lower = np.empty(2 * LANES, np.uint64)
    number = np.empty(2 * LANES, np.uint64)  # unsigned, so that indexing need not look for negative numbers
    for start in range(0, codes.shape[0], 2 * LANES):
        rows = min(2 * LANES, codes.shape[0] - start)
        group[:] = 0
        path[:] = 0
        for g in range(len(edges) - 1):
            first, end = 8 * g, min(8 * g + 8, len(bits))
            mask = np.uint64((1 << (end - first)) - 1)
            for lane in range(rows):
                packed = np.uint64(0)
                for at in range(edges[g + 1] - 1, edges[g] - 1, -1):
                    packed = packed << np.uint64(8) | np.uint64(codes[start + lane, at])
                group[lane] = packed
                path[lane] |= (packed & mask) << np.uint64(memory)
            _parities(path, high, memory, upper)
            _parities(path, low, memory, lower)
            for lane in range(2 * LANES):
                path[lane] >>= np.uint64(end - first)
            for i in range(first, end):
                shift, mask = np.uint64(shifts[i]), np.uint64((1 << (bits[i] - 1)) - 1)
                step = np.uint64(i - first)
                for lane in range(2 * LANES):
                    subset = (upper[lane] >> step & one) << one | (lower[lane] >> step & one)
                    number[lane] = (group[lane] >> shift & mask) << two | subset
                for j in range(firsts[i], firsts[i + 1]):
                    own, into = levels[starts[j] : starts[j + 1]], out[j]
                    for lane in range(rows):
                        into[start + lane] = own[number[lane]]


@njit(cache=True, nogil=True)
def _parities(path, backs, memory, into):
    """into[lane], bit i = the exclusive-or of the path bits so many steps back from step i of the group."""
    into[:] = 0
    for back in backs:
        shift = np.uint64(memory - back)
        for lane in range(2 * LANES):
            into[lane] ^= path[lane] >> shift
