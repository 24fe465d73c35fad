"""Where the next shard begins: at a size, or where a mixed codec changes its codec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import Codec
from vecstore.conversion.tasks.options import TrainedCodec
from vecstore.errors import BudgetError
from vecstore.shard.sizes import COLUMN_BYTES, FIXED_BYTES, bytes_beside

__all__ = ["Cutter", "Piece"]


@dataclass(frozen=True)
class Piece:
    """Rows of one batch that go into one shard.

    Attributes
    ----------
    start, stop : int
        Of the batch.
    opens : bool
        A shard begins here.
    codec : Codec
        Of the shard.
    number : int
        Of the row `start`, as the codec counts them.
    """

    start: int
    stop: int
    opens: bool
    codec: Codec
    number: int


class Cutter:
    """Cuts a stream of rows into shards, each as full as it goes.

    Parameters
    ----------
    codec : Codec or MixedCodec
    shard_bytes : int or None
        The most that a shard takes; None where there is one for each codec.
    keep_norms, keep_order : bool
        What rows take beside their codes.
    columns : int
        How many.
    fixed : int
        Bytes that a shard takes for other things beside its rows.

    Raises
    ------
    BudgetError
        Hardly a row fits into a shard; or, later, a row does not.
    """

    def __init__(
        self,
        codec: TrainedCodec,
        shard_bytes: int | None,
        *,
        keep_norms: bool,
        keep_order: bool,
        columns: int = 0,
        fixed: int = 0,
    ) -> None:
        least = 2 * FIXED_BYTES + fixed
        if shard_bytes is not None and shard_bytes < least:
            raise BudgetError(f"a shard of {shard_bytes:,} bytes: one has at least {least:,}")
        self._codec, self._shard_bytes = codec, shard_bytes
        self._keep_norms, self._keep_order, self._fixed = keep_norms, keep_order, COLUMN_BYTES * columns + fixed
        self._current: Codec | None = None  # of the shard that is filled
        self._filled = 0
        self.rows = 0

    def pieces(self, sizes: NDArray[np.int64]) -> Iterator[Piece]:
        """Cut the next rows; `sizes` (n,) are the bytes that each takes beside its code."""
        done = 0
        while done < len(sizes):
            own, first, end = self._codec.span(self.rows)
            stop = len(sizes) if end is None else min(len(sizes), done + end - self.rows)
            opens = own is not self._current
            self._current = own
            ends = np.cumsum(sizes[done:stop] + own.code_bytes + self._beside(own))
            for at, upto, begins in self._cuts(ends, opens=opens):
                yield Piece(done + at, done + upto, begins, own, self.rows - first)
                self.rows += upto - at
            done = stop

    def _beside(self, codec: Codec) -> int:
        return ceil(bytes_beside(codec, keep_norms=self._keep_norms, keep_order=self._keep_order))

    def _cuts(self, ends: NDArray[np.int64], *, opens: bool) -> Iterator[tuple[int, int, bool]]:
        """Yield start, stop and whether a shard begins there, of rows that take `ends` bytes up to each."""
        if self._shard_bytes is None:
            yield 0, len(ends), opens
            return
        assert self._current is not None
        fixed = FIXED_BYTES + self._fixed
        start, before = 0, 0
        while start < len(ends):
            if opens:
                self._filled = fixed
            stop = int(np.searchsorted(ends, before + self._shard_bytes - self._filled, side="right"))
            if stop > start:
                yield start, stop, opens
                self._filled += int(ends[stop - 1]) - before
                start, before = stop, int(ends[stop - 1])
            elif opens:
                raise BudgetError(
                    f"one row takes {int(ends[start]) - before:,} bytes, more than a shard; give a larger shard size"
                )
            opens = start < len(ends)
