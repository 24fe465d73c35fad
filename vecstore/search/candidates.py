"""What a search finds in some of the rows: candidates, to be merged with those that others find in other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.search.topk import TopK

__all__ = ["Candidates"]


@dataclass(frozen=True)
class Candidates:
    """The best rows of each query among those that were looked at, in the order in which they were chosen.

    Attributes
    ----------
    scores : (q, n) float64
        Raw scores by which they were chosen, falling; -inf where there are fewer than n.
    rows : (q, n) int64
        Positions in the whole store; -1 there.
    exact : (q, n) float64 or None
        Raw scores that decide among all candidates; None where those by which they were chosen do, or none were asked
        for yet.
    rescored : (q,) int64
        Rows that were scored again on the way.
    least : int
        How many a query has to have: fewer are a sign that rows were passed over by their first bytes which should not
        have been. 0 where none is passed over.
    """

    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    exact: NDArray[np.float64] | None
    rescored: NDArray[np.int64]
    least: int = 0

    @classmethod
    def stacked(cls, each: Sequence[Self]) -> Self:
        """Return those of several batches of queries as one batch's."""
        exact = [own.exact for own in each if own.exact is not None]
        return cls(
            np.concatenate([own.scores for own in each]),
            np.concatenate([own.rows for own in each]),
            np.concatenate(exact) if exact else None,
            np.concatenate([own.rescored for own in each]),
            max(own.least for own in each),
        )

    @classmethod
    def merged(cls, each: Sequence[Self]) -> Self:
        """Return the best of what was found in different rows: as many as were looked for in each."""
        scores, rows = (np.concatenate(own, axis=1) for own in zip(*((c.scores, c.rows) for c in each), strict=True))
        order = np.lexsort((rows, -scores), axis=1)[:, : max(own.rows.shape[1] for own in each)]
        exact = [own.exact for own in each if own.exact is not None]
        return cls(
            np.take_along_axis(scores, order, axis=1),
            np.take_along_axis(rows, order, axis=1),
            np.take_along_axis(np.concatenate(exact, axis=1), order, axis=1) if exact else None,
            np.sum([own.rescored for own in each], axis=0),
            max(own.least for own in each),
        )

    def of(self, queries: slice) -> Candidates:
        """Return those of some of the queries."""
        exact = None if self.exact is None else self.exact[queries]
        own = self.scores[queries], self.rows[queries], exact, self.rescored[queries]
        return Candidates(*own, self.least)

    @property
    def short(self) -> NDArray[np.int64]:
        """The queries that have fewer than they have to."""
        return np.flatnonzero((self.rows >= 0).sum(axis=1) < self.least)

    def with_queries(self, queries: NDArray[np.int64], found: Candidates) -> Candidates:
        """Return the same, but for some queries what was found later."""
        scores, rows = self.scores.copy(), self.rows.copy()
        scores[queries], rows[queries] = found.scores, found.rows
        exact = None if self.exact is None else self.exact.copy()
        if exact is not None:
            exact[queries] = found.exact
        return replace(self, scores=scores, rows=rows, exact=exact, least=0)

    def best(self, k: int, floors: NDArray[np.float64]) -> tuple[TopK, NDArray[np.int64]]:
        """Return the best k of each query that reach the floors (q,), and how many rows were rescored: (q,)."""
        scores, rescored = self.scores, self.rescored
        if self.exact is not None:
            scores, rescored = self.exact, (self.rows >= 0).sum(axis=1)
        found = TopK(len(scores), min(k, scores.shape[1]))
        order = np.lexsort((self.rows, -scores), axis=1)[:, : found.k]
        found.scores = np.take_along_axis(scores, order, axis=1)
        found.rows = np.take_along_axis(self.rows, order, axis=1)
        found.sizes = (found.rows >= 0).sum(axis=1)
        return found.least(floors), rescored
