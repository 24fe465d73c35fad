"""Where the cells of a shard lie: its rows are stored cell by cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.partition import Partition
from vecstore.container.container import Container
from vecstore.errors import CorruptError

__all__ = ["SIZES", "CellRuns", "runs_of"]

SIZES = "cells.sizes"


class CellRuns:
    """The runs of rows that make up the cells of a shard.

    Attributes
    ----------
    count : int
    centroids : (count, d) float32
    edges : (count + 1,) int64
        Cell i holds the positions edges[i] to edges[i + 1].
    squares : (count,) float32
        Squared lengths of the centroids.
    """

    def __init__(self, container: Container, partition: Partition, rows: int) -> None:
        part = container.expect(SIZES, "<u4", (partition.count,))
        self.edges = np.concatenate([[0], np.cumsum(part.array(), dtype=np.int64)])
        if self.edges[-1] != rows:
            raise CorruptError(
                "the cells hold more or fewer rows than the store; restore the file from a copy",
                path=container.path,
                expected=f"{rows:,}",
                found=f"{self.edges[-1]:,}",
            )
        self.count, self.centroids = partition.count, partition.centroids
        self.squares = np.einsum("ij,ij->i", self.centroids, self.centroids)

    def of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cell of each position in range."""
        return np.searchsorted(self.edges[1:], positions, side="right")

    def offsets(self, positions: NDArray[np.int64]) -> Floats:
        """Return the centroid of each position's cell: (n, d)."""
        return self.centroids[self.of(positions)]

    def nearest(self, query: Floats, count: int, *, by_product: bool) -> NDArray[np.int64]:
        """Return the positions, rising, of all rows in the `count` cells nearest to a query (d,), empty ones left out.

        Nearest is the least distance, or with `by_product` the largest inner product.
        """
        scores = self.centroids @ query
        if not by_product:
            scores = scores - self.squares / 2
        sizes = np.diff(self.edges)
        order = np.argsort(-np.where(sizes > 0, scores, -np.inf), kind="stable")[:count]
        chosen = np.sort(order[sizes[order] > 0])
        starts, lengths = self.edges[chosen], sizes[chosen]
        first = np.cumsum(lengths) - lengths
        return np.repeat(starts - first, lengths) + np.arange(int(lengths.sum()))


def runs_of(positions: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return where runs of consecutive positions, given rising, begin and end."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    starts, ends = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(positions)]])
    return [(int(positions[a]), int(positions[b - 1]) + 1) for a, b in zip(starts, ends, strict=True) if a < b]
