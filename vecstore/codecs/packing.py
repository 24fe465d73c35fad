"""Levels of a few bits, packed into bytes, and tables over such bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats

__all__ = [
    "join",
    "join_bits",
    "join_uneven",
    "level_tables",
    "number_bytes",
    "packed_bytes",
    "paired",
    "split",
    "split_bits",
    "split_uneven",
    "whole_numbers",
]


def paired(terms: Floats) -> Floats:
    """Return tables over nibbles (q, m, 16) with one of zeros added if m is odd: two for each byte."""
    return terms if terms.shape[1] % 2 == 0 else np.pad(terms, ((0, 0), (0, 1), (0, 0)))


def join(levels: NDArray[np.uint8], per_byte: int) -> Codes:
    """Pack `per_byte` levels of 8 / per_byte bits into each byte, the first one lowest."""
    n, d = levels.shape
    padded = np.zeros((n, -(-d // per_byte) * per_byte), np.uint8)
    padded[:, :d] = levels
    joined = padded[:, 0::per_byte].copy()
    for place in range(1, per_byte):
        joined |= padded[:, place::per_byte] << np.uint8(8 // per_byte * place)
    return joined


def split(codes: Codes, per_byte: int, d: int) -> NDArray[np.uint8]:
    """Undo `join`: (n, d) uint8."""
    bits = 8 // per_byte
    levels = np.empty((*codes.shape, per_byte), np.uint8)
    for place in range(per_byte):
        levels[:, :, place] = codes >> np.uint8(bits * place)
    levels &= np.uint8((1 << bits) - 1)
    return levels.reshape(len(codes), codes.shape[1] * per_byte)[:, :d]


def packed_bytes(d: int, bits: int) -> int:
    """Return the bytes that d levels of `bits` bits take."""
    return -(-d * bits // 8)


def join_bits(levels: NDArray[np.uint8], bits: int) -> Codes:
    """Pack levels (n, d) of 1 to 8 bits one after the other without a gap, the lowest bit first."""
    if 8 % bits == 0:
        return join(levels, 8 // bits)
    single = np.unpackbits(levels[:, :, None], axis=2, count=bits, bitorder="little")  # single[n, d, bit]
    return np.packbits(single.reshape(len(levels), levels.shape[1] * bits), axis=1, bitorder="little")


def split_bits(codes: Codes, bits: int, d: int) -> NDArray[np.uint8]:
    """Undo `join_bits`: (n, d) uint8."""
    if 8 % bits == 0:
        return split(codes, 8 // bits, d)
    single = np.unpackbits(codes, axis=1, count=d * bits, bitorder="little").reshape(len(codes), d, bits)
    return np.packbits(single, axis=2, bitorder="little")[:, :, 0]


def join_uneven(levels: NDArray[np.uint8], bits: NDArray[np.uint8]) -> Codes:
    """Pack levels (n, d), those of column i of ``bits[i]`` bits, 1 to 8, as `join_bits` does."""
    single = np.unpackbits(levels[:, :, None], axis=2, bitorder="little")
    return np.packbits(single[:, np.arange(8) < bits[:, None]], axis=1, bitorder="little")


def split_uneven(codes: Codes, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo `join_uneven`: (n, d) uint8."""
    single = np.zeros((len(codes), len(bits), 8), np.uint8)
    single[:, np.arange(8) < bits[:, None]] = np.unpackbits(codes, axis=1, count=int(bits.sum()), bitorder="little")
    return np.packbits(single, axis=2, bitorder="little")[:, :, 0]


def number_bytes(numbers: NDArray[np.int64], size: int) -> Codes:
    """Return the first `size` bytes of whole numbers (n,), little-endian: (n, size)."""
    return numbers.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :size].copy()


def whole_numbers(codes: Codes) -> NDArray[np.int64]:
    """Undo `number_bytes`: (n,) int64."""
    wide = np.zeros((len(codes), 8), np.uint8)
    wide[:, : codes.shape[1]] = codes
    return wide.view("<i8")[:, 0]


def level_tables(terms: Floats, bits: int) -> Floats:
    """Return tables over halves of bytes, or over bytes for 8 bits, from terms[q, dimension, level].

    Dimensions that share a half byte, the first one lowest, become one table of sixteen sums.
    """
    if bits == 8:
        return terms
    q, d, entries = terms.shape
    share = 4 // bits
    padded = np.zeros((q, -(-d // (2 * share)) * 2 * share, entries), np.float32)
    padded[:, :d] = terms
    groups = padded.reshape(q, -1, share, entries)  # groups[q, half byte, place, level]
    levels = np.arange(16)[:, None] >> bits * np.arange(share) & entries - 1  # levels[half byte's value, place]
    return np.stack([groups[:, :, place][:, :, levels[:, place]] for place in range(share)]).sum(axis=0)
