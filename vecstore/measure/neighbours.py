"""The nearest of all rows to some queries, by their vectors and by what these are decoded to, as rows are encoded.

Each shard finds its own; merged, they are those of the whole store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.metric import Metric
from vecstore.search.ranking import Ranking, raw_scores

__all__ = ["Asking", "Nearest", "NearestFinder"]

ROWS_AT_ONCE = 2048  # whose scores are in the cache, and fixed, so that the same rows give the same scores
ROUNDING = 1e-5  # of a score: equal rows, multiplied at other places of a block


@dataclass(frozen=True)
class Asking:
    """Queries that ask all rows of a store while these are encoded.

    Attributes
    ----------
    queries : (q, d) float32
    own : (q,) int64
        The number in the store of the row that a query is, which it does not look for; -1 for a real query.
    metric : {"cosine", "dot", "l2"}
    most : int
        How many neighbours each looks for.
    """

    queries: Floats
    own: NDArray[np.int64]
    metric: Metric
    most: int

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON and arrays."""
        return {"metric": self.metric, "most": self.most}, {"queries": self.queries, "own": self.own}

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        return cls(arrays["queries"], arrays["own"], **document)


@dataclass(frozen=True)
class Nearest:
    """The nearest rows to each query, of those that were looked at, best first; -1 and -inf where there are fewer.

    Attributes
    ----------
    rows, scores : (q, k) int64, (q, k) float32
        By the rows' vectors: numbers in the store, and raw scores.
    found, by, exact : (q, k) int64, (q, k) float32, (q, k) float32
        By what rows are decoded to: numbers, the scores by which they were found, and those by their vectors.
    """

    rows: NDArray[np.int64]
    scores: Floats
    found: NDArray[np.int64]
    by: Floats
    exact: Floats

    @classmethod
    def merged(cls, each: Sequence[Self]) -> Self:
        """Return the nearest of all: the same in whatever order they come."""
        rows, scores, found, by, exact = (
            np.concatenate(own, axis=1)
            for own in zip(*((n.rows, n.scores, n.found, n.by, n.exact) for n in each), strict=True)
        )
        most = each[0].rows.shape[1]
        nearest = np.lexsort((rows, -scores), axis=1)[:, :most]
        best = np.lexsort((found, -by), axis=1)[:, :most]
        return cls(
            *(np.take_along_axis(array, nearest, axis=1) for array in (rows, scores)),
            *(np.take_along_axis(array, best, axis=1) for array in (found, by, exact)),
        )

    def recalls(self, k: int) -> NDArray[np.float64]:
        """Return which share of the first k found rows of each query is no farther than its k-th neighbour: (q,)."""
        last = self.scores[:, k - 1 : k]
        return (self.exact[:, :k] >= last - ROUNDING * np.abs(last) - 1e-12).mean(axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name."""
        return dict(vars(self))


class NearestFinder:
    """Finds the nearest rows to some queries in blocks of rows and of what these are decoded to.

    The same blocks give the same result.

    Parameters
    ----------
    asking : Asking
    first_row : int
        The number in the store of the first row.
    """

    def __init__(self, asking: Asking, first_row: int) -> None:
        self._asking, self._first = asking, first_row
        self._ranking = Ranking.of(asking.metric, asking.queries, unit_rows=False)
        shape = len(asking.queries), asking.most
        self._near, self._found = _Best(*shape), _Best(*shape)

    def add(self, rows: NDArray[np.int64], vectors: Floats, decoded: Floats) -> None:
        """Look at rows: numbers in the shard (n,), rising and without gaps, vectors and decoded vectors (n, d)."""
        first = self._first + int(rows[0])
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            exact, coded = self._scores(vectors[part], first + start), self._scores(decoded[part], first + start)
            self._near.offer(exact, exact, first + start)
            self._found.offer(coded, exact, first + start)
        self._near.merge()
        self._found.merge()

    def nearest(self) -> Nearest:
        """Return the nearest of all rows that were looked at."""
        near, found = self._near, self._found
        return Nearest(near.rows, near.scores, found.rows, found.scores, found.exact)

    def _scores(self, x: Floats, first: int) -> Floats:
        """Return raw scores of all queries and rows (q, n), -inf of a row that asks for itself."""
        scores = raw_scores(self._ranking.raw, self._ranking.queries @ x.T, np.einsum("ij,ij->i", x, x))
        own = self._asking.own - first
        itself = np.flatnonzero((own >= 0) & (own < len(x)))
        scores[itself, own[itself]] = -np.inf
        return scores


class _Best:
    """The best rows of each query by some scores, and beside each another score of it."""

    def __init__(self, queries: int, most: int) -> None:
        self.rows = np.full((queries, most), -1)
        self.scores = np.full((queries, most), -np.inf, np.float32)
        self.exact = self.scores.copy()
        self._hits: list[tuple[NDArray[Any], ...]] = []  # query, row, score, score beside; not yet merged

    def offer(self, scores: Floats, exact: Floats, first: int) -> None:
        """Consider rows from `first` on: (q, n)."""
        places = np.flatnonzero(scores > self.scores[:, -1:])
        queries, columns = np.divmod(places, scores.shape[1])
        self._hits.append((queries, columns + first, scores.ravel()[places], exact.ravel()[places]))
        if sum(len(hits[0]) for hits in self._hits) > self.rows.size:
            self.merge()

    def merge(self) -> None:
        """Put what was found since the last time in its place: of equal scores the first row comes first."""
        if not self._hits:
            return
        queries, rows, scores, exact = (np.concatenate(own) for own in zip(*self._hits, strict=True))
        self._hits, most = [], self.rows.shape[1]
        order = np.argsort(queries, kind="stable")
        edges = np.searchsorted(queries[order], np.arange(len(self.rows) + 1))
        for query in np.flatnonzero(np.diff(edges)).tolist():
            new = order[edges[query] : edges[query + 1]]
            if len(new) > most:
                new = new[scores[new] >= -np.partition(-scores[new], most - 1)[most - 1]]
            every = np.concatenate([self.scores[query], scores[new]])
            numbers = np.concatenate([self.rows[query], rows[new]])
            best = np.lexsort((numbers, -every))[:most]
            self.exact[query] = np.concatenate([self.exact[query], exact[new]])[best]
            self.rows[query], self.scores[query] = numbers[best], every[best]
