"""Sweep rows that lie in the order of their cells: each cell's rows by the kernels that serve all, its centroid added.

A centroid c adds q . c to the products of all rows of its cell, and 2 c . r + |c|^2 to their squared lengths: to a sum
of table entries, other tables; to a sum over numbers, other weights. So every cell is swept as if it were a layer with
an offset of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import ShapeError
from vecstore.search.ranking import Ranking
from vecstore.search.sweeping import NUMBERS_QUERIES, DecodingSweep, Lengths, NumberSweep, RowLengths, Sweep, TableSweep
from vecstore.search.topk import TopK
from vecstore.shard.cells import CellRuns
from vecstore.shard.layers import LayerCodes

__all__ = ["CellSweep", "cell_sweep_of"]

TABLE_BYTES = 4 * 1024 * 1024  # of tables made for some cells together
ALL = np.uint32(0xFFFFFFFF)


def cell_sweep_of(
    codes: LayerCodes, ranking: Ranking, lengths: Lengths | None, row_lengths: RowLengths | None = None
) -> Sweep:
    """Return the fastest way to rank the rows of a layer that lie in cells; see `sweep_of`."""
    if ranking.hamming:
        raise ShapeError("hamming compares the bits of vectors; with cells, bits are those of what the cells leave")
    if row_lengths is not None and ranking.raw != "unit":
        return DecodingSweep(codes, ranking, row_lengths)
    inner: TableSweep | NumberSweep | None = None
    if lengths is not None or ranking.raw != "unit":  # without a bound of its own a cell's tables give none
        inner = TableSweep.of(codes, ranking, lengths)
    if inner is None and len(ranking.queries) <= NUMBERS_QUERIES:
        inner = NumberSweep.of(codes, ranking, lengths)
    return DecodingSweep(codes, ranking) if inner is None else CellSweep(codes, ranking, inner)


class CellSweep(Sweep):
    """Cell by cell."""

    def __init__(self, codes: LayerCodes, ranking: Ranking, inner: TableSweep | NumberSweep) -> None:
        super().__init__(codes, ranking)
        self._inner = inner
        self._products = self.ranking.queries.astype(np.float64) @ self._cells.centroids.T  # [query, cell]

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        """As `Sweep.over`, with any `start`."""
        if start >= stop:
            return
        edges = self._cells.edges
        first, last = self._cells.of(np.array([start, stop - 1])).tolist()
        # What lies of other cells in the first and the last tile of a cell is masked out while that cell is swept.
        may = np.empty(-(-stop // 32), np.uint32)
        may[start >> 5 :] = allowed[start >> 5 : len(may)] if len(allowed) else ALL
        # The nearest first: what they hold lets most rows of the others be passed over.
        order = first + np.argsort(-self._products[:, first : last + 1].max(axis=0), kind="stable")
        for at in range(0, len(order), self._together):
            cells = order[at : at + self._together]
            for cell, sweep in zip(cells.tolist(), self._moved(cells), strict=True):
                low, high = max(int(edges[cell]), start), min(int(edges[cell + 1]), stop)
                if low >= high:
                    continue
                head, tail = low >> 5, (high - 1) >> 5
                kept = may[[head, tail]]
                may[head] &= ALL << np.uint32(low & 31)
                may[tail] &= ALL >> np.uint32(31 - (high - 1 & 31))
                sweep.over(low & ~31, high, best, floors=floors, allowed=may)
                may[[head, tail]] = kept

    @property
    def _cells(self) -> CellRuns:
        assert self.codes.cells is not None
        return self.codes.cells

    @property
    def _together(self) -> int:
        """How many cells are made ready at once."""
        return max(TABLE_BYTES // max(4 * 256 * self.codes.layer.code_bytes, 1), 1)

    def _moved(self, cells: NDArray[np.int64]) -> list[TableSweep] | list[NumberSweep]:
        """Return what sweeps the rows of each of these cells."""
        products, inner = self._products[:, cells].T, self._inner
        weights, squares = self.codes.centroid_terms
        each = zip(products, squares[cells].tolist(), strict=True)
        if isinstance(inner, NumberSweep):
            return [inner.moved(*both, w) for both, w in zip(each, weights[cells], strict=True)]
        if self.ranking.raw == "product":
            return [inner.moved(*both, None) for both in each]
        terms = self.codes.layer.quantizer.tables(weights[cells])
        assert terms is not None
        return [inner.moved(*both, of_cell) for both, of_cell in zip(each, terms, strict=True)]
