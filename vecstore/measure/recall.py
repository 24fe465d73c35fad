"""Recall of decoded vectors against the originals, query by query, and what it is worth: bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.metric import Metric
from vecstore.search.ranking import Ranking, raw_scores
from vecstore.shard.certificate import Interval

__all__ = ["GroundTruth", "extrapolated", "forecast", "interval", "paired"]

QUERIES_AT_ONCE = 64
RESAMPLES = 1000
GROUP = 32  # columns whose maximum stands for them
ROUNDING = 1e-6  # of a score, that two rows may differ by and still count as equally near


class GroundTruth:
    """Queries and rows whose exact neighbours are known; decoded rows are measured against them.

    A found row counts as right when its exact score is no worse than that of the k-th neighbour: of rows that are
    equally near, any will do.

    Parameters
    ----------
    queries : (q, d) float32
    base : (n, d) float32
    metric : {"cosine", "dot", "l2"}
    ks : the k of recall@k, each at most n
    """

    def __init__(self, queries: Floats, base: Floats, metric: Metric, ks: tuple[int, ...] = (10,)) -> None:
        self.base, self.metric = base, metric
        self._measured: tuple[Floats, Floats] | None = None
        self.ks = tuple(k for k in ks if k <= len(base))
        self._ranking = Ranking.of(metric, queries, unit_rows=False)
        self.queries = self._ranking.queries

    def scores(self, rows: Floats, part: slice) -> Floats:
        """Return raw scores of some queries and rows: (q, n) float32, larger being nearer."""
        return raw_scores(self._ranking.raw, self.queries[part] @ rows.T, self._squares(rows))

    def _squares(self, rows: Floats) -> Floats:
        """Return squared lengths (n,); they are kept for the rows that were asked for last, portion after portion."""
        if self._measured is None or self._measured[0] is not rows:
            self._measured = rows, np.einsum("ij,ij->i", rows, rows)
        return self._measured[1]

    def final_scores(self, rows: Floats, part: slice) -> NDArray[np.float64]:
        """Return scores of some queries and rows as a search gives them, a distance with its sign changed: (q, n)."""
        return self.scores(rows, part) * self._ranking.slope + self._ranking.shifts[part, None]

    def parts(self) -> list[slice]:
        """Return the queries in portions whose scores fit in memory."""
        return [slice(at, at + QUERIES_AT_ONCE) for at in range(0, len(self.queries), QUERIES_AT_ONCE)]

    def recalls(self, decoded: Floats) -> dict[int, NDArray[np.float64]]:
        """Return recall@k of every query, (q,) for each k, when `decoded` (n, d) is searched in place of the base."""
        if np.array_equal(decoded, self.base):  # what is found is what is nearest
            return {k: np.ones(len(self.queries)) for k in self.ks}
        recalls = {k: np.empty(len(self.queries)) for k in self.ks}
        for part in self.parts():
            right = self._right(part, _best(self.scores(decoded, part), self.ks[-1]))
            for k, column in right.items():
                recalls[k][part] = column
        return recalls

    def recalls_rescored(self, coarse: Floats, fine: Floats, *, rescored: int) -> NDArray[np.float64]:
        """Return recall@k (q,), for the largest k, when `fine` ranks the best `rescored` rows of `coarse` again."""
        recalls = np.empty(len(self.queries))
        for part in self.parts():
            candidates = np.sort(_best(self.scores(coarse, part), min(rescored, len(coarse))), axis=1)
            scores = np.take_along_axis(self.scores(fine, part), candidates, axis=1)
            found = np.take_along_axis(candidates, _best(scores, self.ks[-1]), axis=1)
            recalls[part] = self._right(part, found)[self.ks[-1]]
        return recalls

    def _right(self, part: slice, found: NDArray[np.int64]) -> dict[int, NDArray[np.float64]]:
        """Return which share of the first k found rows (q, largest k) is right, for each k."""
        exact = self._exact(part, found)
        least = self._last[part] - ROUNDING * np.abs(self._last[part]) - 1e-12
        return {k: (exact[:, :k] >= least[:, column, None]).mean(axis=1) for column, k in enumerate(self.ks)}

    @cached_property
    def _last(self) -> Floats:
        """Exact score of each query's k-th neighbour: (q, ks)."""
        last = np.empty((len(self.queries), len(self.ks)), np.float32)
        for part in self.parts():
            found = _best(self.scores(self.base, part), self.ks[-1])
            exact = self._exact(part, found)
            for column, k in enumerate(self.ks):
                last[part, column] = exact[:, :k].min(axis=1)
        return last

    def _exact(self, part: slice, found: NDArray[np.int64]) -> Floats:
        """Exact raw scores of found rows (q, k): summed as in no other place, so that equal rows score the same."""
        rows = self.base[found]
        products = np.einsum("qd,qkd->qk", self.queries[part], rows)
        norms = np.einsum("qkd,qkd->qk", rows, rows)
        return raw_scores(self._ranking.raw, products, norms)


def _best(scores: Floats, k: int) -> NDArray[np.int64]:
    """Return the columns of the k best scores of each row, best first.

    The k best of the maxima of groups are scores of different columns: nothing below the least of them is among the
    k best of all, so that little is left to be put in order.
    """
    rows, columns = scores.shape
    groups = columns // GROUP
    if groups < 4 * k:
        found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
        return np.take_along_axis(found, order, axis=1)
    maxima = scores[:, : groups * GROUP].reshape(rows, groups, GROUP).max(axis=2)
    floors = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    best = np.empty((rows, k), np.int64)
    for row, (own, floor) in enumerate(zip(scores, floors, strict=True)):
        likely = np.flatnonzero(own >= floor)
        best[row] = likely[np.argsort(-own[likely], kind="stable")[:k]]
    return best


def interval(values: NDArray[np.float64], *, seed: int) -> Interval:
    """Return the mean of values (n,) with its 95% percentile interval (Efron & Tibshirani, 1993, chapter 13)."""
    resampled = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)), dtype=np.int32)
    low, high = np.quantile(values[resampled].mean(axis=1), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def forecast(values: NDArray[np.float64], k: int, *, seed: int) -> Interval:
    """Return the mean of the recall@k of queries (n,), and between what the mean of as many others lies, with 95%.

    Both means vary, so the interval of one is widened by the root of two. Queries that all find the same still leave
    three misses in doubt (the rule of three: Hanley & Lippman-Hand, JAMA 1983).
    """
    found = interval(values, seed=seed)
    least = 3 / (k * len(values))
    below, above = (max(2**0.5 * side, least) for side in (found.mean - found.low, found.high - found.mean))
    return Interval(*np.clip([found.mean, found.mean - below, found.mean + above], 0.0, 1.0).tolist())


def extrapolated(recalls: Mapping[int, NDArray[np.float64]], rows: int) -> NDArray[np.float64]:
    """Return what recall becomes among `rows`, by query, from what it is among fewer: (q,) by number of rows.

    It falls, or rises, in proportion to the logarithm of the rows: from what it is among most, by a line of least
    squares through all. The result of one query may lie outside 0 to 1; the mean is what counts.
    """
    most = max(recalls)
    logs = np.log(list(recalls))
    weights = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
    slopes = weights @ np.stack(list(recalls.values()))
    return np.asarray(recalls[most] + slopes * np.log(rows / most))


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, seed: int) -> Interval:
    """Return by how much `ours` (q,) is better than `theirs` for the same queries."""
    return interval(ours - theirs, seed=seed)
