"""XXH64 of many byte strings at once (Y. Collet, XXH64 algorithm description, xxHash specification 0.1.1)."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["xxh64", "xxh64_packed"]

P1 = np.uint64(0x9E3779B185EBCA87)
P2 = np.uint64(0xC2B2AE3D27D4EB4F)
P3 = np.uint64(0x165667B19E3779F9)
P4 = np.uint64(0x85EBCA77C2B2AE63)
P5 = np.uint64(0x27D4EB2F165667C5)


@njit(cache=True, nogil=True, inline="always")
def _rotate(x, bits):
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@njit(cache=True, nogil=True, inline="always")
def _read(text, at, size):
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(text[at + i]) << np.uint64(8 * i)
    return word


@njit(cache=True, nogil=True, inline="always")
def _round(lane, word):
    return _rotate(lane + word * P2, 31) * P1


@njit(cache=True, nogil=True)
def xxh64(text, start, end, seed):
    """Return the XXH64 of text[start:end]; the same number as xxhash.xxh64_intdigest."""
    at = start
    if end - start >= 32:
        a, b, c, d = seed + P1 + P2, seed + P2, seed, seed - P1
        while at + 32 <= end:
            a = _round(a, _read(text, at, 8))
            b = _round(b, _read(text, at + 8, 8))
            c = _round(c, _read(text, at + 16, 8))
            d = _round(d, _read(text, at + 24, 8))
            at += 32
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        for lane in (a, b, c, d):
            h = (h ^ _round(np.uint64(0), lane)) * P1 + P4
    else:
        h = seed + P5
    h += np.uint64(end - start)
    while at + 8 <= end:
        h = _rotate(h ^ _round(np.uint64(0), _read(text, at, 8)), 27) * P1 + P4
        at += 8
    if at + 4 <= end:
        h = _rotate(h ^ (_read(text, at, 4) * P1), 23) * P2 + P3
        at += 4
    while at < end:
        h = _rotate(h ^ (np.uint64(text[at]) * P5), 11) * P1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * P2
    h = (h ^ (h >> np.uint64(29))) * P3
    return h ^ (h >> np.uint64(32))


@njit(cache=True, nogil=True)
def xxh64_packed(text, starts, gap, seed, out):
    """out[i]: the hash of text[starts[i] : starts[i + 1] - gap]."""
    for i in range(len(out)):
        out[i] = xxh64(text, starts[i], starts[i + 1] - gap, np.uint64(seed))
