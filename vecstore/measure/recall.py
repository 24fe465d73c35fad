"""Recall of decoded vectors against the originals, query by query, and what it is worth: bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.measure.nearest import Nearest, RowSource, nearest, nearest_of_both
from vecstore.metric import Metric
from vecstore.search.ranking import Ranking, raw_scores
from vecstore.shard.certificate import Interval

__all__ = ["GroundTruth", "extrapolated", "forecast", "interval", "paired"]

QUERIES_AT_ONCE = 64
RESAMPLES = 1000
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
    counts : among how many of the first rows recall is measured, beside all
    """

    def __init__(
        self, queries: Floats, base: Floats, metric: Metric, ks: tuple[int, ...] = (10,), counts: tuple[int, ...] = ()
    ) -> None:
        self.base, self.metric = base, metric
        self.ks = tuple(k for k in ks if k <= len(base))
        self.counts = tuple(sorted({*counts, len(base)}))
        self._ranking = Ranking.of(metric, queries, unit_rows=False)
        self.queries = self._ranking.queries
        self._neighbours: dict[int, Nearest] = {}  # by among how many rows; once anything was searched

    def search(self, decoded: RowSource, counts: tuple[int, ...] = ()) -> dict[int, Nearest]:
        """Return what is found in place of the base, `decoded` (n, d): by among how many rows, `counts` of them too."""
        counts = (*self.counts, *counts)
        if self._neighbours:
            return nearest(self._ranking, decoded, self.ks[-1], counts)
        self._neighbours, found = nearest_of_both(self._ranking, self.base, decoded, self.ks[-1], counts)
        return found

    def recalls(self, decoded: Floats) -> dict[int, NDArray[np.float64]]:
        """Return recall@k of every query, (q,) for each k, when `decoded` (n, d) is searched in place of the base."""
        if np.array_equal(decoded, self.base):  # what is found is what is nearest
            return {k: np.ones(len(self.queries)) for k in self.ks}
        return self.recalls_of(self.search(decoded))[len(self.base)]

    def recalls_of(self, found: Mapping[int, Nearest]) -> dict[int, dict[int, NDArray[np.float64]]]:
        """Return recall@k of what was found, (q,) for each k; by among how many rows, one of `counts`."""
        return {count: self._right(count, found[count].rows) for count in self.counts}

    def recalls_rescored(self, coarse: Floats, fine: Floats, *, rescored: int) -> NDArray[np.float64]:
        """Return recall@k (q,), for the largest k, when `fine` ranks the best `rescored` rows of `coarse` again."""
        candidates = nearest(self._ranking, coarse, min(rescored, len(coarse)), [len(coarse)])[len(coarse)].rows
        candidates = np.sort(candidates, axis=1)
        order = np.argsort(-self.exact(candidates, fine), axis=1, kind="stable")[:, : self.ks[-1]]
        found = np.take_along_axis(candidates, order, axis=1)
        return self._right(len(self.base), found)[self.ks[-1]]

    def exact(self, found: NDArray[np.int64], rows: Floats | None = None) -> Floats:
        """Return raw scores of found rows (q, k), of the base if of no others.

        They are summed as in no other place, so that equal rows score the same.
        """
        rows, scores = self.base if rows is None else rows, np.empty(found.shape, np.float32)
        for part in self.parts():
            own = rows[found[part]]
            products = np.einsum("qd,qkd->qk", self.queries[part], own)
            scores[part] = raw_scores(self._ranking.raw, products, np.einsum("qkd,qkd->qk", own, own))
        return scores

    def parts(self) -> list[slice]:
        """Return the queries in portions."""
        return [slice(at, at + QUERIES_AT_ONCE) for at in range(0, len(self.queries), QUERIES_AT_ONCE)]

    def scores(self, rows: Floats, part: slice) -> Floats:
        """Return raw scores of some queries and rows: (q, n) float32, larger being nearer."""
        return raw_scores(self._ranking.raw, self.queries[part] @ rows.T, np.einsum("ij,ij->i", rows, rows))

    def final(self, raw: Floats, part: slice = slice(None)) -> NDArray[np.float64]:
        """Return raw scores of some queries (q, n) as a search gives them, a distance with its sign changed."""
        return np.asarray(raw * self._ranking.slope + self._ranking.shifts[part, None], np.float64)

    def _right(self, count: int, found: NDArray[np.int64]) -> dict[int, NDArray[np.float64]]:
        """Return which share of the first k found rows (q, largest k) is right, for each k."""
        exact, last = self.exact(found), self._last[count]
        least = last - ROUNDING * np.abs(last) - 1e-12
        ks = [k for k in self.ks if k <= count]
        return {k: (exact[:, :k] >= least[:, column, None]).mean(axis=1) for column, k in enumerate(ks)}

    @cached_property
    def _last(self) -> dict[int, Floats]:
        """Exact score of each query's k-th neighbour, (q, ks); by among how many rows."""
        if not self._neighbours:
            self._neighbours = nearest(self._ranking, self.base, self.ks[-1], self.counts)
        columns = {count: [k - 1 for k in self.ks if k <= count] for count in self.counts}
        return {count: self.exact(self._neighbours[count].rows[:, own]) for count, own in columns.items()}


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
