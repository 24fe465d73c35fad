"""Asymmetric numeral systems: bytes to words of 16 bits and back, each byte by the model of its column."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["decode", "encode"]

# The state holds 16 to 32 bits; frequencies of a model sum to 2**16.


@njit(cache=True, nogil=True)
def encode(symbols, models, cumulative, out):
    """Write words from the end of `out` forwards, the state last; return where they begin.

    symbols[i] has the model models[i % len(models)]; cumulative[model, s] is the sum of frequencies below symbol s.
    """
    place, state = len(out), np.uint64(1 << 16)
    for i in range(len(symbols) - 1, -1, -1):
        below = cumulative[models[i % len(models)]]
        first = np.uint64(below[symbols[i]])
        size = np.uint64(below[np.int64(symbols[i]) + 1]) - first
        if state >= size << np.uint64(16):
            place -= 1
            out[place] = state & np.uint64(0xFFFF)
            state >>= np.uint64(16)
        state = (state // size << np.uint64(16)) + state % size + first
    for _ in range(2):
        place -= 1
        out[place] = state & np.uint64(0xFFFF)
        state >>= np.uint64(16)
    return place


@njit(cache=True, nogil=True)
def decode(words, models, cumulative, symbols):
    """Fill `symbols`; return whether the words are exactly what some symbols were encoded to."""
    if len(words) < 2:
        return False
    state = np.uint64(words[0]) << np.uint64(16) | np.uint64(words[1])
    place = 2
    if state < np.uint64(1 << 16):
        return False
    for i in range(len(symbols)):
        below = cumulative[models[i % len(models)]]
        slot = state & np.uint64(0xFFFF)
        low, high = 0, 256  # the symbol with below[symbol] <= slot < below[symbol + 1]
        while high - low > 1:
            middle = (low + high) >> 1
            if np.uint64(below[middle]) <= slot:
                low = middle
            else:
                high = middle
        symbols[i] = low
        first = np.uint64(below[low])
        state = (np.uint64(below[low + 1]) - first) * (state >> np.uint64(16)) + slot - first
        if state < np.uint64(1 << 16):
            if place == len(words):
                return False
            state = state << np.uint64(16) | np.uint64(words[place])
            place += 1
    return place == len(words) and state == np.uint64(1 << 16)
