"""The best rows of many queries: all queries are scored against one block of rows after the other.

Scores of all queries and rows are never held at once, and each block is read once from memory, however many ask.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from vecstore.search.ranking import Ranking, raw_scores

__all__ = ["Nearest", "RowSource", "nearest"]

ROWS_AT_ONCE = 512
QUERIES_AT_LEAST = 64  # of a thread


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
    counts, queries = sorted(set(counts)), np.ascontiguousarray(ranking.queries, np.float32)
    best, found = _empty(len(queries), k), {}
    for first, stop in pairwise(sorted({*range(0, counts[-1], ROWS_AT_ONCE), *counts, 0})):
        block = rows[first:stop]
        norms = None if ranking.raw == "product" else np.einsum("ij,ij->i", block, block)
        numbers = np.arange(first, stop)

        def offer(part: slice, block: Floats = block, norms: Any = norms, numbers: Any = numbers) -> None:
            scores = row_products(queries[part], block.T)
            raw_scores(ranking.raw, scores, norms, out=scores)
            entries.offer_all(scores, numbers, _of(best, part))

        over_slices(offer, len(queries), at_least=QUERIES_AT_LEAST)
        if stop in counts:
            found[stop] = _in_order(best, min(k, stop))
    return found


def _empty(queries: int, k: int) -> Heap:
    shape = queries, k
    return Heap(np.empty(shape), np.empty(shape, np.int64), np.zeros(queries, np.int64), np.full(queries, -np.inf))


def _of(best: Heap, queries: slice) -> Heap:
    return Heap(best.scores[queries], best.rows[queries], best.sizes[queries], best.floors[queries])


def _in_order(best: Heap, k: int) -> Nearest:
    rows, scores = best.rows[:, :k], best.scores[:, :k]
    order = np.lexsort((rows, -scores), axis=1)
    found = np.take_along_axis(scores, order, axis=1).astype(np.float32)
    return Nearest(np.take_along_axis(rows, order, axis=1), found)
