"""Scan by decoding pieces of blocks, and matrix products: what every kind of code can do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes
from vecstore.container.ranges import Ranges, divided, rows_in
from vecstore.kernels import entries
from vecstore.search.scanner import Scanner
from vecstore.search.topk import TopK

__all__ = ["DecodedScanner"]

DECODED_BYTES = 4 * 1024 * 1024  # of float32 that one step of a scan may hold


class DecodedScanner(Scanner):
    """By decoding; the lengths of rows may be known apart from their codes."""

    threaded = True

    def over(self, ranges: Ranges, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]) -> None:
        width = max(self.codes.layer.quantizer.dimensions, len(self.ranking.queries))
        for some in divided(ranges, max(DECODED_BYTES // (4 * width), 64) // 32 * 32):
            for codes, slots in self._read(some, allowed):
                found = np.ascontiguousarray(self._decoded_scores(slice(None), codes, slots))
                entries.offer_all(found, slots, best.heap(floors))

    def _read(self, ranges: Ranges, allowed: NDArray[np.uint32]) -> Iterator[tuple[Codes, NDArray[np.int64]]]:
        """Yield codes and slots of those rows in ranges that may be found."""
        if len(ranges) == 1 and not len(allowed):
            for first, codes in self.codes.blocks(*ranges[0].tolist()):
                yield codes, np.arange(first, first + len(codes))
            return
        slots = rows_in(ranges)
        if len(allowed):
            slots = slots[bits_of(allowed, slots)]
        if len(slots):
            yield self.codes.gather(slots), slots


def bits_of(allowed: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows, by slot, may be found: (n,)."""
    return (allowed[rows >> 5] >> (rows & 31).astype(np.uint32) & np.uint32(1)).astype(bool)
