"""Hashes of character n-grams, as fastText and floret make them."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["fnv1a", "four_pieces", "murmur3", "string_numbers", "subword_ids"]

C1 = np.uint64(0x87C37B91114253D5)
C2 = np.uint64(0x4CF5AD432745937F)


@njit(cache=True, nogil=True, inline="always")
def _rotate(x, bits):
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@njit(cache=True, nogil=True, inline="always")
def _finished(k):
    k = (k ^ (k >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    k = (k ^ (k >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return k ^ (k >> np.uint64(33))


@njit(cache=True, nogil=True, inline="always")
def _word(text, at, size):
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(text[at + i]) << np.uint64(8 * i)
    return word


@njit(cache=True, nogil=True)
def murmur3(text, start, end, seed):
    """Return MurmurHash3_x64_128 of text[start:end] as two numbers of 64 bits (A. Appleby, SMHasher, 2011)."""
    h1, h2 = np.uint64(seed), np.uint64(seed)
    size = end - start
    at = start
    while at + 16 <= end:
        h1 ^= _rotate(_word(text, at, 8) * C1, 31) * C2
        h1 = (_rotate(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
        h2 ^= _rotate(_word(text, at + 8, 8) * C2, 33) * C1
        h2 = (_rotate(h2, 31) + h1) * np.uint64(5) + np.uint64(0x38495AB5)
        at += 16
    left = end - at
    if left > 8:
        h2 ^= _rotate(_word(text, at + 8, left - 8) * C2, 33) * C1
    if left > 0:
        h1 ^= _rotate(_word(text, at, min(left, 8)) * C1, 31) * C2
    h1 ^= np.uint64(size)
    h2 ^= np.uint64(size)
    h1 += h2
    h2 += h1
    h1, h2 = _finished(h1), _finished(h2)
    h1 += h2
    h2 += h1
    return h1, h2


@njit(cache=True, nogil=True)
def fnv1a(text, start, end):
    """Return fastText's hash of text[start:end]: FNV-1a of 32 bits, bytes from 128 on taken as negative."""
    h = np.uint32(2166136261)
    for at in range(start, end):
        byte = np.uint32(text[at])
        if byte >= np.uint32(128):
            byte |= np.uint32(0xFFFFFF00)
        h = np.uint32((h ^ byte) * np.uint32(16777619))
    return h


@njit(cache=True, nogil=True)
def subword_ids(text, starts, least, most, buckets, hashes, seed, whole, counts, ids):
    """Write the bucket of every n-gram of each word text[starts[i] : starts[i + 1]], its marks included.

    hashes is 0 for fastText, else how many numbers floret takes of a hash; `whole` counts the word itself as its first
    n-gram. counts[i] becomes the number of ids of word i; with no room in `ids` they are only counted.
    """
    found = 0
    for i in range(len(starts) - 1):
        first, end = starts[i], starts[i + 1]
        before = found
        if whole and end > first:
            found = _put(text, first, end, buckets, hashes, seed, ids, found)
        for begin in range(first, end):
            if text[begin] & 0xC0 == 0x80:
                continue
            at, n = begin, 1
            while at < end and n <= most:
                at += 1
                while at < end and text[at] & 0xC0 == 0x80:
                    at += 1
                if n >= least and not (n == 1 and (begin == first or at == end)):
                    found = _put(text, begin, at, buckets, hashes, seed, ids, found)
                n += 1
        counts[i] = found - before
    return found


@njit(cache=True, nogil=True)
def _put(text, start, end, buckets, hashes, seed, ids, found):
    room = found < len(ids)
    if hashes == 0:
        if room:
            ids[found] = fnv1a(text, start, end) % buckets
        return found + 1
    if room:
        low, high = murmur3(text, start, end, seed)
        for h in range(hashes):
            word = low if h < 2 else high
            ids[found + h] = ((word >> np.uint64(32 * (h % 2))) & np.uint64(0xFFFFFFFF)) % np.uint64(buckets)
    return found + hashes


@njit(cache=True, nogil=True)
def four_pieces(text, seed, out):
    """out[i, :] = the four 32-bit pieces of the MurmurHash3 of the i-th eight bytes, lowest first."""
    for i in range(len(out)):
        low, high = murmur3(text, 8 * i, 8 * i + 8, seed)
        for h in range(4):
            word = low if h < 2 else high
            out[i, h] = (word >> np.uint64(32 * (h % 2))) & np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def string_numbers(text, starts, gap, out):
    """out[i]: the MurmurHash2 of 64 bits with seed 1 (A. Appleby, 2008) of each string, which spaCy knows it by."""
    m = np.uint64(0xC6A4A7935BD1E995)
    for i in range(len(out)):
        at, end = starts[i], starts[i + 1] - gap
        h = np.uint64(1) ^ (np.uint64(end - at) * m)
        while at + 8 <= end:
            k = _word(text, at, 8) * m
            h = (h ^ ((k ^ (k >> np.uint64(47))) * m)) * m
            at += 8
        if at < end:
            h = (h ^ _word(text, at, end - at)) * m
        h = (h ^ (h >> np.uint64(47))) * m
        out[i] = h ^ (h >> np.uint64(47))
