"""Scan by sums of table entries: codes of the kinds "tables16" and "tables256", and bits by Hamming distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.container.ranges import Ranges
from vecstore.errors import OptionError
from vecstore.kernels.arguments import TableQueries
from vecstore.kernels.scans import scan_tiles, score_tiles
from vecstore.search.ranking import Ranking
from vecstore.search.scanner import Lengths, Scanner, raw_number
from vecstore.search.topk import TopK
from vecstore.shard.layers import LayerCodes

__all__ = ["HammingScanner", "TableScanner"]

MANY_TABLES = 192  # from so many on, what rounding loses calls for a second digit
MOST_TABLES = 1 << 14  # 16-bit sums hold no more of them usefully
TILE_ROWS = 32


class TableScanner(Scanner):
    """By additive tables over tiles of codes; exact for those tables."""

    def __init__(
        self, codes: LayerCodes, ranking: Ranking, terms: Floats, norms: tuple[Floats, float], lengths: Lengths | None
    ) -> None:
        super().__init__(codes, ranking)
        (self._norm_terms, self._norm_bias), offset = norms, codes.layer.affine.offset
        self._offset = offset if offset.any() else None
        self._ask(ranking, terms)
        if lengths is None and ranking.raw == "unit":
            sums = [side.sum(dtype=np.float64) for side in (norms[0].min(axis=1), norms[0].max(axis=1))]
            least, largest = (float(np.sqrt(max(norms[1] + side, 0.0))) for side in sums)
            lengths = least, largest
        self._lengths = lengths or (0.0, 0.0)

    @classmethod
    def of(cls, codes: LayerCodes, ranking: Ranking, lengths: Lengths | None) -> TableScanner | None:
        """Return one, unless the layer's codes do not lie in tiles or do not add up."""
        layer = codes.layer
        if codes.packed or codes.part.tile_rows != TILE_ROWS:
            return None
        norms = (np.zeros((0, 0), np.float32), 0.0) if ranking.raw == "product" else layer.norm_tables
        if norms is None:
            return None
        terms = layer.quantizer.tables(layer.affine.weights(ranking.queries))
        if terms is None or terms.shape[1] > MOST_TABLES:
            return None
        return cls(codes, ranking, np.ascontiguousarray(terms), norms, lengths)

    def _ask(self, ranking: Ranking, terms: Floats) -> None:
        self.ranking, self._terms = ranking, terms
        if self._offset is None:
            self._biases = np.zeros(len(terms))
        else:
            self._biases = (ranking.queries @ self._offset).astype(np.float64)

    def asking(self, ranking: Ranking) -> TableScanner | None:
        layer = self.codes.layer
        terms = layer.quantizer.tables(layer.affine.weights(ranking.queries))
        assert terms is not None  # of the same codes as before
        other = self._without()
        other._ask(ranking, np.ascontiguousarray(terms))
        return other

    def moved(self, products: Floats, square: float, terms: Floats | None) -> TableScanner:
        """Return the same for rows to which a vector c is added.

        products (q,) are q . c. |x|^2 gets larger by `square` and a sum of `terms`, which are tables like the others;
        None for a ranking by products.
        """
        moved = self._without()
        moved._biases = self._biases + products
        if terms is not None:
            moved._norm_terms, moved._norm_bias = self._norm_terms + terms, self._norm_bias + square
        return moved

    def over(self, ranges: Ranges, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]) -> None:
        part, queries, heap = self.codes.part, self._arguments, best.heap(floors)
        for some in part.checked(ranges):
            scan_tiles(part.tiles, queries, heap, some, allowed)

    def score(self, indptr: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        self._check_rows(rows[indptr[0] : indptr[-1]])
        score_tiles(self.codes.part.tiles, self._arguments, indptr, rows, out)

    @property
    def _arguments(self) -> TableQueries:
        least, largest = self._lengths
        return TableQueries(
            terms=self._terms,
            norm_terms=self._norm_terms,
            biases=self._biases,
            norm_bias=self._norm_bias,
            least=least,
            largest=largest,
            kind=raw_number(self.ranking.raw),
            two_digits=self._terms.shape[2] == 16 and self._terms.shape[1] >= MANY_TABLES,
        )


class HammingScanner(TableScanner):
    """By the number of bits in which codes differ from those of the queries (symmetric)."""

    def __init__(self, codes: LayerCodes, ranking: Ranking) -> None:
        self._own = codes.layer.encode(ranking.queries)
        terms = codes.layer.quantizer.hamming_tables(self._own)
        if terms is None or codes.packed or codes.part.tile_rows != TILE_ROWS:
            raise OptionError(
                f"hamming compares the bits of a bin layer that is scanned; this one is {codes.layer.spec}"
                + (" in the layout of format 1.0: convert the dump again" if terms is not None else "")
            )
        super().__init__(codes, ranking, terms, (np.zeros((0, 0), np.float32), 0.0), None)
        self._biases = np.zeros(len(ranking.queries))

    def asking(self, ranking: Ranking) -> None:
        return None
