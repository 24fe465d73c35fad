"""Find many keys in key indexes at once; the layout of their pages is described in vecstore/keys/index.py.

A lookup is four dependent reads from places far apart. Keys are taken in groups, and each read is made for the whole
group before the next one: then the processor waits for many of them at the same time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["find_integers", "find_texts", "locate_texts"]

GROUP = 128
PAGE_BITS = 14  # 16,384 keys a page
TABLE_BITS = 12  # 4,096 buckets a page of the table
NONE, SEVERAL = -1, -2
# What an index is described by: bits of its buckets and rows, the numbers of the first page of its table and of its
# keys, how many pages of keys it has, and rows.
BUCKET_BITS, ROW_BITS, FIRST_TABLE, FIRST_KEYS, KEY_PAGES, ROWS = range(6)


@njit(cache=True, nogil=True, inline="always")
def _bucket(words, tables, table_sizes, index, h):
    """Return (first word, end word) of the slots of the bucket a hash falls in; an empty range if malformed."""
    bucket = np.int64((h >> np.uint64(1)) >> np.uint64(63 - index[BUCKET_BITS]))
    page_bits = min(index[BUCKET_BITS], TABLE_BITS)
    per_page = np.int64(1) << page_bits
    page, at = index[FIRST_TABLE] + (bucket >> page_bits), bucket & (per_page - 1)
    base, size = tables[page] >> 2, table_sizes[page] >> 2
    first = per_page + 1 + np.int64(words[base + at])
    end = per_page + 1 + np.int64(words[base + at + 1])
    if not per_page < first <= end <= size:
        return base, base
    return base + first, base + end


@njit(cache=True, nogil=True, inline="always")
def _finger(index, h):
    """Return the bits of a hash that the slots of an index hold."""
    finger_bits = 32 - index[ROW_BITS]
    return np.int64((h >> np.uint64(64 - index[BUCKET_BITS] - finger_bits)) & np.uint64((1 << finger_bits) - 1))


@njit(cache=True, nogil=True, inline="always")
def _candidate(words, first, end, row_bits, wanted):
    """Return the row of the slot with the wanted fingerprint, NONE, or SEVERAL when more than one has it."""
    found, row = 0, np.int64(0)
    mask = (np.int64(1) << row_bits) - 1
    for slot in range(first, end):  # no early exit: this loop compiles to vector instructions
        entry = np.int64(words[slot])
        same = entry >> row_bits == wanted
        found += same
        row += same * (entry & mask)
    if found == 0:
        return np.int64(NONE)
    return row if found == 1 else np.int64(SEVERAL)


@njit(cache=True, nogil=True, inline="always")
def _place(data, words, page, page_size, row):
    """Return where the key of a row, counted from its page's start, begins, and its length; -1 if malformed.

    Whatever the page holds, the key lies inside it.
    """
    rows, longs = np.int64(words[page >> 2]), np.int64(words[(page >> 2) + 1])
    groups = (rows + 31) >> 5
    lengths = page + 8 + 4 * groups
    long_list = lengths + ((rows + 3) & ~3)
    first_text = long_list + 8 * longs
    group = row >> 5
    if row >= rows or longs > rows or first_text > page + page_size:
        return page, np.int64(-1)
    at, length = first_text + np.int64(words[(page >> 2) + 2 + group]), np.int64(data[lengths + row])
    inside = row & 31
    if row + 32 < rows:
        before = np.int32(0)
        for i in range(32):  # a constant number of steps compiles to a few vector instructions
            before += np.int32(data[lengths + 32 * group + i]) if np.int32(i) < np.int32(inside) else np.int32(0)
        at += before
    else:
        for i in range(inside):
            at += data[lengths + 32 * group + i]
    for i in range(longs):
        long_row, extra = np.int64(words[(long_list >> 2) + 2 * i]), np.int64(words[(long_list >> 2) + 2 * i + 1]) - 255
        if 32 * group <= long_row < row:
            at += extra
        elif long_row == row:
            length += extra
    inside_page = first_text <= at and length >= 0 and at + length <= page + page_size
    return at, (length if inside_page else np.int64(-1))


@njit(cache=True, nogil=True)
def locate_texts(data, words, pages, page_sizes, rows, starts, lengths):
    """starts[i], lengths[i]: where in data the key of rows[i] begins, and its bytes; -1 if its page is malformed."""
    for i in range(len(rows)):
        page = rows[i] >> PAGE_BITS
        starts[i], lengths[i] = _place(data, words, pages[page], page_sizes[page], rows[i] & ((1 << PAGE_BITS) - 1))


@njit(cache=True, nogil=True, inline="always")
def _equal_text(data, words, page, page_size, row, text, start, end):
    """Whether the key of a row, counted from its page's start, is text[start:end]."""
    at, length = _place(data, words, page, page_size, row)
    if length != end - start:
        return False
    different = np.uint8(0)
    i = 0
    while i + 8 <= length:
        for j in range(8):
            different |= data[at + i + j] ^ text[start + i + j]
        i += 8
    if length >= 8:  # the rest, together with bytes that have been compared
        for j in range(8):
            different |= data[at + length - 8 + j] ^ text[end - 8 + j]
    else:
        for j in range(length):
            different |= data[at + j] ^ text[start + j]
    return different == 0


@njit(cache=True, nogil=True, inline="always")
def _text_at(data, words, pages, page_sizes, index, row, text, start, end):
    """Whether the key of a row of an index (a row of `indexes`) is text[start:end]."""
    if row >> PAGE_BITS >= index[KEY_PAGES]:
        return False
    page = index[FIRST_KEYS] + (row >> PAGE_BITS)
    return _equal_text(data, words, pages[page], page_sizes[page], row & ((1 << PAGE_BITS) - 1), text, start, end)


@njit(cache=True, nogil=True)
def find_texts(data, words, tables, table_sizes, pages, page_sizes, indexes, which, hashes, text, starts, gap, out):
    """out[i]: row of the key text[starts[i] : starts[i + 1] - gap], hashes[i], in the index which[i], or -1.

    indexes[which[i]] says where its pages are; a key of which none is asked (-1) is in none.
    """
    wanted = np.empty(GROUP, np.int64)
    first, end = np.empty(GROUP, np.int64), np.empty(GROUP, np.int64)
    for low in range(0, len(out), GROUP):
        count = min(GROUP, len(out) - low)
        for i in range(count):
            first[i] = end[i] = wanted[i] = 0
            if which[low + i] >= 0:
                index, h = indexes[which[low + i]], hashes[low + i]
                wanted[i] = _finger(index, h)
                first[i], end[i] = _bucket(words, tables, table_sizes, index, h)
        for i in range(count):
            out[low + i] = NONE
            if which[low + i] >= 0:
                out[low + i] = _candidate(words, first[i], end[i], indexes[which[low + i], ROW_BITS], wanted[i])
        for i in range(count):
            row = out[low + i]
            if row == NONE:
                continue
            index = indexes[which[low + i]]
            key, key_end = starts[low + i], starts[low + i + 1] - gap
            if row >= 0:
                if not _text_at(data, words, pages, page_sizes, index, row, text, key, key_end):
                    out[low + i] = NONE
                continue
            out[low + i] = NONE  # of several
            for slot in range(first[i], end[i]):
                entry = np.int64(words[slot])
                row = entry & ((np.int64(1) << index[ROW_BITS]) - 1)
                if entry >> index[ROW_BITS] == wanted[i] and _text_at(
                    data, words, pages, page_sizes, index, row, text, key, key_end
                ):
                    out[low + i] = row


@njit(cache=True, nogil=True)
def find_integers(words, tables, table_sizes, blocks, indexes, which, hashes, keys, out):
    """out[i]: row of the integer keys[i], hashes[i], in the index which[i], or -1; the rest as in `find_texts`."""
    for i in range(len(out)):
        out[i] = NONE
        if which[i] < 0:
            continue
        index = indexes[which[i]]
        wanted, mask = _finger(index, hashes[i]), (np.int64(1) << index[ROW_BITS]) - 1
        first, end = _bucket(words, tables, table_sizes, index, hashes[i])
        for slot in range(first, end):
            entry = np.int64(words[slot])
            row = entry & mask
            if entry >> index[ROW_BITS] == wanted and row < index[ROWS]:
                at = (blocks[index[FIRST_KEYS] + (row >> PAGE_BITS)] >> 2) + 2 * (row & ((1 << PAGE_BITS) - 1))
                if (np.int64(words[at]) | np.int64(words[at + 1]) << 32) == keys[i]:
                    out[i] = row
                    break
