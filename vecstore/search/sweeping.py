"""Ways to sweep the codes of a layer for the best rows: by tables, by plain numbers, or by decoding them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats, Numbers
from vecstore.errors import ShapeError
from vecstore.kernels.arguments import PRODUCT, SQUARED, UNIT, NumberQueries, TableQueries
from vecstore.search.ranking import Ranking, Raw, raw_scores
from vecstore.search.topk import TopK
from vecstore.shard.layers import LayerCodes

__all__ = [
    "DecodingSweep",
    "Lengths",
    "NumberSweep",
    "RowLengths",
    "Sweep",
    "TableSweep",
    "raw_number",
    "scorer_of",
    "sweep_of",
]

MANY_TABLES = 192  # from so many on, what rounding loses calls for a second digit
MOST_TABLES = 1 << 14  # 16-bit sums hold no more of them usefully
NUMBERS_QUERIES = 4  # up to so many queries the codes are read as they are; for more, blocks become matrix products
DECODED_BYTES = 4 * 1024 * 1024  # of float32 that one step of a sweep by decoding may hold

Lengths: TypeAlias = tuple[float, float]
RowLengths: TypeAlias = Callable[[NDArray[np.int64]], Floats]


def sweep_of(
    codes: LayerCodes, ranking: Ranking, lengths: Lengths | None, row_lengths: RowLengths | None = None
) -> Sweep:
    """Return the fastest way to rank the rows of a layer.

    Parameters
    ----------
    codes : LayerCodes
    ranking : Ranking
    lengths : (least, largest) or None
        Of the layer's decoded vectors, if known.
    row_lengths : function of rows, optional
        The lengths that decoded vectors are scaled to, where they differ from row to row.
    """
    if row_lengths is not None and ranking.raw != "unit":
        return DecodingSweep(codes, ranking, row_lengths)
    if ranking.hamming:
        return HammingSweep(codes, ranking)
    by_tables = TableSweep.of(codes, ranking, lengths)
    if by_tables is not None:
        return by_tables
    by_numbers = NumberSweep.of(codes, ranking, lengths)
    if by_numbers is not None and len(ranking.queries) <= NUMBERS_QUERIES:
        return by_numbers
    return DecodingSweep(codes, ranking)


def scorer_of(codes: LayerCodes, ranking: Ranking, row_lengths: RowLengths | None = None) -> Sweep:
    """Return the fastest way to score single rows of a layer, by `Sweep.of_rows`."""
    plain = codes.cells is None and (row_lengths is None or ranking.raw == "unit")
    by_numbers = NumberSweep.of(codes, ranking, None) if plain else None
    return by_numbers or DecodingSweep(codes, ranking, row_lengths)


class Sweep(ABC):
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

    @abstractmethod
    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        """Offer rows `start` (a multiple of 32) to `stop` to the heaps of `best`.

        floors (q,) are the raw scores that count. They may be raised to the worst of a full heap, so that threads which
        share them pass over what another one's rows have beaten. Bit i of allowed[t] says whether row 32 t + i may be
        found (all may when it is empty). Several threads may call this at once, for heaps of their own.
        """

    def scores(self, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        """Return the raw scores (q, n) of codes of these rows."""
        layer, queries = self.codes.layer, self.ranking.queries
        affine, gram = layer.affine, layer.affine.gram
        z = self.codes.quantized(codes, rows)
        products = affine.weights(queries) @ z.T + (queries @ affine.offset)[:, None]
        cells = self.codes.cells
        if cells is not None:
            of_row = cells.of(rows)
            products += self._centroid_products[:, of_row]
        if self.ranking.raw == "product" and self.row_lengths is None:
            return products
        if gram.ndim == 1 and (gram == gram[0]).all():
            norms = np.einsum("ij,ij->i", z, z) * gram[0]
        else:
            norms = np.einsum("ij,ij->i", z * gram if gram.ndim == 1 else z @ gram, z)
        if affine.offset.any():
            norms = norms + z @ (2 * (affine.linear @ affine.offset)) + affine.offset @ affine.offset
        if cells is not None:  # |c + r|^2 = |r|^2 + 2 c . r + |c|^2, for r = z @ linear + offset
            weights, squares = self.codes.centroid_terms
            norms = norms + np.einsum("ij,ij->i", weights[of_row], z) + squares[of_row]
        if self.row_lengths is not None:
            lengths = self.row_lengths(rows)
            products, norms = raw_scores("unit", products, norms) * lengths, lengths * lengths
        return raw_scores(self.ranking.raw, products, norms)

    def of_rows(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the raw scores (n,) of rows for one of the queries."""
        return self.one(query).scores(self.codes.gather(rows), rows)[0].astype(np.float64)

    def one(self, query: int) -> Sweep:
        """Return the same for one of the queries."""
        ranking = replace(self.ranking, queries=self.ranking.queries[query : query + 1])
        return DecodingSweep(self.codes, ranking, self.row_lengths)

    @cached_property
    def _centroid_products(self) -> Floats:
        """Of the queries with the centroids: (q, cells)."""
        assert self.codes.cells is not None
        return np.asarray(self.ranking.queries @ self.codes.cells.centroids.T, np.float32)

    def _checked(self, start: int, stop: int) -> None:
        part = self.codes.part
        if part.unchecked and stop > start:
            for block in range(start // part.block_rows, (stop - 1) // part.block_rows + 1):
                part.check_block(block)


class TableSweep(Sweep):
    """By additive tables over tiles of codes; exact for those tables."""

    def __init__(
        self, codes: LayerCodes, ranking: Ranking, terms: Floats, norms: tuple[Floats, float], lengths: Lengths | None
    ) -> None:
        super().__init__(codes, ranking)
        self._terms, (self._norm_terms, self._norm_bias) = terms, norms
        self._biases = (ranking.queries @ codes.layer.affine.offset).astype(np.float64)
        if lengths is None and ranking.raw == "unit":
            sums = [side.sum(dtype=np.float64) for side in (norms[0].min(axis=1), norms[0].max(axis=1))]
            least, largest = (float(np.sqrt(max(norms[1] + side, 0.0))) for side in sums)
            lengths = least, largest
        self._lengths = lengths or (0.0, 0.0)

    @classmethod
    def of(cls, codes: LayerCodes, ranking: Ranking, lengths: Lengths | None) -> TableSweep | None:
        """Return one, unless the layer's codes do not lie in tiles or do not add up."""
        layer = codes.layer
        if codes.packed or codes.part.tile_rows != 32:
            return None
        norms = (np.zeros((0, 0), np.float32), 0.0) if ranking.raw == "product" else layer.norm_tables
        if norms is None:
            return None
        terms = layer.quantizer.tables(layer.affine.weights(ranking.queries))
        if terms is None or terms.shape[1] > MOST_TABLES:
            return None
        return cls(codes, ranking, np.ascontiguousarray(terms), norms, lengths)

    def moved(self, products: Floats, square: float, terms: Floats | None) -> TableSweep:
        """Return the same for rows to which a vector c is added.

        products (q,) are q . c. |x|^2 gets larger by `square` and a sum of `terms`, which are tables like the others;
        None for a ranking by products.
        """
        moved = copy(self)
        moved._biases = self._biases + products
        if terms is not None:
            moved._norm_terms, moved._norm_bias = self._norm_terms + terms, self._norm_bias + square
        return moved

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        from vecstore.kernels.table_scan import scan_tiles

        self._checked(start, stop)
        scan_tiles(self.codes.part.tiles, self._arguments, best.heap(floors), start, stop, allowed)

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


class HammingSweep(TableSweep):
    """By the number of bits in which codes differ from those of the queries (symmetric)."""

    def __init__(self, codes: LayerCodes, ranking: Ranking) -> None:
        self._own = codes.layer.encode(ranking.queries)
        terms = codes.layer.quantizer.hamming_tables(self._own)
        if terms is None or codes.packed or codes.part.tile_rows != 32:
            raise ShapeError(
                f"hamming compares the bits of a bin layer that is scanned; this one is {codes.layer.spec}"
                + (" in the layout of format 1.0: convert the dump again" if terms is not None else "")
            )
        super().__init__(codes, ranking, terms, (np.zeros((0, 0), np.float32), 0.0), None)
        self._biases = np.zeros(len(ranking.queries))

    def scores(self, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        different = np.bitwise_count(self._own[:, None, :] ^ codes[None])
        return -different.sum(axis=2, dtype=np.float32)


class NumberSweep(Sweep):
    """By inner products with plain numbers as they lie in the file."""

    def __init__(self, codes: LayerCodes, ranking: Ranking, numbers: Numbers, lengths: Lengths | None) -> None:
        super().__init__(codes, ranking)
        affine = codes.layer.affine
        z_weights = affine.weights(ranking.queries)
        self._dtype = numbers.dtype
        self._weights = np.ascontiguousarray(z_weights * numbers.scale)
        biases = ranking.queries @ affine.offset.astype(np.float64) + z_weights @ numbers.offset.astype(np.float64)
        self._biases: NDArray[np.float64] = np.asarray(biases, np.float64)
        self._lengths = lengths or (0.0, 0.0)
        self._norm_weights, self._norm_bias = np.zeros((2, len(numbers.scale)), np.float32), 0.0
        if ranking.raw != "product":
            gram, linear = affine.gram.astype(np.float64), 2 * (affine.linear @ affine.offset).astype(np.float64)
            offset = numbers.offset.astype(np.float64)
            once = (2 * gram * offset + linear) * numbers.scale
            self._norm_weights = np.stack([once, gram * numbers.scale**2]).astype(np.float32)
            self._norm_bias = float(affine.offset @ affine.offset + gram @ offset**2 + linear @ offset)

    @classmethod
    def of(cls, codes: LayerCodes, ranking: Ranking, lengths: Lengths | None) -> NumberSweep | None:
        """Return one, unless the layer's codes are no plain numbers, or its steps mix dimensions unevenly."""
        numbers = codes.layer.quantizer.numbers
        if numbers is None or codes.packed or (codes.layer.affine.gram.ndim != 1 and ranking.raw != "product"):
            return None
        return cls(codes, ranking, numbers, lengths)

    def moved(self, products: Floats, square: float, weights: Floats) -> NumberSweep:
        """Return the same for rows to which a vector c is added.

        products (q,) are q . c. |x|^2 gets larger by `square` and weights (d,) . z, z being what the numbers stand for.
        """
        moved = copy(self)
        moved.__dict__["_whole"] = self._whole  # made once, here
        moved._biases = self._biases + products
        numbers = self.codes.layer.quantizer.numbers
        if self.ranking.raw != "product" and numbers is not None:
            moved._norm_weights = self._norm_weights.copy()
            moved._norm_weights[0] += weights * numbers.scale
            moved._norm_bias = self._norm_bias + square + float(weights @ numbers.offset)
        return moved

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        from vecstore.kernels.dense import KINDS
        from vecstore.kernels.number_scan import scan_numbers

        self._checked(start, stop)
        kind, tiles = KINDS[self._dtype], self.codes.part.tiles
        scan_numbers(kind, tiles, self._arguments, best.heap(floors), start, stop, allowed)

    def of_rows(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from vecstore.kernels.dense import KINDS
        from vecstore.kernels.number_scan import score_numbers

        part = self.codes.part
        if part.unchecked:
            part.check_rows(rows)
        out = np.empty(len(rows))
        score_numbers(KINDS[self._dtype], part.tiles, self._arguments, query, rows, out)
        return out

    @property
    def _arguments(self) -> NumberQueries:
        whole_weights, bounds = self._whole
        return NumberQueries(
            weights=self._weights,
            whole_weights=whole_weights,
            bounds=bounds,
            biases=self._biases,
            norm_weights=self._norm_weights,
            norm_bias=self._norm_bias,
            least=self._lengths[0],
            kind=raw_number(self.ranking.raw),
        )

    @cached_property
    def _whole(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The weights as whole numbers, and what those bound, for bytes; empty for other numbers."""
        from vecstore.kernels.dense import whole_weights
        from vecstore.kernels.simd import best_level

        return whole_weights(self._weights if self._dtype in ("u1", "u6") else self._weights[:0], best_level())


class DecodingSweep(Sweep):
    """By decoding pieces of blocks, and matrix products; what every codec can do."""

    threaded = True

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        from vecstore.kernels.heap import offer_all

        width = max(self.codes.layer.quantizer.dimensions, len(self.ranking.queries))
        step = max(DECODED_BYTES // (4 * width), 64) // 32 * 32
        for first in range(start, stop, step):
            last = min(first + step, stop)
            if len(allowed) and not allowed[first >> 5 : (last + 31) >> 5].any():
                continue
            for at, codes in self.codes.blocks(first, last):
                rows = np.arange(at, at + len(codes))
                if len(allowed):
                    may = bits_of(allowed, rows)
                    codes, rows = codes[may], rows[may]
                if len(rows):
                    found = np.ascontiguousarray(self.scores(codes, rows))
                    offer_all(found, rows, best.heap(floors))


def raw_number(raw: Raw) -> int:
    """Return a raw score as kernels know it."""
    return {"product": PRODUCT, "unit": UNIT, "squared": SQUARED}[raw]


def bits_of(allowed: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows may be found: (n,)."""
    return (allowed[rows >> 5] >> (rows & 31).astype(np.uint32) & np.uint32(1)).astype(bool)
