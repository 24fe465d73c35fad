"""Lines of decimal numbers to float32, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["KEY_END", "LINE_END", "LINE_NUMBER", "LINE_START", "parse_lines", "parse_number"]

LINE_START, KEY_END, LINE_END, LINE_NUMBER = range(4)

_TAB, _NEWLINE, _RETURN, _SPACE, _PLUS, _MINUS, _POINT = 9, 10, 13, 32, 43, 45, 46
_LARGEST = 60
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(-100, _LARGEST + 1)])
_SMALLEST = -100
# Rounding the mantissa, the power and their product errs by less than 2^-51, cutting after 18 digits by 2^-56.
_BELOW, _ABOVE = 1 - 2.0**-50, 1 + 2.0**-50


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
            at, value = parse_number(data, at)
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
def parse_number(data: Any, at: int) -> tuple[int, Any]:
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
