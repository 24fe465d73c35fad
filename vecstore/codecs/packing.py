"""Levels of a few bits, packed into bytes, and tables over such bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats

__all__ = ["join", "paired", "split"]


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
