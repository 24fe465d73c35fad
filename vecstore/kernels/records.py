"""Records of separated fields, and of a key with the bytes of its numbers, compiled."""

from __future__ import annotations

from typing import Any

from numba import njit

from vecstore.kernels.decimals import parse_number

__all__ = ["join_rows", "parse_records", "split_rows"]

START, END, KEY_START, KEY_END = range(4)
_KEY, _IGNORED = -1, -2  # columns that are no numbers

_NEWLINE, _RETURN, _SPACE, _QUOTE = 10, 13, 32, 34


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def parse_records(
    data: Any, start: int, separator: int, quoted: bool, roles: Any, vectors: Any, marks: Any
) -> tuple[int, int]:
    """Parse records of fields until `vectors` is full or `data` holds no further whole one.

    Numbers are as `decimals.parse_lines` reads them, with spaces around or in quotes. What is not plainly regular is
    left to the caller: its mark says KEY_START = -1.

    Parameters
    ----------
    data : ndarray of uint8
        Ends with a newline.
    start : int
        Where in `data` to begin.
    separator : int
        The byte between two fields.
    quoted : bool
        Whether fields may stand in quotes, where separators and line ends are part of them.
    roles : ndarray of int64
        For each field: a column of `vectors`, -1 for the key, -2 for what is passed over.
    vectors : ndarray, shape (n, d), float32
    marks : ndarray, shape (n, 4), int64
        Receives START, END (without the line end), KEY_START, KEY_END. Empty lines get none.

    Returns
    -------
    count, start : int
        How many rows were filled, and where to go on.
    """
    count = 0
    while count < vectors.shape[0] and start < data.size:
        if data[start] == _NEWLINE or data[start] == _RETURN:
            start += 1
            continue
        marks[count, START], marks[count, KEY_START], marks[count, KEY_END] = start, start, start
        end = _parse_record(data, start, separator, quoted, roles, vectors[count], marks[count])
        if end < 0:
            end = _record_end(data, start, separator, quoted)
            if end < 0:
                break
            marks[count, KEY_START] = -1
        marks[count, END] = end
        count += 1
        start = end + 1
    return count, start


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _parse_record(data: Any, at: int, separator: int, quoted: bool, roles: Any, vector: Any, marks: Any) -> int:
    """Return where a regular record ends; -1 if it is none."""
    last = roles.size - 1
    for field in range(roles.size):
        role = roles[field]
        at = _behind_spaces(data, at) if role >= 0 else at
        inside = quoted and data[at] == _QUOTE
        begin = at + inside
        if role >= 0:
            at, value = parse_number(data, begin)
            vector[role] = value
        else:
            at = _text_end(data, begin, separator, inside)
        if at < 0 or (inside and data[at] != _QUOTE):
            return -1
        if role == _KEY:
            marks[KEY_START], marks[KEY_END] = begin, at
        at += inside
        at = _behind_spaces(data, at) if role >= 0 else at
        if field < last:
            if data[at] != separator:
                return -1
            at += 1
    return at if data[at] == _NEWLINE or data[at] == _RETURN else -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _behind_spaces(data: Any, at: int) -> int:
    while data[at] == _SPACE:
        at += 1
    return at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _text_end(data: Any, at: int, separator: int, inside: bool) -> int:
    """Return where the text of a field ends; -1 where its quotes are never closed."""
    if inside:
        while at < data.size and data[at] != _QUOTE:
            at += 1
        return at if at < data.size else -1
    while data[at] != separator and data[at] != _NEWLINE and data[at] != _RETURN:
        at += 1
    return at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _record_end(data: Any, at: int, separator: int, quoted: bool) -> int:
    """Return where any record ends, as Python's csv finds it; -1 if it goes on beyond `data`."""
    fresh, inside = True, False
    while at < data.size:
        byte = data[at]
        if inside:
            if byte == _QUOTE:
                if at + 1 < data.size and data[at + 1] == _QUOTE:
                    at += 1
                else:
                    inside = False
        elif byte in (_NEWLINE, _RETURN):
            return at
        else:
            inside = quoted and fresh and byte == _QUOTE
            fresh = byte == separator
        at += 1
    return -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def split_rows(data: Any, start: int, rows: Any, marks: Any) -> tuple[int, int]:
    """Split rows of a key, a space and bytes, until `rows` is full or `data` holds no further whole one.

    Parameters
    ----------
    data : ndarray of uint8
    start : int
        Where in `data` to begin. A newline there, and before each key, is passed over.
    rows : ndarray, shape (n, width), uint8
    marks : ndarray, shape (2, n), int64
        Receives where each key begins, and where it ends.

    Returns
    -------
    count, start : int
        How many rows were filled, and where to go on.
    """
    width, count = rows.shape[1], 0
    while count < rows.shape[0] and start < data.size:
        begin = start + (data[start] == _NEWLINE)
        end = begin
        while end < data.size and data[end] != _SPACE:
            end += 1
        if end + 1 + width > data.size:
            break
        source, target = data[end + 1 : end + 1 + width], rows[count]
        for byte in range(width):  # compiled to a copy of whole registers
            target[byte] = source[byte]
        marks[0, count], marks[1, count] = begin, end
        count += 1
        start = end + 1 + width
    return count, start


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def join_rows(keys: Any, ends: Any, rows: Any, out: Any) -> None:
    """Write keys, a space, the bytes of a row, and a newline: the other way.

    Parameters
    ----------
    keys : ndarray of uint8
        One behind the other.
    ends : ndarray of int64, shape (n + 1,)
        Row i has ``keys[ends[i] : ends[i + 1]]``.
    rows : ndarray, shape (n, width), uint8
    out : ndarray of uint8
        Of just the size.
    """
    at, width = 0, rows.shape[1]
    for row in range(rows.shape[0]):
        for byte in range(ends[row], ends[row + 1]):
            out[at] = keys[byte]
            at += 1
        out[at] = _SPACE
        source, target = rows[row], out[at + 1 : at + 1 + width]
        for byte in range(width):
            target[byte] = source[byte]
        at += width + 2
        out[at - 1] = _NEWLINE
