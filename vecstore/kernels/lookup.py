"""Find many keys in a key index at once; the layout of its pages is described in vecstore/keys.py."""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.hashing import xxh64

__all__ = ["find_integers", "find_texts"]


@njit(cache=True, nogil=True, inline="always")
def _candidates(words, tables, table_sizes, bucket_bits, row_bits, h):
    """Return (first word, end word, wanted fingerprint) of the bucket a hash falls in; an empty range if malformed."""
    bucket = (h >> np.uint64(1)) >> np.uint64(63 - bucket_bits)
    finger_bits = 32 - row_bits
    wanted = np.int64((h >> np.uint64(64 - bucket_bits - finger_bits)) & np.uint64((1 << finger_bits) - 1))
    per_page = min(np.int64(1) << bucket_bits, 4096)
    page, at = np.int64(bucket) // per_page, np.int64(bucket) % per_page
    base, size = tables[page] // 4, table_sizes[page] // 4
    first = per_page + 1 + np.int64(words[base + at])
    end = per_page + 1 + np.int64(words[base + at + 1])
    if not per_page < first <= end <= size:
        return base, base, wanted
    return base + first, base + end, wanted


@njit(cache=True, nogil=True, inline="always")
def _equal_text(data, words, page, page_size, row, text, start, end):
    """Whether the key of a row, counted from its page's start, is text[start:end]."""
    rows, longs = np.int64(words[page // 4]), np.int64(words[page // 4 + 1])
    groups = (rows + 31) // 32
    lengths = page + 8 + 4 * groups
    long_list = lengths + (rows + 3) // 4 * 4
    first_text = long_list + 8 * longs
    group = row // 32
    if row >= rows or first_text > page + page_size:
        return False
    at, length = first_text + np.int64(words[page // 4 + 2 + group]), np.int64(data[lengths + row])
    for i in range(32 * group, row):
        at += data[lengths + i]
    for i in range(longs):
        long_row, extra = np.int64(words[long_list // 4 + 2 * i]), np.int64(words[long_list // 4 + 2 * i + 1]) - 255
        if 32 * group <= long_row < row:
            at += extra
        elif long_row == row:
            length += extra
    if length != end - start or at + length > page + page_size:
        return False
    for i in range(length):
        if data[at + i] != text[start + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def find_texts(
    data, words, tables, table_sizes, bucket_bits, row_bits, pages, page_sizes, page_rows, text, starts, out
):
    """out[i]: row of the key text[starts[i]:starts[i + 1]], or -1."""
    mask = (np.int64(1) << row_bits) - 1
    for i in range(len(out)):
        out[i] = -1
        h = xxh64(text, starts[i], starts[i + 1], np.uint64(0))
        first, end, wanted = _candidates(words, tables, table_sizes, bucket_bits, row_bits, h)
        for slot in range(first, end):
            entry = np.int64(words[slot])
            if entry >> row_bits == wanted:
                row = entry & mask
                page = row // page_rows
                if page < len(pages) and _equal_text(
                    data, words, pages[page], page_sizes[page], row % page_rows, text, starts[i], starts[i + 1]
                ):
                    out[i] = row
                    break


@njit(cache=True, nogil=True)
def find_integers(data, words, tables, table_sizes, bucket_bits, row_bits, blocks, block_rows, count, text, keys, out):
    """out[i]: row of the integer keys[i], whose bytes are text[8 * i : 8 * i + 8], or -1."""
    mask = (np.int64(1) << row_bits) - 1
    for i in range(len(out)):
        out[i] = -1
        h = xxh64(text, 8 * i, 8 * i + 8, np.uint64(0))
        first, end, wanted = _candidates(words, tables, table_sizes, bucket_bits, row_bits, h)
        for slot in range(first, end):
            entry = np.int64(words[slot])
            if entry >> row_bits == wanted:
                row = entry & mask
                if row < count:
                    at = (blocks[row // block_rows] + 8 * (row % block_rows)) // 4
                    key = np.int64(words[at]) | np.int64(words[at + 1]) << 32
                    if key == keys[i]:
                        out[i] = row
                        break
