"""What "cosine above 0.8" becomes: how compression moves a threshold of similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.resampling import Bootstrap
from vecstore.bench.split import Split

__all__ = ["Threshold", "drifts"]

BINS = 4_000
LEAST_PAIRS = 30
COSINES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHARES = (0.5, 0.9, 0.99)  # of the true neighbours' scores, where scores are no cosines


@dataclass(frozen=True)
class Threshold:
    """A threshold before compression, and the one after it that as many pairs pass.

    Attributes
    ----------
    original, matched : float
    low, high : float
        95% interval of `matched`, over queries.
    lost, gained : float
        With the original threshold kept: share of the pairs above it that fall below, and of new ones that rise above,
        both relative to the pairs that were above.
    """

    original: float
    matched: float
    low: float
    high: float
    lost: float
    gained: float

    @property
    def drift(self) -> float:
        """How far the threshold has to move."""
        return self.matched - self.original


def drifts(tables: Mapping[str, NDArray[Any]], split: Split, bootstrap: Bootstrap) -> list[Threshold]:
    """Return how thresholds move, as far as there are pairs above them.

    The pairs are each query with its true neighbours, with what was found, and with random rows, which stand for all
    the others: each counts as many times as there are rows that it was drawn from.
    """
    if "truth_scores" not in tables:
        return []
    exact, given, weights = _pairs(tables, split)
    edges = np.linspace(np.nanmin(given), np.nanmax(given) + 1e-9, BINS + 1)
    at = np.clip(np.searchsorted(edges, given, side="right") - 1, 0, BINS - 1)
    # tail[q, b]: weight of the pairs of query q whose compressed score is in bin b or above
    histogram = np.zeros((len(given), BINS))
    np.add.at(histogram, (np.arange(len(given))[:, None], at), weights)
    tail = histogram[:, ::-1].cumsum(axis=1)[:, ::-1]
    drawn = bootstrap.counts[:400]
    found = []
    for original in _grid(split):
        above = weights * (exact >= original)
        if (above > 0).sum() < LEAST_PAIRS or (exact[weights > 0] < original).sum() < LEAST_PAIRS:
            continue
        each = above.sum(axis=1)
        matched = _matched(tail.sum(axis=0)[None], np.array([each.sum()]), edges, original)[0]
        resampled = _matched(drawn @ tail, drawn @ each, edges, original)
        low, high = np.quantile(resampled, [0.025, 0.975])
        total = each.sum()
        lost = (above * (given < original)).sum() / total
        gained = (weights * (exact < original) * (given >= original)).sum() / total
        found.append(Threshold(float(original), float(matched), float(low), float(high), float(lost), float(gained)))
    return found


def _pairs(
    tables: Mapping[str, NDArray[Any]], split: Split
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return exact scores, compressed scores and weights of pairs: (q, pairs) each."""
    truth, found, random = np.asarray(split.truth), tables["found"], np.asarray(split.random)
    exact = np.concatenate([np.asarray(split.truth_scores), tables["found_exact"], tables["random_exact"]], axis=1)
    given = np.concatenate([tables["truth_scores"], tables["found_scores"], tables["random_scores"]], axis=1)
    weights = np.ones(exact.shape)
    rows = len(split.base)
    for query in range(len(weights)):
        near = np.union1d(truth[query], found[query])
        extra = ~np.isin(found[query], truth[query]) & (found[query] >= 0)
        far = ~np.isin(random[query], near)
        weights[query, truth.shape[1] :] = np.concatenate([extra, far * ((rows - len(near)) / max(far.sum(), 1))])
    weights[np.isnan(given) | np.isnan(exact)] = 0
    return np.nan_to_num(exact).astype(np.float64), np.nan_to_num(given).astype(np.float64), weights


def _matched(
    tails: NDArray[np.float64], wanted: NDArray[np.float64], edges: NDArray[np.float64], original: float
) -> NDArray[np.float64]:
    """Return for each line the threshold nearest to `original` that pairs of the wanted weight pass."""
    enough, few = tails >= wanted[:, None] - 1e-9, tails <= wanted[:, None] + 1e-9
    highest = edges[BINS - 1 - np.argmax(enough[:, ::-1], axis=1)]
    lowest = np.where(few.any(axis=1), edges[np.argmax(few, axis=1)], edges[-1])
    return np.asarray(np.clip(original, np.minimum(lowest, highest), np.maximum(lowest, highest)))


def _grid(split: Split) -> Sequence[float]:
    if split.metric == "cosine":
        return COSINES
    scores = np.asarray(split.truth_scores)
    return [float(f"{value:.3g}") for value in np.quantile(scores, SHARES)]
