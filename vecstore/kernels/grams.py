"""How many character n-grams each of many words shares with one, found without an index."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count_grams", "gram_slot"]

CASELESS = np.uint32(0xDFDFDF)  # three bytes without the bit in which ASCII letters differ by case
MULTIPLIER = np.uint32(0x9E3779B1)
LONGEST_RUN = 4  # of pieces of three bytes: n-grams of 3 to 6


@njit(cache=True, nogil=True, inline="always")
def gram_slot(code, bits):
    """Return where three bytes, packed in 24 bits, stand in a table of 2**bits."""
    return np.uint32((code & CASELESS) * MULTIPLIER) >> np.uint32(32 - bits)


@njit(cache=True, nogil=True)
def count_grams(text, starts, table, bits, mark_first, mark_last, scores, histogram):
    """scores[i]: the n-grams of 3 to 6 bytes of word text[starts[i] : starts[i + 1]] that the table knows, up to 255.

    A word stands between two marks. table[slot] is 1 for each three bytes of the word that is looked for; where they
    follow each other, a run of r is r pieces of three, r - 1 of four, and so on: counted in one pass. Several n-grams
    of one slot, and bytes that are equal but for case, are taken for the same. histogram counts the scores.
    """
    for i in range(len(scores)):
        # Unsigned places: a signed one is compared with zero at each letter, in case it counts from the end.
        at, end = np.uint64(starts[i]), np.uint64(starts[i + 1])
        run, score = 0, 0
        if at < end:
            code = np.uint32(np.uint32(mark_first) << np.uint32(8)) | np.uint32(text[at])
            at += np.uint64(1)
            while at < end:
                code = np.uint32(np.uint32(code << np.uint32(8)) | np.uint32(text[at]))
                if table[gram_slot(code, bits)]:
                    run = min(run + 1, LONGEST_RUN)
                    score += run
                else:
                    run = 0
                at += np.uint64(1)
            code = np.uint32(np.uint32(code << np.uint32(8)) | np.uint32(mark_last))
            if table[gram_slot(code, bits)]:
                score += min(run + 1, LONGEST_RUN)
        score = min(score, 255)
        scores[i] = score
        histogram[score] += 1
