"""The best rows of many queries: all queries are scored against one block of rows after the other.

Scores of all queries and rows are never held at once, and each block is read once from memory, however many ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.search.ranking import Ranking, raw_scores

__all__ = ["Nearest", "RowSource", "nearest"]

SCORES_AT_ONCE = 1 << 21
GROUP = 16  # at most so many rows have one maximum that stands for them


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

    The k best of the maxima of groups are scores of different rows: nothing below the least of them is among the k
    best. That floor rises from block to block, so that ever fewer rows reach it and few are put in order at the end.

    Parameters
    ----------
    rows : (n, d) float32
        Each is read once.
    """
    counts = sorted(set(counts))
    step = max(SCORES_AT_ONCE // max(len(ranking.queries), 1), 1)
    maxima = np.empty((len(ranking.queries), 0), np.float32)  # the k best so far
    floors, found = np.full(len(ranking.queries), -np.inf, np.float32), {}
    candidates: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []  # query, row, score
    for first, stop in pairwise(sorted({*range(0, counts[-1], step), *counts, 0})):
        block = rows[first:stop]
        norms = None if ranking.raw == "product" else np.einsum("ij,ij->i", block, block)
        scores = raw_scores(ranking.raw, ranking.queries @ block.T, norms)
        maxima = _best(np.concatenate([maxima, _maxima(scores, k)], axis=1), k)
        if maxima.shape[1] == k:
            floors = maxima.min(axis=1)
        queries, columns = np.nonzero(scores >= floors[:, None])
        candidates.append((queries, columns + first, scores[queries, columns]))
        if stop in counts:
            candidates = [_reaching(floors, candidates)]
            found[stop] = _in_order(len(floors), *candidates[0], min(k, stop))
    return found


def _maxima(scores: Floats, k: int) -> Floats:
    """Return the maxima of groups of columns: (q, groups); the last few columns may be in none."""
    queries, columns = scores.shape
    group = min(max(columns // (4 * k), 1), GROUP)
    groups = columns // group
    # Columns of a group lie far apart, so that groups lie side by side and maxima are taken of many at once.
    maxima: Floats = scores[:, : group * groups].reshape(queries, group, groups).max(axis=1)
    return maxima


def _best(scores: Floats, k: int) -> Floats:
    """Return the k largest of each row, in no order; all where they are fewer."""
    return scores if scores.shape[1] <= k else np.partition(scores, -k, axis=1)[:, -k:]


def _reaching(
    floors: Floats, candidates: Sequence[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return the candidates that reach the floor of their query, as one."""
    queries, columns, scores = (np.concatenate(each) for each in zip(*candidates, strict=True))
    left = scores >= floors[queries]
    return queries[left], columns[left], scores[left]


def _in_order(count: int, queries: NDArray[np.int64], columns: NDArray[np.int64], scores: Floats, k: int) -> Nearest:
    order = np.lexsort((columns, -scores, queries))
    starts = np.searchsorted(queries[order], np.arange(count))
    chosen = order[starts[:, None] + np.arange(k)]
    return Nearest(columns[chosen], scores[chosen])
