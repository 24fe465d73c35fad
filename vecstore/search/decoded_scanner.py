"""Scan by decoding pieces of blocks, and matrix products: what every kind of code can do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.kernels import entries
from vecstore.search.scanner import Scanner
from vecstore.search.topk import TopK

__all__ = ["DecodedScanner"]

DECODED_BYTES = 4 * 1024 * 1024  # of float32 that one step of a scan may hold


class DecodedScanner(Scanner):
    """By decoding; the lengths of rows may be known apart from their codes."""

    threaded = True

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        width = max(self.codes.layer.quantizer.dimensions, len(self.ranking.queries))
        step = max(DECODED_BYTES // (4 * width), 64) // 32 * 32
        for first in range(start, stop, step):
            last = min(first + step, stop)
            if len(allowed) and not allowed[first >> 5 : (last + 31) >> 5].any():
                continue
            for at, codes in self.codes.blocks(first, last):
                rows = np.arange(at, at + len(codes))
                if len(allowed):
                    may = bits_of(allowed, rows)
                    codes, rows = codes[may], rows[may]
                if len(rows):
                    found = np.ascontiguousarray(self._decoded_scores(slice(None), codes, rows))
                    entries.offer_all(found, rows, best.heap(floors))


def bits_of(allowed: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows may be found: (n,)."""
    return (allowed[rows >> 5] >> (rows & 31).astype(np.uint32) & np.uint32(1)).astype(bool)
