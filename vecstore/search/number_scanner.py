"""Scan by inner products with plain numbers as they lie in the file: codes of the kind "numbers"."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats, Numbers
from vecstore.container.ranges import Ranges
from vecstore.kernels import levels
from vecstore.kernels.arguments import NumberQueries
from vecstore.kernels.numbers import KINDS, arithmetic, pack, whole_type, whole_weights
from vecstore.kernels.scans import scan_batch, scan_numbers, score_numbers
from vecstore.search.ranking import Ranking
from vecstore.search.scanner import Lengths, Scanner, raw_number
from vecstore.search.topk import TopK
from vecstore.shard.layers import LayerCodes

__all__ = ["NumberScanner"]

MOST_CANCELLED = 1e3  # times a squared length: what the offsets add up to that it is left of
FEW_QUERIES, FEW_OF_BYTES = 5, 3  # of float numbers and of bytes: up to so many are faster one after the other
NO_WEIGHTS = {level: np.empty((0, 0), whole_type(level)) for level in levels.LEVELS}
ALIKE = 0.8  # the shortest row is so long, beside the longest one, that no other bound is worth its search
NO_LENGTHS = np.empty(0, np.float32)
NOTHING_PACKED, NO_BOUNDS = np.empty(0, np.uint8), np.empty((0, 2))


class NumberScanner(Scanner):
    """By inner products with plain numbers as they lie in the file."""

    def __init__(self, codes: LayerCodes, ranking: Ranking, numbers: Numbers, lengths: Lengths | None) -> None:
        super().__init__(codes, ranking)
        self._numbers, self._dtype, self._lengths = numbers, numbers.dtype, lengths or (0.0, 0.0)
        offsets = codes.layer.affine.offset, numbers.offset
        self._offset, self._numbers_offset = (offset.astype(np.float64) for offset in offsets)
        self._ask(ranking)
        self._norm_weights, self._norm_bias = (
            codes.layer.norm_weights if ranking.raw != "product" else _no_norms(numbers)
        )

    @classmethod
    def of(cls, codes: LayerCodes, ranking: Ranking, lengths: Lengths | None) -> NumberScanner | None:
        """Return one, unless the layer's codes are no plain numbers, or its steps mix dimensions unevenly."""
        numbers = codes.layer.quantizer.numbers
        if numbers is None or codes.packed or (codes.layer.affine.gram.ndim != 1 and ranking.raw != "product"):
            return None
        if lengths is not None and ranking.raw != "product" and _cancels(numbers, codes.layer.affine.gram, lengths[1]):
            return None
        return cls(codes, ranking, numbers, lengths)

    def _ask(self, ranking: Ranking) -> None:
        z_weights = self.codes.layer.affine.weights(ranking.queries)
        self.ranking, self._weights = ranking, np.ascontiguousarray(z_weights * self._numbers.scale)
        biases = ranking.queries @ self._offset + z_weights @ self._numbers_offset
        self._biases: NDArray[np.float64] = np.asarray(biases, np.float64)

    def asking(self, ranking: Ranking) -> NumberScanner:
        other = self._without("_rounded")
        other._ask(ranking)
        return other

    def moved(self, products: Floats, square: float, weights: Floats) -> NumberScanner:
        """Return the same for rows to which a vector c is added.

        products (q,) are q . c. |x|^2 gets larger by `square` and weights (d,) . z, z being what the numbers stand for.
        """
        moved = self._without()
        moved.__dict__["_rounded"] = self._rounded  # made once, here
        moved._biases = self._biases + products
        if self.ranking.raw != "product":
            moved._norm_weights = self._norm_weights.copy()
            moved._norm_weights[0] += weights * self._numbers.scale
            moved._norm_bias = self._norm_bias + square + float(weights @ self._numbers.offset)
        return moved

    def over(self, ranges: Ranges, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]) -> None:
        kind, part, queries, heap = KINDS[self._dtype], self.codes.part, self._arguments, best.heap(floors)
        scan = scan_numbers if self._few else scan_batch
        for some in part.checked(ranges):
            scan(kind, part.tiles, queries, heap, some, allowed)

    def score(self, indptr: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        self._check_rows(rows[indptr[0] : indptr[-1]])
        score_numbers(KINDS[self._dtype], self.codes.part.tiles, self._exactly, indptr, rows, out)

    @property
    def _arguments(self) -> NumberQueries:
        whole_weights, packed, bounds = self._rounded
        return self._exactly._replace(whole_weights=whole_weights, packed=packed, bounds=bounds)

    @property
    def _exactly(self) -> NumberQueries:
        """The queries without what only scans need."""
        return NumberQueries(
            weights=self._weights,
            whole_weights=NO_WEIGHTS[levels.best_level()],
            packed=NOTHING_PACKED,
            bounds=NO_BOUNDS,
            biases=self._biases,
            norm_weights=self._norm_weights,
            norm_bias=self._norm_bias,
            least=self._lengths[0],
            kind=raw_number(self.ranking.raw),
            shortest=self._shortest,
        )

    @property
    def _shortest(self) -> NDArray[np.float32]:
        """The lengths of the shortest rows here and there, where they tell more than that of the shortest of all."""
        (least, largest), codes = self._lengths, self.codes
        alike = self.ranking.raw == "product" or least > ALIKE * largest
        return NO_LENGTHS if alike or codes.cells is not None or KINDS[self._dtype].six else codes.shortest

    @property
    def _of_bytes(self) -> bool:
        return KINDS[self._dtype].of_bytes

    @property
    def _few(self) -> bool:
        """Whether each row is compared with one query after the other, not with all together."""
        return len(self._weights) <= (FEW_OF_BYTES if self._of_bytes else FEW_QUERIES)

    @cached_property
    def _rounded(self) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.float64]]:
        """The weights as kernels multiply them for few queries and for many, one of them empty, and their bounds."""
        level = levels.best_level()
        whole, bounds = whole_weights(self._weights if self._of_bytes and self._few else self._weights[:0], level)
        if self._few:
            return whole, NOTHING_PACKED, bounds
        packed, bounds = pack(self._weights, arithmetic(level, of_bytes=self._of_bytes), level)
        return whole, packed, bounds


def _no_norms(numbers: Numbers) -> tuple[Floats, float]:
    return np.zeros((2, len(numbers.scale)), np.float32), 0.0


def _cancels(numbers: Numbers, gram: Floats, largest: float) -> bool:
    """Return whether squared lengths are what is left of sums so much larger that float32 does not hold them."""
    offsets = float(gram @ numbers.offset.astype(np.float64) ** 2)
    return KINDS[numbers.dtype].of_bytes and offsets > MOST_CANCELLED * largest**2
