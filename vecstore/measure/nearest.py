"""The best rows of many queries: all queries are scored against one block of rows after the other.

Scores of all queries and rows are never held at once, and each block is read once from memory, however many ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.products import row_products
from vecstore.kernels import entries
from vecstore.kernels.arguments import Heap
from vecstore.parallel import over_slices
from vecstore.search.ranking import Ranking, Raw, inverse_lengths, raw_scores

__all__ = ["Nearest", "RowSource", "nearest", "nearest_of_both"]

ROWS_AT_ONCE = 512
QUERIES_AT_LEAST = 64  # of a thread
FIRST_TRIED = 16  # times k rows were looked at, before bounds tell much
FEW = 4  # one pair in so many is sooner scored by itself than with all others
ROUNDING = 1e-5  # of a score


class RowSource(Protocol):
    """Rows (n, d) float32 that are read in parts: an array, or what makes them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice | NDArray[np.int64], /) -> Floats: ...


@dataclass(frozen=True)
class Nearest:
    """The best rows of each query, best first, of equals the first: (q, k), and their raw scores."""

    rows: NDArray[np.int64]
    scores: Floats


def nearest(ranking: Ranking, rows: RowSource, k: int, counts: Sequence[int]) -> dict[int, Nearest]:
    """Return the best `k` of the first rows, for each of `counts` (at least 1, at most n); all where they are fewer.

    Parameters
    ----------
    rows : (n, d) float32
        Each is read once.
    """
    best, found = _Best.none(ranking, k), {}
    for part, numbers in _blocks(counts):
        block = _Block.of(ranking.raw, rows[part], numbers)
        over_slices(best.taking(block), len(best.queries), at_least=QUERIES_AT_LEAST)
        if part.stop in counts:
            found[part.stop] = best.in_order(part.stop)
    return found


def nearest_of_both(
    ranking: Ranking, rows: RowSource, decoded: RowSource, k: int, counts: Sequence[int]
) -> tuple[dict[int, Nearest], dict[int, Nearest]]:
    """As `nearest`, of rows (n, d) and of what these are decoded to.

    A decoded row scores what the row does, give or take how far it lies from it. So where codes are fine few decoded
    rows can be among the best, and no others are scored.
    """
    near, best, tried_from = _Best.none(ranking, k), _Best.none(ranking, k), FIRST_TRIED * k
    found: tuple[dict[int, Nearest], dict[int, Nearest]] = {}, {}
    for part, numbers in _blocks(counts):
        block, coded = (_Block.of(ranking.raw, each[part], numbers) for each in (rows, decoded))
        bounds = _Bounds.of(block, coded) if part.start >= tried_from else None
        scored: list[int] = []

        def take(
            queries: slice, block: _Block = block, bounds: _Bounds | None = bounds, scored: list[int] = scored
        ) -> None:
            scores = near.take(block, queries)
            if bounds is not None:
                scored.append(best.take_near(scores, bounds, queries))

        over_slices(take, len(near.queries), at_least=QUERIES_AT_LEAST)
        if bounds is None:
            over_slices(best.taking(coded), len(near.queries), at_least=QUERIES_AT_LEAST)
        elif sum(scored) * FEW > len(near.queries) * len(numbers):
            tried_from = 2 * part.stop  # the floors rise with the rows
        if part.stop in counts:
            for own, heap in zip(found, (near, best), strict=True):
                own[part.stop] = heap.in_order(part.stop)
    return found


def _blocks(counts: Sequence[int]) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Yield blocks of rows, and their numbers; one ends at each of `counts`."""
    most = max(counts)
    for first, stop in pairwise(sorted({*range(0, most, ROWS_AT_ONCE), *counts, 0})):
        yield slice(first, stop), np.arange(first, stop)


@dataclass(frozen=True)
class _Block:
    """Rows (n, d) with their numbers; a raw score is weights * product - less, (n,) each."""

    raw: Raw
    vectors: Floats
    numbers: NDArray[np.int64]
    norms: Floats

    @classmethod
    def of(cls, raw: Raw, vectors: Floats, numbers: NDArray[np.int64]) -> _Block:
        return cls(raw, vectors, numbers, np.einsum("ij,ij->i", vectors, vectors))

    @property
    def weights(self) -> Floats:
        if self.raw == "unit":
            return inverse_lengths(self.norms)
        return np.full_like(self.norms, 2 if self.raw == "squared" else 1)

    @property
    def less(self) -> Floats:
        return self.norms if self.raw == "squared" else np.zeros_like(self.norms)


@dataclass(frozen=True)
class _Bounds:
    """Decoded rows, and what they score at most: the row's score + shifts + gaps * the query's length, (n,) each."""

    coded: _Block
    shifts: Floats
    gaps: Floats

    @classmethod
    def of(cls, block: _Block, coded: _Block) -> _Bounds:
        weights = block.weights, coded.weights
        apart = block.vectors * weights[0][:, None] - coded.vectors * weights[1][:, None]
        sizes = np.sqrt(block.norms) * weights[0]
        shifts = block.less - coded.less + ROUNDING * block.less
        return cls(coded, shifts, np.sqrt(np.einsum("ij,ij->i", apart, apart)) + ROUNDING * sizes)


@dataclass(frozen=True)
class _Best:
    """The best rows so far."""

    raw: Raw
    queries: Floats
    heap: Heap

    @classmethod
    def none(cls, ranking: Ranking, k: int) -> _Best:
        queries = np.ascontiguousarray(ranking.queries, np.float32)
        n, shape = len(queries), (len(queries), k)
        heap = Heap(np.empty(shape), np.empty(shape, np.int64), np.zeros(n, np.int64), np.full(n, -np.inf))
        return cls(ranking.raw, queries, heap)

    def taking(self, block: _Block) -> Callable[[slice], Any]:
        return lambda queries: self.take(block, queries)

    def take(self, block: _Block, queries: slice) -> Floats:
        """Consider rows for some queries; return their scores."""
        scores = row_products(self.queries[queries], block.vectors.T)
        raw_scores(self.raw, scores, block.norms, out=scores)
        entries.offer_all(scores, block.numbers, self._heap_of(queries))
        return scores

    def take_near(self, scores: Floats, bounds: _Bounds, queries: slice) -> int:
        """Consider decoded rows whose originals have these scores; return how many had to be scored."""
        asking, coded = self.queries[queries], bounds.coded
        reach = np.sqrt(np.einsum("ij,ij->i", asking, asking))
        return int(
            entries.offer_near(
                scores,
                bounds.shifts,
                bounds.gaps,
                reach,
                asking,
                np.ascontiguousarray(coded.vectors),
                coded.weights,
                coded.less,
                coded.numbers,
                self._heap_of(queries),
            )
        )

    def in_order(self, count: int) -> Nearest:
        """Return the best of so many rows, in order."""
        k = min(self.heap.rows.shape[1], count)
        rows, scores = self.heap.rows[:, :k], self.heap.scores[:, :k]
        order = np.lexsort((rows, -scores), axis=1)
        found = np.take_along_axis(scores, order, axis=1).astype(np.float32)
        return Nearest(np.take_along_axis(rows, order, axis=1), found)

    def _heap_of(self, queries: slice) -> Heap:
        return Heap(*(getattr(self.heap, name)[queries] for name in Heap._fields))
