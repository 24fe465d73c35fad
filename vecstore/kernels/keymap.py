"""Build and query the static function of a key map (described in vecstore/keys/map.py)."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["find_values", "peel"]


@njit(cache=True, nogil=True, inline="always")
def _places(h, seed, third):
    """Return the three cells of a hash: one in each third of the table."""
    g = h + seed * np.uint64(0x9E3779B97F4A7C15)
    g = (g ^ (g >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    g = (g ^ (g >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    g = g ^ (g >> np.uint64(33))
    low = np.uint64(0xFFFFFFFF)
    size = np.uint64(third)
    a = ((g & low) * size) >> np.uint64(32)
    b = (((g >> np.uint64(21)) & low) * size) >> np.uint64(32)
    c = ((g >> np.uint64(32)) * size) >> np.uint64(32)
    return np.int64(a), third + np.int64(b), 2 * third + np.int64(c)


@njit(cache=True, nogil=True)
def peel(hashes, values, seed, third, cells):
    """Fill `cells` so that the three cells of hashes[i] xor to values[i]; False if this seed does not allow it."""
    count = np.zeros(3 * third, np.int32)
    which = np.zeros(3 * third, np.int64)  # xor of the numbers of the hashes that use a cell
    for i in range(len(hashes)):
        for place in _places(hashes[i], seed, third):
            count[place] += 1
            which[place] ^= i
    order, at = np.empty(len(hashes), np.int64), np.empty(len(hashes), np.int64)
    queue = np.empty(3 * third, np.int64)
    head = tail = done = 0
    for place in range(3 * third):
        if count[place] == 1:
            queue[tail] = place
            tail += 1
    while head < tail:
        place = queue[head]
        head += 1
        if count[place] != 1:
            continue
        i = which[place]
        order[done], at[done] = i, place
        done += 1
        for other in _places(hashes[i], seed, third):
            count[other] -= 1
            which[other] ^= i
            if count[other] == 1 and other != place:
                queue[tail] = other
                tail += 1
    if done < len(hashes):
        return False
    for k in range(done - 1, -1, -1):
        i, free = order[k], at[k]
        a, b, c = _places(hashes[i], seed, third)
        cells[free] = 0
        cells[free] = values[i] ^ cells[a] ^ cells[b] ^ cells[c]
    return True


@njit(cache=True, nogil=True)
def find_values(data, offsets, thirds, seeds, segment_bits, value_bits, hashes, out):
    """out[i]: what the map holds for hashes[i]; any value when it was not built with that hash."""
    mask = (1 << value_bits) - 1
    for i in range(len(hashes)):
        segment = np.int64((hashes[i] >> np.uint64(1)) >> np.uint64(63 - segment_bits))
        value = 0
        for place in _places(hashes[i], np.uint64(seeds[segment]), thirds[segment]):
            bit = place * value_bits
            at = offsets[segment] + (bit >> 3)
            value ^= (np.int64(data[at]) | np.int64(data[at + 1]) << 8) >> (bit & 7) & mask
        out[i] = value
