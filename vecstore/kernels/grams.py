"""How many character n-grams each of many words shares with one, found without an index."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count_grams"]

LONGEST_RUN = 4  # of pieces of three bytes: n-grams of 3 to 6
AT_ONCE = 1 << 13  # bytes of text whose pairs are looked up before the words around them are counted
INSIDE, FIRST, LAST = np.uint8(1), np.uint8(2), np.uint8(4)


@njit(cache=True, nogil=True, inline="always")
def _joined(code, letter):
    """Return the 21 bits of the last three bytes, each without the bit in which ASCII letters differ by case."""
    caseless = (letter & np.uint32(0x1F)) | ((letter & np.uint32(0xC0)) >> np.uint32(1))
    return ((code << np.uint32(7)) | caseless) & np.uint32(0x1FFFFF)


@njit(cache=True, nogil=True, inline="always")
def _is_known(grams, code):
    return (grams[code >> np.uint32(3)] >> (code & np.uint32(7))) & np.uint32(1)


@njit(cache=True, nogil=True, inline="always")
def _pair(text, at):
    return np.uint32(text[at]) | np.uint32(text[at + np.uint64(1)]) << np.uint32(8)


@njit(cache=True, nogil=True, inline="always")
def _is_inside(text, at, last, grams):
    """Return 1 where three bytes are known of which two are those at `at`; `last` is the text's last place.

    At the text's ends a byte is taken twice, which may say 1 for nothing.
    """
    one = np.uint64(1)
    pair = _joined(_joined(np.uint32(0), np.uint32(text[max(at, one) - one])), np.uint32(text[at]))
    before = _joined(pair, np.uint32(text[at + one]))
    after = _joined(before, np.uint32(text[min(at + np.uint64(2), last)]))
    return _is_known(grams, before) | _is_known(grams, after)


@njit(cache=True, nogil=True, inline="always")
def _score(text, at, end, grams, mark_first, mark_last):
    """Return the score of the word text[at:end]; see `count_grams`."""
    run, score = 0, 0
    code = _joined(_joined(np.uint32(0), np.uint32(mark_first)), np.uint32(text[at]))
    at += np.uint64(1)
    while at <= end:
        code = _joined(code, np.uint32(text[at]) if at < end else np.uint32(mark_last))
        run = min(run + 1, LONGEST_RUN) if _is_known(grams, code) else 0
        score += run
        at += np.uint64(1)
    return min(score, 255)


@njit(cache=True, nogil=True)
def count_grams(text, starts, pairs, grams, mark_first, mark_last, scores, histogram):
    """scores[i]: the n-grams of 3 to 6 bytes of word text[starts[i] : starts[i + 1]] that are known, up to 255.

    A word stands between two marks. `grams` has a bit for each three bytes of the word that is looked for, by the 21
    bits of `_joined`; where they follow each other, a run of r is r pieces of three, r - 1 of four, and so on. Bytes
    that are equal but for case are taken for the same. histogram counts the scores.

    Most words share nothing. So every second pair of bytes of the text is looked up first: of three bytes that follow
    each other two are such a pair. pairs[first byte + 256 * second] says whether a known piece has that pair (1), a
    mark in front of it (2), or behind it (4).
    """
    size, words = np.uint64(starts[-1]), np.uint64(len(scores))
    one, two = np.uint64(1), np.uint64(2)
    places = np.empty(AT_ONCE // 2, np.uint32)

    # Words that begin or end as the one that is looked for; words of one byte, always.
    for i in range(words):
        at, end = np.uint64(starts[i]), np.uint64(starts[i + one])
        if at + two <= end:
            scores[i] = (pairs[_pair(text, at)] & FIRST) | (pairs[_pair(text, end - two)] & LAST)
        else:
            scores[i] = at < end

    # Words with a known piece inside.
    word = np.uint64(0)
    for start in range(np.uint64(0), size, np.uint64(AT_ONCE)):
        end, count = min(start + np.uint64(AT_ONCE), size - (size & one)), np.uint64(0)
        for pair in range(start, end, two):
            places[count] = np.uint32(pair - start)
            count += np.uint64(pairs[_pair(text, pair)] & INSIDE)
        # Both lists are filled without a branch: which pairs are known, no processor foresees.
        pieces = np.uint64(0)
        for place in range(count):
            places[pieces] = places[place]
            pieces += np.uint64(_is_inside(text, start + np.uint64(places[place]), size - one, grams))
        for piece in range(pieces):
            at = start + np.uint64(places[piece])
            while np.uint64(starts[word + one]) <= at:
                word += one
            scores[word] = 1

    shared = 0
    for i in range(words):
        if scores[i]:
            scores[i] = _score(text, np.uint64(starts[i]), np.uint64(starts[i + one]), grams, mark_first, mark_last)
            histogram[scores[i]] += 1
            shared += 1
    histogram[0] += len(scores) - shared
