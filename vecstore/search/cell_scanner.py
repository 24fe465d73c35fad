"""Scan rows that lie in the order of their cells: each cell's rows by the kernels that serve all, its centroid added.

A centroid c adds q . c to the products of all rows of its cell, and 2 c . r + |c|^2 to their squared lengths: to a sum
of table entries, other tables; to a sum over numbers, other weights. So every cell is scanned as if it were a layer
with an offset of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.container.ranges import Ranges, cut
from vecstore.search.number_scanner import NumberScanner
from vecstore.search.ranking import Ranking
from vecstore.search.scanner import Scanner
from vecstore.search.table_scanner import TableScanner
from vecstore.search.topk import TopK
from vecstore.shard.cells import CellRuns
from vecstore.shard.layers import LayerCodes

__all__ = ["CellScanner"]

TABLE_BYTES = 4 * 1024 * 1024  # of tables made for some cells together


class CellScanner(Scanner):
    """Cell by cell."""

    def __init__(self, codes: LayerCodes, ranking: Ranking, inner: TableScanner | NumberScanner) -> None:
        super().__init__(codes, ranking)
        self._inner = inner
        self._products = self.ranking.queries.astype(np.float64) @ self._cells.centroids.T  # [query, cell]

    def arranged(self, ranges: Ranges) -> Ranges:
        """Return ranges cut by cells: of the nearest first, what they hold lets most rows of the others be passed over.

        Rows of a cell are together however many shards there are.
        """
        cells = self._cells
        pieces, behind = cut(ranges, cells.edges)
        rank = np.empty(cells.count, np.int64)
        rank[np.argsort(-self._products.max(axis=0), kind="stable")] = np.arange(cells.count)
        return pieces[np.argsort(rank[behind % cells.count], kind="stable")]

    def over(self, ranges: Ranges, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]) -> None:
        """As `Scanner.over`, of ranges that were arranged."""
        of_ranges = self._cells.of(ranges[:, 0])
        starts = np.flatnonzero(np.diff(of_ranges, prepend=-1))
        each = np.split(ranges, starts[1:])
        for at in range(0, len(starts), self._together):
            some = slice(at, at + self._together)
            for own, scanner in zip(each[some], self._moved(of_ranges[starts[some]]), strict=True):
                scanner.over(own, best, floors=floors, allowed=allowed)

    @property
    def _cells(self) -> CellRuns:
        assert isinstance(self.codes.cells, CellRuns)
        return self.codes.cells

    @property
    def _together(self) -> int:
        """How many cells are made ready at once."""
        return max(TABLE_BYTES // max(4 * 256 * self.codes.layer.code_bytes, 1), 1)

    def _moved(self, cells: NDArray[np.int64]) -> list[TableScanner] | list[NumberScanner]:
        """Return what scans the rows of each of these cells."""
        products, inner = self._products[:, cells].T, self._inner
        weights, squares = self.codes.centroid_terms
        each = zip(products, squares[cells].tolist(), strict=True)
        if isinstance(inner, NumberScanner):
            return [inner.moved(*both, w) for both, w in zip(each, weights[cells], strict=True)]
        if self.ranking.raw == "product":
            return [inner.moved(*both, None) for both in each]
        terms = self.codes.layer.quantizer.tables(weights[cells])
        assert terms is not None
        return [inner.moved(*both, of_cell) for both, of_cell in zip(each, terms, strict=True)]
