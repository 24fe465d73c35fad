"""The cells of token vectors, as kernels take them: what centroids add to the products of a query."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.products import row_products
from vecstore.codecs.transforms.normalize import unit
from vecstore.kernels import levels
from vecstore.kernels.arguments import Centroids
from vecstore.kernels.numbers import SHAPES
from vecstore.kernels.scans import maxsim_cells
from vecstore.parallel import over_slices
from vecstore.shard.cells import CellIds

__all__ = ["TokenCells"]

LEAST_ITEMS = 4096  # of a thread


class TokenCells:
    """The cells of a shard's token vectors.

    Parameters
    ----------
    cells : CellIds
    lengths_of_one : bool
        Whether vectors have length one.
    """

    def __init__(self, cells: CellIds, *, lengths_of_one: bool) -> None:
        self._cells, self._bytes, self._lengths_of_one = cells, cells.ids.view(np.uint8), lengths_of_one

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cells of vectors."""
        return self._cells.of(rows)

    def products(self, query: Floats) -> Floats:
        """Return the products of centroids with a query (q, d): (cells, q) float32."""
        return row_products(self._cells.centroids, query.T)

    @cached_property
    def _directions(self) -> Floats:
        """What stands for vectors alone.

        The mean of unit vectors is the shorter, the more they differ: products with it are too small.
        """
        return unit(self._cells.centroids) if self._lengths_of_one else self._cells.centroids

    def by_query(self, query: Floats, factors: NDArray[np.float64] | float = 1.0) -> Centroids:
        """Return products query by query, over the query's factor."""
        products = self.products(query) / factors
        return self._centroids(np.ascontiguousarray(products.T, np.float32))

    def by_cell(
        self, query: Floats, lanes: int, factors: NDArray[np.float64], biases: NDArray[np.float64]
    ) -> Centroids:
        """Return products cell by cell, of whole lanes of queries: with the query's bias, over its factor."""
        return self._centroids(_in_lanes((self.products(query) + biases) / factors, lanes))

    def scores(
        self, query: Floats, starts: NDArray[np.int64], rows: NDArray[np.int64], most: int
    ) -> NDArray[np.float64]:
        """Return what rows score by the centroids of their vectors alone, as `kernels.scans.maxsim_cells` does."""
        lanes = SHAPES[levels.best_level()].lanes
        centroids = self._centroids(_in_lanes(row_products(self._directions, query.T), lanes))
        out = np.empty(len(rows))

        def over(piece: slice) -> None:
            maxsim_cells(centroids, starts, rows[piece], most, out[piece])

        over_slices(over, len(rows), at_least=LEAST_ITEMS)
        return out

    def _centroids(self, products: Floats) -> Centroids:
        return Centroids(self._bytes, self._cells.ids.itemsize, products)


def _in_lanes(products: NDArray[Any], lanes: int) -> Floats:
    """Return products (cells, q) with zeros behind them, up to whole lanes."""
    out = np.zeros((len(products), -(-products.shape[1] // lanes) * lanes), np.float32)
    out[:, : products.shape[1]] = products
    return out
