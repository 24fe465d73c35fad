"""The cells of a shard: of rows that are stored cell by cell, and of rows whose cells are kept by number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.partition import Partition
from vecstore.container.container import Container
from vecstore.errors import CorruptError

__all__ = ["SIZES", "CellIds", "CellRuns", "RowCells"]

SIZES = "cells.sizes"


class RowCells:
    """The cells that rows are in: near the centroids that codes say what is left of.

    Attributes
    ----------
    count : int
    centroids : (count, d) float32
    squares : (count,) float32
        Squared lengths of the centroids.
    """

    def __init__(self, partition: Partition) -> None:
        self.count, self.centroids = partition.count, partition.centroids
        self.squares = np.einsum("ij,ij->i", self.centroids, self.centroids)

    @abstractmethod
    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cell of each row in range."""

    def offsets(self, rows: NDArray[np.int64]) -> Floats:
        """Return the centroid of each row's cell: (n, d)."""
        return self.centroids[self.of(rows)]


class CellIds(RowCells):
    """The cell of each row, by its number: rows lie in an order of their own.

    Attributes
    ----------
    ids : (rows,) uint8 or uint16
    """

    def __init__(self, partition: Partition, ids: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
        super().__init__(partition)
        self.ids = ids

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.ids[rows].astype(np.int64)


class CellRuns(RowCells):
    """The runs of rows that make up the cells of a shard; or of several shards seen as one.

    Parameters
    ----------
    partition : Partition
    edges : sequence of (count + 1,) int64
        Of each shard: its cell i holds the rows edges[i] to edges[i + 1].

    Attributes
    ----------
    edges : (shards * count + 1,) int64
        Rows edges[i] to edges[i + 1] are in cell i % count.
    """

    def __init__(self, partition: Partition, edges: Sequence[NDArray[np.int64]]) -> None:
        super().__init__(partition)
        self._partition, self._edges = partition, edges
        self.edges = np.concatenate([*(own[:-1] for own in edges), edges[-1][-1:]])

    @classmethod
    def read(cls, container: Container, partition: Partition, rows: int) -> Self:
        """Return those of a shard."""
        part = container.expect(SIZES, "<u4", (partition.count,))
        edges = np.concatenate([[0], np.cumsum(part.array(), dtype=np.int64)])
        if edges[-1] != rows:
            raise CorruptError(
                "the cells hold more or fewer rows than the store; restore the file from a copy",
                path=container.path,
                expected=f"{rows:,}",
                found=f"{edges[-1]:,}",
            )
        return cls(partition, [edges])

    @classmethod
    def joined(cls, each: Sequence[CellRuns], firsts: NDArray[np.int64]) -> CellRuns:
        """Return those of several shards as one; the first row of each is then called `firsts` (shards,)."""
        if len(each) == 1:
            return each[0]
        own = zip(each, firsts.tolist(), strict=True)
        return cls(each[0]._partition, [edges + first for cells, first in own for edges in cells._edges])

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.edges[1:], rows, side="right") % self.count

    def nearest(
        self,
        query: Floats,
        count: int,
        *,
        by_product: bool,
        selected: NDArray[np.int64] | None = None,
        least: int = 0,
    ) -> NDArray[np.int64]:
        """Return the ranges, rising, of the rows in the `count` cells nearest to a query (d,), empty ones left out.

        Nearest is the least distance, or with `by_product` the largest inner product. With `selected` (shards, cells),
        of how many rows of each cell some are wanted, there are more cells: as many as hold as many selected rows as
        the `count` nearest ones hold rows, and `least` at least. Cells without a selected row are left out.

        Returns
        -------
        (n, 2) int64
        """
        scores = self.centroids @ query
        if not by_product:
            scores = scores - self.squares / 2
        sizes = self.ranges[:, :, 1] - self.ranges[:, :, 0]
        filled = sizes.sum(axis=0) > 0
        order = np.argsort(-np.where(filled, scores, -np.inf), kind="stable")[:count]
        chosen = np.sort(order[filled[order]])
        if selected is not None:
            of_cell = selected.sum(axis=0)
            order = np.argsort(-np.where(of_cell > 0, scores, -np.inf), kind="stable")
            seen = np.cumsum(of_cell[order])
            stop = int(np.searchsorted(seen, max(int(sizes.sum(axis=0)[chosen].sum()), least))) + 1
            chosen = np.sort(order[:stop][of_cell[order[:stop]] > 0])
        found = self.ranges[:, chosen].reshape(-1, 2)
        return found[found[:, 0] < found[:, 1]]

    @cached_property
    def ranges(self) -> NDArray[np.int64]:
        """Where each cell of each shard begins and ends: (shards, cells, 2)."""
        return np.stack([np.stack([own[:-1], own[1:]], axis=1) for own in self._edges])
