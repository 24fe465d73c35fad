"""Lines of decimal numbers to float32, and float32 to decimals, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["KEY_END", "LINE_END", "LINE_NUMBER", "LINE_START", "LONGEST", "parse_lines", "write_decimals"]

LINE_START, KEY_END, LINE_END, LINE_NUMBER = range(4)

_TAB, _NEWLINE, _RETURN, _SPACE, _PLUS, _MINUS, _POINT = 9, 10, 13, 32, 43, 45, 46
_LARGEST = 60
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(-100, _LARGEST + 1)])
_SMALLEST = -100
# Rounding the mantissa, the power and their product errs by less than 2^-51, cutting after 18 digits by 2^-56.
_BELOW, _ABOVE = 1 - 2.0**-50, 1 + 2.0**-50

LONGEST = 17  # bytes of a number that is written, with what separates it from the next
_LEAST_DIGITS, _MOST_DIGITS = 6, 9  # all of six digits are told apart by float32; nine tell every float32 apart
_SMALL, _LARGE = 1e-30, 1e30  # beyond, powers of ten are not exact enough
_TENS = np.array([10**count for count in range(12)], np.int64)
_POSITIONAL = (-5, 9)  # exponents written without one


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def parse_lines(data: Any, start: int, line: int, vectors: Any, marks: Any) -> tuple[int, int, int]:
    """Parse lines ``key x1 ... xd`` until `vectors` is full or `data` ends.

    A number becomes float32(float64(text)): computed in float64 with a known bound on the error, and
    accepted when both ends of the interval round to the same float32. Whatever is not plainly regular is left
    to the caller: its mark says KEY_END = -1.

    Parameters
    ----------
    data : ndarray of uint8
        Ends with a newline.
    start : int
        Where in `data` to begin.
    line : int
        The number of the line that begins there.
    vectors : ndarray, shape (n, d), float32
    marks : ndarray, shape (n, 4), int64
        Receives LINE_START, KEY_END, LINE_END (without the newline), LINE_NUMBER. Blank lines get none.

    Returns
    -------
    count, start, line : int
        How many rows were filled, and where to go on.
    """
    rows, dimensions = vectors.shape
    count = 0
    while count < rows and start < data.size:
        first = start
        while data[first] == _SPACE or data[first] == _TAB or data[first] == _RETURN:
            first += 1
        if data[first] == _NEWLINE:
            start = first + 1
            line += 1
            continue
        at = start
        while data[at] != _SPACE and data[at] != _TAB and data[at] != _NEWLINE:
            at += 1
        key_end = at
        regular = True
        for column in range(dimensions):
            if data[at] != _SPACE and data[at] != _TAB:
                regular = False
                break
            while data[at] == _SPACE or data[at] == _TAB:
                at += 1
            at, value = _parse_number(data, at)
            if at < 0:
                regular = False
                break
            vectors[count, column] = value
        if regular:
            while data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN:
                at += 1
            regular = data[at] == _NEWLINE
        if not regular:
            at = key_end
            while data[at] != _NEWLINE:
                at += 1
        marks[count, LINE_START] = start
        marks[count, KEY_END] = key_end if regular else -1
        marks[count, LINE_END] = at
        marks[count, LINE_NUMBER] = line
        count += 1
        start = at + 1
        line += 1
    return count, start, line


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _parse_number(data: Any, at: int) -> tuple[int, Any]:
    """Return where the number ends and its value; -1 when it is none, or not decided by the interval."""
    failed = -1, np.float32(0)
    negative = data[at] == _MINUS
    if negative or data[at] == _PLUS:
        at += 1
    mantissa = np.int64(0)
    digits = np.int64(0)  # significant ones, at most 18: they fit an int64
    exponent = np.int64(0)
    seen = False
    while 48 <= data[at] <= 57:
        seen = True
        if digits < 18:
            mantissa = mantissa * 10 + np.int64(data[at] - 48)
            digits += mantissa > 0
        else:
            exponent += 1
        at += 1
    if data[at] == _POINT:
        at += 1
        while 48 <= data[at] <= 57:
            seen = True
            if digits < 18:
                mantissa = mantissa * 10 + np.int64(data[at] - 48)
                digits += mantissa > 0
                exponent -= 1
            at += 1
    if not seen:
        return failed
    if data[at] == 101 or data[at] == 69:
        power, at = _parse_exponent(data, at + 1)
        if at < 0:
            return failed
        exponent += power
    if mantissa == 0:
        exponent = np.int64(0)
    if exponent < _SMALLEST or exponent > _LARGEST:
        return failed
    value = np.float64(mantissa) * _POWERS[exponent - _SMALLEST]
    low, high = np.float32(value * _BELOW), np.float32(value * _ABOVE)
    if low != high:
        return failed
    return at, -low if negative else low


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _parse_exponent(data: Any, at: int) -> tuple[Any, int]:
    """Return the power behind an "e" and where it ends; -1 when there are no digits."""
    power = np.int64(0)
    down = data[at] == _MINUS
    if down or data[at] == _PLUS:
        at += 1
    if not 48 <= data[at] <= 57:
        return power, -1
    while 48 <= data[at] <= 57:
        if power < 10_000:
            power = power * 10 + np.int64(data[at] - 48)
        at += 1
    return -power if down else power, at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def write_decimals(vectors: Any, separator: int, out: Any, ends: Any) -> None:
    """Write each number as the shortest decimal that reads back as the same float32.

    Six to nine digits are tried, until both ends of an interval around the decimal round to the number; zeros at the
    end go. A decimal half way between two numbers, which readers may round either way, gets one more digit.
    A row with a number that is not finite, or beyond 1e30 or below 1e-30, is left to the caller.

    Parameters
    ----------
    vectors : ndarray, shape (n, d), float32
    separator : int
        The byte between two numbers of a row.
    out : ndarray of uint8
        Room for `LONGEST` bytes a number.
    ends : ndarray of int64, shape (n,)
        Receives where each row ends in `out`, without a separator; negative where the row is left to the caller, and
        then minus where the next one begins, minus one.
    """
    at = 0
    bits = vectors.view(np.int32)
    for row in range(vectors.shape[0]):
        first = at
        for column in range(vectors.shape[1]):
            if column:
                out[at] = separator
                at += 1
            at = _write_number(vectors[row, column], bits[row, column], out, at)
            if at < 0:
                break
        if at < 0:
            at = first
            ends[row] = -at - 1
        else:
            ends[row] = at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _write_number(number: Any, bits: Any, out: Any, at: int) -> int:
    """Return where the number ends; -1 when it is left to the caller."""
    value = abs(np.float64(number))
    if bits < 0:
        out[at] = _MINUS
        at += 1
    if value == 0:
        out[at] = 48
        return at + 1
    if not _SMALL < value < _LARGE:
        return -1
    digits, power = _shortest(value, (np.int64(bits) >> 23 & 255) - 127)
    if power > _LARGEST:
        return -1
    count = 1
    while digits >= _TENS[count]:
        count += 1
    exponent = count - 1 + power  # of the first digit
    if _POSITIONAL[0] < exponent < _POSITIONAL[1]:
        return _write_positional(digits, count, exponent, out, at)
    out[at] = 48 + digits // _TENS[count - 1]
    at += 1
    if count > 1:
        out[at] = _POINT
        at = _write_digits(digits % _TENS[count - 1], count - 1, out, at + 1)
    out[at] = 101
    out[at + 1] = _MINUS if exponent < 0 else _PLUS
    return _write_digits(abs(exponent), 2, out, at + 2)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _shortest(value: Any, binary: Any) -> tuple[Any, Any]:
    """Return the digits as a whole number without zeros at its end, and the power of ten that they are times.

    `binary` is the power of two that is just below `value`.
    """
    exact = np.float32(value)
    exponent = np.int64(np.floor(binary * 0.30102999566398120))
    if value >= _POWERS[exponent + 1 - _SMALLEST]:
        exponent += 1
    for count in range(_LEAST_DIGITS, _MOST_DIGITS + 1):
        power = exponent + 1 - count
        scaled = value * _POWERS[-power - _SMALLEST] if power <= 0 else value / _POWERS[power - _SMALLEST]
        digits = np.int64(scaled + 0.5)
        back = digits / _POWERS[-power - _SMALLEST] if power <= 0 else digits * _POWERS[power - _SMALLEST]
        if np.float32(back * _BELOW) == exact and np.float32(back * _ABOVE) == exact:
            while digits % 10 == 0:
                digits //= 10
                power += 1
            return digits, power
    return np.int64(0), np.int64(_LARGEST + 1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _write_positional(digits: int, count: int, exponent: int, out: Any, at: int) -> int:
    if exponent < 0:
        out[at] = 48
        out[at + 1] = _POINT
        at += 2
        for _ in range(-1 - exponent):
            out[at] = 48
            at += 1
        return _write_digits(digits, count, out, at)
    behind = count - 1 - exponent
    if behind > 0:
        at = _write_digits(digits // _TENS[behind], exponent + 1, out, at)
        out[at] = _POINT
        return _write_digits(digits % _TENS[behind], behind, out, at + 1)
    return _write_digits(digits * _TENS[-behind], exponent + 1, out, at)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _write_digits(number: Any, count: int, out: Any, at: int) -> int:
    """Write a whole number with zeros before it, `count` digits in all."""
    left = np.uint32(number)
    for place in range(at + count - 1, at - 1, -1):
        rest = left // np.uint32(10)
        out[place] = np.uint32(48) + (left - rest * np.uint32(10))
        left = rest
    return at + count
