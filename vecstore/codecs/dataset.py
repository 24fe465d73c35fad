"""All rows that are going into a store, for codecs that are fitted to every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.keys.packed import PackedKeys

__all__ = ["Block", "Dataset"]

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Block:
    """Consecutive rows: their numbers (n,) int64, their vectors (n, d) float32, and their keys if they have any."""

    rows: NDArray[np.int64]
    vectors: Floats
    keys: PackedKeys | None = None

    def part(self, chosen: slice | NDArray[np.int64]) -> Block:
        """Return some of them."""
        keys = None if self.keys is None else self.keys.take(np.arange(len(self.rows))[chosen])
        return Block(self.rows[chosen], self.vectors[chosen], keys)


@dataclass(frozen=True)
class Dataset:
    """All rows, read anew, block by block, as often as a codec asks.

    Attributes
    ----------
    total : int
        Rows in all, numbered 0 to total - 1 in the order of the store.
    blocks : function without arguments
        Returns an iterator over all rows, in order.
    spared : (n,) int64
        Numbers of the rows, rising, that the result is measured with: what learns a rule from rows leaves them out.
        Tables that stand for the rows themselves cannot.
    importance : (total,) float64, optional
        How often each row is asked for, in any unit, falling from row to row. By default 1 / (row + 1): Zipf's law.
    """

    total: int
    blocks: Callable[[], Iterator[Block]]
    spared: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    importance: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, x: Floats, keys: PackedKeys | None = None) -> Dataset:
        """Return the dataset of rows in memory."""

        def blocks() -> Iterator[Block]:
            for start in range(0, len(x), BLOCK_ROWS):
                rows = np.arange(start, min(start + BLOCK_ROWS, len(x)))
                yield Block(rows, x[start : start + BLOCK_ROWS], None if keys is None else keys.take(rows))

        return cls(len(x), blocks)

    def mapped(self, apply: Callable[[Floats], Floats]) -> Dataset:
        """Return the same rows as a transform leaves them."""
        blocks = self.blocks
        return replace(self, blocks=lambda: (replace(block, vectors=apply(block.vectors)) for block in blocks()))

    def between(self, first: int, stop: int) -> Dataset:
        """Return the rows from `first` to `stop`, numbered from 0."""
        whole = self.blocks

        def blocks() -> Iterator[Block]:
            for block in whole():
                low, high = np.searchsorted(block.rows, [first, stop]).tolist()
                if low < high:
                    keys = None if block.keys is None else block.keys.take(np.arange(low, high))
                    yield Block(block.rows[low:high] - first, block.vectors[low:high], keys)

        spared, importance = self.spared, self.importance
        return replace(
            self,
            total=stop - first,
            blocks=blocks,
            spared=spared[(spared >= first) & (spared < stop)] - first,
            importance=None if importance is None else importance[first:stop],
        )

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the importance of rows: (n,) float64."""
        return np.asarray(1.0 / (rows + 1.0)) if self.importance is None else self.importance[rows]

    def take(self, rows: NDArray[np.int64]) -> Block:
        """Return some rows (their numbers rising)."""
        taken: list[Block] = []
        for block in self.blocks():
            here = np.flatnonzero(np.isin(block.rows, rows, assume_unique=True))
            if len(here):
                keys = None if block.keys is None else block.keys.take(here)
                taken.append(Block(block.rows[here], block.vectors[here], keys))
        return joined(taken)


def joined(blocks: list[Block]) -> Block:
    """Return blocks as one."""
    keys = [block.keys for block in blocks if block.keys is not None]
    return Block(
        np.concatenate([block.rows for block in blocks]),
        np.concatenate([block.vectors for block in blocks]),
        PackedKeys.joined(keys) if keys else None,
    )
