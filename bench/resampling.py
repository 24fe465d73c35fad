"""Error bars: the bootstrap over queries, paired, so that what two codecs share of luck cancels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bootstrap", "Interval"]

Values = NDArray[np.float64]
SAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half its width, for ±."""
        return (self.high - self.low) / 2


class Bootstrap:
    """Resamples of the same queries for all that is compared (Efron & Tibshirani 1993, section 13.3: percentiles).

    Parameters
    ----------
    queries : int
    samples : int
    seed : int
    weights : (q,) float64, optional
        How much each query counts.
    """

    def __init__(self, queries: int, *, samples: int = SAMPLES, seed: int = 0, weights: Values | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.counts = rng.multinomial(queries, np.full(queries, 1 / queries), samples).astype(np.float64)
        self._weights = np.ones(queries) if weights is None else weights

    def interval(self, values: Values) -> Interval:
        """Return mean and interval of a value a query; queries without one (NaN) do not count."""
        there = ~np.isnan(values)
        if not there.any():
            return Interval(float("nan"), float("nan"), float("nan"))
        own = np.where(there, values, 0.0) * self._weights
        sizes = there * self._weights
        means = (self.counts @ own) / np.maximum(self.counts @ sizes, 1e-300)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(own.sum() / sizes.sum()), float(low), float(high))

    def tied(self, a: Values, b: Values) -> bool:
        """Return whether the difference of two metrics of the same queries is inside the noise."""
        difference = self.interval(a - b)
        return bool(difference.low <= 0 <= difference.high)
