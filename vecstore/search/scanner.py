"""A scanner: a batch of queries, ready to be compared with one layer's codes. One class for each kind of code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.container.ranges import Ranges
from vecstore.kernels.arguments import PRODUCT, SQUARED, UNIT
from vecstore.search.ranking import Ranking, Raw, raw_scores
from vecstore.search.topk import TopK
from vecstore.shard.layers import LayerCodes

__all__ = ["Lengths", "RowLengths", "Scanner", "raw_number"]

Lengths: TypeAlias = tuple[float, float]
RowLengths: TypeAlias = Callable[[NDArray[np.int64]], Floats]


class Scanner(ABC):
    """A batch of queries, ready to be compared with the codes of a layer.

    Attributes
    ----------
    codes : LayerCodes
    ranking : Ranking
    row_lengths : function of rows, or None
        The lengths that decoded vectors are scaled to.
    threaded : bool
        It uses all processors by itself, as matrix products do: several threads of it would be in each other's way.
    """

    threaded = False

    def __init__(self, codes: LayerCodes, ranking: Ranking, row_lengths: RowLengths | None = None) -> None:
        self.codes, self.ranking, self.row_lengths = codes, ranking, row_lengths

    def asking(self, ranking: Ranking) -> Scanner | None:
        """Return the same for other queries, ranked alike, taking over what does not depend on them.

        None where that is no less work than making a new one.
        """
        return None

    def _without(self, *names: str) -> Self:
        """Return a copy without some attributes: in a third of the time that `copy` takes."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        for name in names:
            other.__dict__.pop(name, None)
        return other

    def arranged(self, ranges: Ranges) -> Ranges:
        """Return ranges of slots cut and ordered as they are best scanned."""
        return ranges

    @abstractmethod
    def over(self, ranges: Ranges, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]) -> None:
        """Offer the rows in ranges of slots (see `Part`) to the heaps of `best`, by their slots.

        floors (q,) are the raw scores that count. They may be raised to the worst of a full heap, so that threads which
        share them pass over what another one's rows have beaten. Bit i of allowed[t] says whether the row with slot
        32 t + i may be found (all may when it is empty). Several threads may call this at once, for heaps of their own.
        """

    def score(self, indptr: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """out[i] = the raw score of the row with slot rows[i] for query q, where indptr[q] <= i < indptr[q + 1].

        Others are left as they are: several threads may each do a part of a list.
        """
        for query in np.flatnonzero(np.diff(indptr)).tolist():
            part = slice(indptr[query], indptr[query + 1])
            codes = self.codes.gather(rows[part])
            out[part] = self._decoded_scores(slice(query, query + 1), codes, rows[part])[0]

    def of_rows(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the raw scores (n,) of rows, by position, for one of the queries."""
        indptr, out = np.zeros(len(self.ranking.queries) + 1, np.int64), np.empty(len(rows))
        indptr[query + 1 :] = len(rows)
        self.score(indptr, self.codes.part.slots_of(rows), out)
        return out

    def _decoded_scores(self, queries: slice, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        """Return the scores (q, n) of rows, by slot, for some queries, by decoding."""
        layer, x = self.codes.layer, self.ranking.queries[queries]
        affine, cells = layer.affine, self.codes.cells
        z = self.codes.quantized(codes, rows)
        products = affine.weights(x) @ z.T + (x @ affine.offset)[:, None]
        of_row = None if cells is None else cells.of(rows)
        if of_row is not None:
            products += self._centroid_products[queries][:, of_row]
        if self.ranking.raw == "product" and self.row_lengths is None:
            return products
        norms = self._decoded_norms(z, of_row)
        if self.row_lengths is not None:
            lengths = self.row_lengths(rows)
            products, norms = raw_scores("unit", products, norms) * lengths, lengths * lengths
        return raw_scores(self.ranking.raw, products, norms)

    def _decoded_norms(self, z: Floats, of_row: NDArray[np.int64] | None) -> Floats:
        """Return the squared lengths (n,) of the vectors that the quantizer's z (n, d) become, in cells of_row (n,)."""
        affine = self.codes.layer.affine
        gram = affine.gram
        if gram.ndim == 1 and (gram == gram[0]).all():
            norms = np.einsum("ij,ij->i", z, z) * gram[0]
        else:
            norms = np.einsum("ij,ij->i", z * gram if gram.ndim == 1 else z @ gram, z)
        if affine.offset.any():
            norms = norms + z @ (2 * affine.inward) + affine.offset @ affine.offset
        if of_row is not None:  # |c + r|^2 = |r|^2 + 2 c . r + |c|^2, for r = z @ linear + offset
            weights, squares = self.codes.centroid_terms
            norms = norms + np.einsum("ij,ij->i", weights[of_row], z) + squares[of_row]
        return np.asarray(norms)

    @cached_property
    def _centroid_products(self) -> Floats:
        """Of the queries with the centroids: (q, cells)."""
        assert self.codes.cells is not None
        return np.asarray(self.ranking.queries @ self.codes.cells.centroids.T, np.float32)

    def _check_rows(self, rows: NDArray[np.int64]) -> None:
        """Compare the codes of some rows, by slot, with their checksums, where that has not been done."""
        if self.codes.part.unchecked:
            self.codes.part.check_rows(rows)


def raw_number(raw: Raw) -> int:
    """Return a raw score as kernels know it."""
    return {"product": PRODUCT, "unit": UNIT, "squared": SQUARED}[raw]
