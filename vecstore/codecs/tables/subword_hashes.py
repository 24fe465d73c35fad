"""What `vecstore.kernels.subwords` does, without compiled code: a few keys are sooner done than that is loaded."""

from __future__ import annotations

__all__ = ["fnv1a", "murmur2", "murmur3", "pieces", "word_ids"]

M64 = (1 << 64) - 1
C1, C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def murmur3(data: bytes, seed: int) -> tuple[int, int]:
    """Return MurmurHash3_x64_128 as two numbers of 64 bits (A. Appleby, SMHasher, 2011)."""
    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        h1 ^= _stirred(int.from_bytes(data[at : at + 8], "little"), C1, 31, C2)
        h1 = ((_rotated(h1, 27) + h2) * 5 + 0x52DCE729) & M64
        h2 ^= _stirred(int.from_bytes(data[at + 8 : at + 16], "little"), C2, 33, C1)
        h2 = ((_rotated(h2, 31) + h1) * 5 + 0x38495AB5) & M64
    h2 ^= _stirred(int.from_bytes(data[whole + 8 :], "little"), C2, 33, C1)
    h1 ^= _stirred(int.from_bytes(data[whole : whole + 8], "little"), C1, 31, C2)
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & M64
    h2 = (h2 + h1) & M64
    h1, h2 = _finished(h1), _finished(h2)
    h1 = (h1 + h2) & M64
    return h1, (h2 + h1) & M64


def murmur2(data: bytes) -> int:
    """Return MurmurHash2 of 64 bits with seed 1 (A. Appleby, 2008), by which spaCy knows a string."""
    m, whole = 0xC6A4A7935BD1E995, len(data) // 8 * 8
    h = 1 ^ (len(data) * m & M64)
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little") * m & M64
        h = (h ^ ((k ^ (k >> 47)) * m & M64)) * m & M64
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & M64
    h = (h ^ (h >> 47)) * m & M64
    return h ^ (h >> 47)


def fnv1a(data: bytes) -> int:
    """Return fastText's hash: FNV-1a of 32 bits, bytes from 128 on taken as negative."""
    h = 2166136261
    for byte in data:
        h = (h ^ (byte | 0xFFFFFF00 if byte >= 128 else byte)) * 16777619 & 0xFFFFFFFF
    return h


def pieces(data: bytes, seed: int, count: int) -> list[int]:
    """Return the first 32-bit pieces of a MurmurHash3, lowest first."""
    low, high = murmur3(data, seed)
    return [low & 0xFFFFFFFF, low >> 32, high & 0xFFFFFFFF, high >> 32][:count]


def word_ids(word: bytes, least: int, most: int, buckets: int, hashes: int, seed: int, whole: bool) -> list[int]:
    """Return the buckets of a word's n-grams; see `vecstore.kernels.subwords.subword_ids`."""
    starts = [at for at, byte in enumerate(word) if byte & 0xC0 != 0x80]
    ends = [*starts[1:], len(word)]
    found = [word] if whole and word else []
    for first, start in enumerate(starts):
        for n in range(1, min(most, len(starts) - first) + 1):
            end = ends[first + n - 1]
            if n >= least and not (n == 1 and (start == 0 or end == len(word))):
                found.append(word[start:end])
    if hashes == 0:
        return [fnv1a(gram) % buckets for gram in found]
    return [piece % buckets for gram in found for piece in pieces(gram, seed, hashes)]


def _stirred(k: int, first: int, bits: int, second: int) -> int:
    return _rotated(k * first & M64, bits) * second & M64


def _rotated(x: int, bits: int) -> int:
    return (x << bits | x >> (64 - bits)) & M64


def _finished(k: int) -> int:
    k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCD & M64
    k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53 & M64
    return k ^ (k >> 33)
