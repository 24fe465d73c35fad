"""float32 to lines of decimals, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["write_lines"]

_MINUS, _PLUS, _POINT, _ZERO = np.uint8(45), np.uint8(43), np.uint8(46), np.uint8(48)
_POSITIONAL = (-5, 9)  # exponents written without one
_BILLION = 1e9
# A number in units of its ninth digit errs by less than 1e-6, and so does who reads the text by way of float64.
_MARGIN = 2e-6
_BINARY = np.arange(256)  # exponents of float32, as they lie in its bits
_DECIMAL = np.floor((np.maximum(_BINARY, 1) - 127) * np.log10(2)).astype(np.int64)
# What brings a number with this exponent to nine digits, or to ten and nine; and half of its last bit, brought alike.
_SCALES = np.array([[float(f"1e{8 - power}"), float(f"1e{7 - power}")] for power in _DECIMAL.tolist()])
_HALVES = _SCALES * np.ldexp(1.0, _BINARY - 127 - 24)[:, None]
_EIGHT_ZEROS = np.uint64(0x3030303030303030)
_BEGINNING = np.uint64(0x3030303030302E30)  # 0.000000


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def write_lines(
    vectors: Any, first: int, heads: Any, ends: Any, separator: int, tail: Any, out: Any
) -> tuple[int, Any]:
    """Write rows as lines: what begins the row, and its numbers, as the shortest decimals that read back as they are.

    A number is brought to nine digits before the point, which tell every float32 apart. Of the whole numbers nearest to
    it, and the nearest of tens, hundreds and thousands, the roundest counts that lies between the two numbers half way
    to the float32 beside. What is as near to half way as the arithmetic errs, readers may round either way: it does not
    count. No two numbers of six digits are as near: where thousands do, zeros at the end go, and nothing else is tried.

    Parameters
    ----------
    vectors : ndarray, shape (n, d), float32
    first : int
        The row to begin with.
    heads : ndarray of uint8
        What begins each row, one behind the other.
    ends : ndarray of int64, shape (n + 1,)
        Row i has ``heads[ends[i] : ends[i + 1]]``.
    separator : int
        The byte between two numbers of a row.
    tail : ndarray of uint8
        What ends each row.
    out : ndarray of uint8
        Room for heads and tails, 17 bytes a number, and 32 bytes behind the end, which may be written, too.

    Returns
    -------
    row, size : int
        Where the writing ended: behind the last row, or at one with a number that is not finite or has no bits to
        spare (below 1.2e-38), which is left to the caller.
    """
    bits = vectors.view(np.int32)
    at = np.uint64(0)
    for row in range(first, vectors.shape[0]):
        begin = at
        for byte in range(ends[row], ends[row + 1]):
            out[at] = heads[byte]
            at += np.uint64(1)
        for column in range(vectors.shape[1]):
            binary = bits[row, column] >> 23 & 255
            out[at] = _MINUS
            at += np.uint64(bits[row, column] < 0)
            if 0 < binary < 255:
                at = _write_number(np.float64(abs(vectors[row, column])), bits[row, column], out, at)
            elif vectors[row, column] == 0:
                out[at] = _ZERO
                at += np.uint64(1)
            else:
                return row, np.int64(begin)
            out[at] = separator
            at += np.uint64(column + 1 < vectors.shape[1])
        for byte in range(tail.size):
            out[at] = tail[byte]
            at += np.uint64(1)
    return vectors.shape[0], np.int64(at)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _write_number(value: Any, bits: Any, out: Any, at: Any) -> Any:
    """Return where the number ends."""
    number, exponent = _shortest(value, bits)
    digit = number // np.uint64(100_000_000)
    more = _eight_digits(number - digit * np.uint64(100_000_000))
    count = np.uint64(1) + _last_of(more)
    digit += np.uint64(48)
    more += _EIGHT_ZEROS
    if not _POSITIONAL[0] < exponent < _POSITIONAL[1]:
        return _write_power(digit, more, count, exponent, out, at)
    if exponent <= 0:  # without a branch for each exponent: they are as good as random
        _put(out, at, _BEGINNING)
        behind = at + np.uint64(1 - exponent)
        out[behind if exponent < 0 else at] = digit
        _put(out, behind + np.uint64(1), more)
        return behind + count - np.uint64((exponent == 0) & (count == 1))
    out[at] = digit
    at += np.uint64(1)
    _put(out, at, more)
    at += np.uint64(exponent)
    if count <= exponent + 1:
        return at
    out[at] = _POINT
    _put(out, at + np.uint64(1), more >> np.uint64(8 * exponent))
    return at + count - np.uint64(exponent)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _shortest(value: Any, bits: Any) -> tuple[Any, Any]:
    """Return nine digits, zeros at the end among them, as a whole number, and the power of ten of the first digit."""
    binary = bits >> 23 & 255
    scaled, more = value * _SCALES[binary, 0], 0
    if scaled >= _BILLION:
        scaled, more = value * _SCALES[binary, 1], 1
    above = _HALVES[binary, more] - _MARGIN
    below = above * (0.5 if bits & 0x7FFFFF == 0 else 1.0) - _MARGIN  # a power of two: the one below is half as far
    ones = np.int64(scaled + 0.5)
    tens = np.int64(scaled * 0.1 + 0.5) * 10
    hundreds = np.int64(scaled * 0.01 + 0.5) * 100
    thousands = np.int64(scaled * 0.001 + 0.5) * 1000
    found = ones
    found = tens if -below < tens - scaled < above else found
    found = hundreds if -below < hundreds - scaled < above else found
    found = thousands if -below < thousands - scaled < above else found
    exponent = _DECIMAL[binary] + more
    if found >= 1_000_000_000:
        return np.uint64(found // 10), exponent + 1
    return np.uint64(found), exponent


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _eight_digits(number: Any) -> Any:
    """Return the digits as bytes, the first one lowest: halves, quarters and eighths of a word, divided all at once."""
    upper = number // np.uint64(10_000)
    fours = upper | (number - upper * np.uint64(10_000)) << np.uint64(32)
    upper = fours * np.uint64(10_486) >> np.uint64(20) & np.uint64(0x7F_0000_007F)
    twos = upper | (fours - upper * np.uint64(100)) << np.uint64(16)
    upper = twos * np.uint64(103) >> np.uint64(10) & np.uint64(0x000F_000F_000F_000F)
    return upper | (twos - upper * np.uint64(10)) << np.uint64(8)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _last_of(digits: Any) -> Any:
    """Return how many of eight digits are left without zeros at the end."""
    count = np.uint64(digits != 0)
    for half in (np.uint64(4), np.uint64(2), np.uint64(1)):
        upper = digits >> np.uint64(8) * half
        count += half * np.uint64(upper != 0)
        digits = digits if upper == 0 else upper
    return count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _put(out: Any, at: Any, word: Any) -> None:
    """Write eight bytes, the lowest first; compiled to one instruction."""
    for byte in range(8):
        out[at + np.uint64(byte)] = word >> np.uint64(8 * byte) & np.uint64(255)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _write_power(digit: Any, more: Any, count: Any, exponent: Any, out: Any, at: Any) -> Any:
    """Write a number with its power of ten."""
    out[at] = digit
    out[at + np.uint64(1)] = _POINT
    _put(out, at + np.uint64(2), more)
    at += count + np.uint64(count > 1)
    power = np.uint64(abs(exponent))
    out[at] = 101
    out[at + np.uint64(1)] = _MINUS if exponent < 0 else _PLUS
    out[at + np.uint64(2)] = _ZERO + power // np.uint64(10)
    out[at + np.uint64(3)] = _ZERO + power % np.uint64(10)
    return at + np.uint64(4)
