"""Write the inverted lists of sparse vectors, as `sparse` reads them."""

from __future__ import annotations

from numba import njit

from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.sparse import DENSE, ESCAPE, SEGMENT_ROWS, dense_bytes

__all__ = ["encode_lists"]

SHORT = 16  # a list of fewer rows a segment is not cut by segments


@njit(cache=True, nogil=True)
def encode_lists(starts, rows, codes, group_rows, bits, sizes, out):
    """Write the lists of a group: list t has rows[starts[t]:starts[t + 1]], ascending, and their codes.

    sizes[t] = twice the bytes of list t, and 1 where it is cut by segments. Returns the bytes of all.
    """
    at, segments = 0, (group_rows + SEGMENT_ROWS - 1) // SEGMENT_ROWS
    for t in range(len(starts) - 1):
        first, end, begin = starts[t], starts[t + 1], at
        long = end - first >= SHORT * segments
        if not long:
            for i in range(first, end):
                out[at], out[at + 1] = rows[i] & 255, rows[i] >> 8
                at += 2
            at = _put_codes(codes, first, end, bits, out, at)
        else:
            at += 5 * segments  # ends, and the greatest code of each
            i = first
            for s in range(segments):
                low = s * SEGMENT_ROWS
                held, greatest, past = min(group_rows - low, SEGMENT_ROWS), 0, i
                while past < end and rows[past] < low + held:
                    greatest = max(greatest, codes[past])
                    past += 1
                at = _put_chunk(rows, codes, i, past, low, held, bits, out, at)
                size = at - begin
                for b in range(4):
                    out[begin + 4 * s + b] = (size >> (8 * b)) & 255
                out[begin + 4 * segments + s] = greatest
                i = past
        sizes[t] = 2 * (at - begin) + long
    return at


@borrowing
def _put_codes(codes, first, end, bits, out, at):
    if bits == 8:
        for i in range(first, end):
            out[at + i - first] = codes[i]
        return at + end - first
    if bits == 4:
        for i in range(first, end):
            j = i - first
            if j & 1:
                out[at + (j >> 1)] |= codes[i] << 4
            else:
                out[at + (j >> 1)] = codes[i]
        return at + (end - first + 1) // 2
    return at


@borrowing
def _put_chunk(rows, codes, first, end, low, held, bits, out, at):
    """Write what a list has in a segment whose rows are `low` to `low + held`; return where it ends."""
    count = end - first
    if count == 0:
        return at
    if count * (8 if bits == 0 else 4) >= held:  # takes twice the bytes at worst, and a tenth of the time
        out[at], out[at + 1] = DENSE & 255, DENSE >> 8
        at += 2
        size = dense_bytes(held, bits)
        for j in range(size):
            out[at + j] = 0
        half = (held + 1) >> 1
        for i in range(first, end):
            row = rows[i] - low
            if bits == 8:
                out[at + row] = codes[i]
            elif bits == 4:
                out[at + (row if row < half else row - half)] |= codes[i] << (0 if row < half else 4)
            else:
                out[at + (row >> 3)] |= 1 << (row & 7)
        return at + size
    out[at], out[at + 1] = count & 255, count >> 8
    at += 2
    due = low
    for i in range(first, end):
        gap = rows[i] - due
        due = rows[i] + 1
        while gap >= ESCAPE:
            out[at] = ESCAPE
            at += 1
            gap -= ESCAPE
        out[at] = gap
        at += 1
    return _put_codes(codes, first, end, bits, out, at)
