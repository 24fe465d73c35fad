"""Inverted lists of sparse vectors, read: sums of scores, and rows again.

docs/format.md, section 5 (Shards), says how lists lie. Rows of a group are cut into segments of `SEGMENT_ROWS`. A
short list is one piece; others have a chunk for each segment.

Every list is checked before it is used. The sum of a chunk's gaps says whether all its rows are in the segment; vector
instructions add them up in one pass, so the loop behind it needs no checks of its own.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Lists
from vecstore.kernels.borrowing import borrowing

__all__ = [
    "DENSE",
    "ESCAPE",
    "SEGMENT_ROWS",
    "add_segment",
    "bound_segments",
    "dense_bytes",
    "gather_entries",
    "gather_row",
]

SEGMENT_ROWS = 4096
DENSE = 0xFFFF  # instead of a count of entries: a code for every row
SKIPPED = 64  # gaps of a chunk that are added up at once
ESCAPE = 255  # a byte of a gap that adds 255 rows, and no entry


@njit(cache=True, nogil=True)
def bound_segments(lists, chosen, factors, bounds):
    """bounds[s] += the most that a row of segment s can score; return whether the lists are sound.

    chosen[i] is the number of a list, factors[i] the query's weight of it. Only what adds to a score is counted.
    """
    lists = Lists(*lists)
    data, segments = lists.data, len(bounds)
    for i in range(len(chosen)):
        t, factor = chosen[i], max(factors[i], 0.0)
        begin, count = lists.begins[t], lists.counts[t]
        if count >= 0:
            codes = begin + 2 * count
            if codes + ((count * lists.bits + 7) >> 3) != lists.begins[t + 1]:
                return False
            segment, greatest = 0, np.uint8(0)
            for j in range(count):
                now = read16(data, begin + 2 * j) // SEGMENT_ROWS
                if now != segment:
                    if now < segment or now >= segments:
                        return False
                    bounds[segment] += factor * greatest
                    segment, greatest = now, np.uint8(0)
                greatest = max(greatest, code_at(data, np.uint64(codes), np.uint64(j), lists.bits))
            bounds[segment] += factor * greatest
        else:
            if begin + 5 * segments > lists.begins[t + 1]:
                return False
            for s in range(segments):
                bounds[s] += factor * data[begin + 4 * segments + s]
    return True


@borrowing
def add_segment(lists, chosen, factors, segment, sums):
    """sums[row] = score of each row of a segment, list after list; return whether the lists are sound."""
    low = segment * SEGMENT_ROWS
    held = min(lists.rows - low, SEGMENT_ROWS)
    segments = (lists.rows + SEGMENT_ROWS - 1) // SEGMENT_ROWS
    for row in range(held):
        sums[row] = 0.0
    for i in range(len(chosen)):
        t = chosen[i]
        if lists.counts[t] >= 0:
            if not _add_short(lists, t, low, held, factors[i], sums):
                return False
        else:
            start, end = _chunk(lists, t, segment, segments)
            if start < 0 or not _add_chunk(lists.data, start, end, held, lists.bits, factors[i], sums):
                return False
    return True


@njit(cache=True, nogil=True)
def gather_entries(lists, slots, touched, at, terms, codes):
    """Write what rows have: terms[at[slot]], codes[at[slot]], and move at[slot]; where `terms` is empty, only move.

    slots[row] is -1 for rows that are not asked for, touched[s] whether one of segment s is. Returns whether the lists
    are sound.
    """
    lists = Lists(*lists)
    segments = len(touched)
    rows, found = np.empty(SEGMENT_ROWS, np.int64), np.empty(SEGMENT_ROWS, np.uint8)
    for t in range(len(lists.terms)):
        if lists.counts[t] >= 0:
            if not _gather_short(lists, t, slots, at, terms, codes):
                return False
            continue
        for s in range(segments):
            if not touched[s]:
                continue
            low = s * SEGMENT_ROWS
            start, end = _chunk(lists, t, s, segments)
            count = -1 if start < 0 else _unpack(lists, start, end, min(lists.rows - low, SEGMENT_ROWS), rows, found)
            if count < 0:
                return False
            for j in range(count):
                slot = slots[low + rows[j]]
                if slot >= 0:
                    if len(terms):
                        terms[at[slot]], codes[at[slot]] = lists.terms[t], found[j]
                    at[slot] += 1
    return True


@njit(cache=True, nogil=True)
def gather_row(lists, row, terms, codes):
    """Write what a row has, where there is room for every list; return how much it is, -1 where a list is malformed.

    Of each list it looks at what leads to the row, not at all entries, as `gather_entries` does.
    """
    lists = Lists(*lists)
    segment, segments = row // SEGMENT_ROWS, (lists.rows + SEGMENT_ROWS - 1) // SEGMENT_ROWS
    low, found = segment * SEGMENT_ROWS, 0
    held = min(lists.rows - low, SEGMENT_ROWS)
    for t in range(len(lists.terms)):
        if lists.counts[t] >= 0:
            code = _code_of_short(lists, t, row)
        else:
            start, end = _chunk(lists, t, segment, segments)
            code = np.int64(-1) if start < 0 else _code_of_chunk(lists, start, end, held, row - low)
        if code < 0:
            return -1
        if code:
            terms[found], codes[found] = lists.terms[t], code
            found += 1
    return found


@borrowing
def _code_of_short(lists, t, row):
    """Return the code that a list of one piece has for a row, 0 where it has none, -1 where it is malformed."""
    data, begin, count = lists.data, lists.begins[t], lists.counts[t]
    codes = begin + 2 * count
    if codes + ((count * lists.bits + 7) >> 3) != lists.begins[t + 1]:
        return np.int64(-1)
    j, past = 0, count
    while j < past:  # by halves: rows ascend
        middle = (j + past) >> 1
        if read16(data, begin + 2 * middle) < row:
            j = middle + 1
        else:
            past = middle
    if j == count or read16(data, begin + 2 * j) != row:
        return np.int64(0)
    return np.int64(code_at(data, np.uint64(codes), np.uint64(j), lists.bits))


@borrowing
def _code_of_chunk(lists, start, end, held, row):
    """Return the code that a chunk has for a row of its segment, 0 where it has none, -1 where it is malformed."""
    data, bits = lists.data, lists.bits
    if end - start < 2:
        return np.int64(0 if end == start else -1)
    count, first = read16(data, start), start + 2
    if count == DENSE:
        if end - first != dense_bytes(held, bits):
            return np.int64(-1)
        return np.int64(dense_code(data, first, row, (held + 1) >> 1, bits))
    codes = end - ((count * bits + 7) >> 3)
    if codes - first < count or count == 0:
        return np.int64(-1)
    at, j, place = np.int64(0), 0, first  # the next entry's row is at least `at`
    while place + SKIPPED <= codes:
        total = escapes = 0
        for i in range(place, place + SKIPPED):
            total += data[i]
            escapes += data[i] == ESCAPE
        total += SKIPPED - escapes
        if at + total > row:
            break
        at, j, place = at + total, j + SKIPPED - escapes, place + SKIPPED
    while place < codes and at <= row:
        gap = np.int64(data[place])
        at, place = at + gap, place + 1
        if gap != ESCAPE:
            if at == row:
                return np.int64(code_at(data, np.uint64(codes), np.uint64(j), bits)) if j < count else np.int64(-1)
            at, j = at + 1, j + 1
    return np.int64(0)


@borrowing
def _gather_short(lists, t, slots, at, terms, codes):
    data, begin, count = lists.data, lists.begins[t], lists.counts[t]
    first = begin + 2 * count
    if first + ((count * lists.bits + 7) >> 3) != lists.begins[t + 1]:
        return False
    before = -1
    for j in range(count):
        row = read16(data, begin + 2 * j)
        if row <= before or row >= lists.rows:
            return False
        before, slot = row, slots[row]
        if slot >= 0:
            if len(terms):
                terms[at[slot]] = lists.terms[t]
                codes[at[slot]] = code_at(data, np.uint64(first), np.uint64(j), lists.bits)
            at[slot] += 1
    return True


@borrowing
def _unpack(lists, start, end, held, rows, found):
    """Write rows (from the first of their segment) and codes of a chunk; return how many, -1 where it is malformed."""
    data, bits = lists.data, lists.bits
    count, size = _gaps(data, start, end, held, bits)
    if count <= 0:
        return count
    first, at = start + 2, 0
    if count == DENSE:
        half = (held + 1) >> 1
        for row in range(held):
            code = dense_code(data, first, row, half, bits)
            if code:
                rows[at], found[at] = row, code
                at += 1
        return at
    row, place = 0, first
    for j in range(count):
        while data[place] == ESCAPE:
            row += ESCAPE
            place += 1
        row += data[place]
        place += 1
        rows[j], found[j] = row, code_at(data, np.uint64(first + size), np.uint64(j), bits)
        row += 1
    return count


@borrowing
def _add_short(lists, t, low, held, factor, sums):
    """Add what a list of one piece has in a segment."""
    data, begin, count = lists.data, lists.begins[t], lists.counts[t]
    codes = begin + 2 * count
    if codes + ((count * lists.bits + 7) >> 3) != lists.begins[t + 1]:
        return False
    j, past = 0, count
    while j < past:  # the first entry of the segment, by halves: rows ascend
        middle = (j + past) >> 1
        if read16(data, begin + 2 * middle) < low:
            j = middle + 1
        else:
            past = middle
    while j < count:
        row = read16(data, begin + 2 * j) - low
        if row >= held:
            break
        if row < 0:
            return False
        sums[row] += factor * code_at(data, np.uint64(codes), np.uint64(j), lists.bits)
        j += 1
    return True


@njit(inline="always")
def dense_bytes(held, bits):
    """Return the bytes that weights of all rows of a segment take."""
    return (held * max(bits, 1) + 7) >> 3


@njit(inline="always")
def code_at(data, at, j, bits):
    """Return code j of those that begin at data[at]."""
    if bits == 8:
        return data[at + j]
    if bits == 4:
        return (data[at + (j >> np.uint64(1))] >> np.uint8((j & np.uint64(1)) << np.uint64(2))) & np.uint8(15)
    return np.uint8(1)


@njit(inline="always")
def dense_code(data, at, row, half, bits):
    """Return the code of a row of a dense chunk."""
    if bits == 8:
        return data[at + row]
    if bits == 4:
        return data[at + row] & np.uint8(15) if row < half else data[at + row - half] >> np.uint8(4)
    return (data[at + (row >> 3)] >> np.uint8(row & 7)) & np.uint8(1)


@njit(inline="always")
def read16(data, at):
    """Return the two bytes at a place as a number."""
    return np.int64(data[at]) | (np.int64(data[at + 1]) << 8)


@njit(inline="always")
def _read32(data, at):
    return read16(data, at) | (read16(data, at + 2) << 16)


@borrowing
def _chunk(lists, t, segment, segments):
    """Return where the chunk of a long list begins and ends in data, -1 where that is not in the list."""
    begin, size = lists.begins[t], lists.begins[t + 1] - lists.begins[t]
    if size < 5 * segments:
        return -1, -1
    low = _read32(lists.data, begin + 4 * segment - 4) if segment else 5 * segments
    high = _read32(lists.data, begin + 4 * segment)
    if low < 5 * segments or high < low or high > size:
        return -1, -1
    return begin + low, begin + high


@borrowing
def _gaps(data, start, end, held, bits):
    """Return how many entries a chunk has and how many bytes its gaps take; a count of -1 where it is malformed."""
    if end - start < 2:
        return (0 if end == start else -1), 0
    count = read16(data, start)
    if count == DENSE:
        return (count if end - start - 2 == dense_bytes(held, bits) else -1), 0
    size = end - start - 2 - ((count * bits + 7) >> 3)
    if size < count or count == 0:
        return -1, 0
    gaps = data[start + 2 : start + 2 + size]
    total, escapes = np.int64(0), np.int64(0)
    for i in range(len(gaps)):
        total += gaps[i]
        escapes += gaps[i] == ESCAPE
    if size - escapes != count or total + count > held or gaps[size - 1] == ESCAPE:
        return -1, 0
    return count, size


@borrowing
def _add_chunk(data, start, end, held, bits, factor, sums):
    """sums[row] += factor * code for what a list has in a segment; return False where it is malformed."""
    count, size = _gaps(data, start, end, held, bits)
    if count <= 0:
        return count == 0
    first = start + 2
    if count == DENSE:
        _add_dense(data[first:end], held, bits, factor, sums)
        return True
    gaps, codes = data[first : first + size], data[first + size : end]
    row, at, n = np.uint64(0), np.uint64(0), np.uint64(count)
    if size == count:
        for i in range(n):
            row += np.uint64(gaps[i])
            sums[row] += factor * code_at(codes, np.uint64(0), i, bits)
            row += np.uint64(1)
        return True
    for i in range(n):
        gap = gaps[at]
        at += np.uint64(1)
        while gap == ESCAPE:
            row += np.uint64(ESCAPE)
            gap = gaps[at]
            at += np.uint64(1)
        row += np.uint64(gap)
        sums[row] += factor * code_at(codes, np.uint64(0), i, bits)
        row += np.uint64(1)
    return True


@borrowing
def _add_dense(codes, held, bits, factor, sums):
    if bits == 8:
        for row in range(held):
            sums[row] += factor * codes[row]
    elif bits == 4:
        half = (held + 1) >> 1
        for row in range(half):
            sums[row] += factor * (codes[row] & np.uint8(15))
        for row in range(held - half):
            sums[half + row] += factor * (codes[row] >> np.uint8(4))
    else:
        for row in range(held):
            sums[row] += factor * ((codes[row >> 3] >> np.uint8(row & 7)) & np.uint8(1))
