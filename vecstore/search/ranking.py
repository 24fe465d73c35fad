"""What a metric asks of a scan: which of three raw scores, of which queries, and how they become what users see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.metric import Metric

__all__ = ["Ranking", "Raw", "inverse_lengths", "raw_scores"]

Raw = Literal["product", "unit", "squared"]


@dataclass(frozen=True)
class Ranking:
    """How rows are ranked.

    A raw score is q . x (product), q . x / |x| (unit; 0 for x = 0) or 2 q . x - |x|^2 (squared) of queries that were
    made ready for it. Raw scores, times `slope`, plus the query's of `shifts`, are what the metric says, larger being
    better: a distance has its sign changed.

    Attributes
    ----------
    raw : {"product", "unit", "squared"}
    queries : (q, d) float32
    slope : float
    shifts : (q,) float64
    hamming : bool
        Compare the queries' codes with the rows', bit by bit; the raw score is minus the number that differ.
    """

    raw: Raw
    queries: Floats
    slope: float
    shifts: NDArray[np.float64]
    hamming: bool = False

    @classmethod
    def of(cls, metric: Metric | Literal["hamming"], queries: Floats, *, unit_rows: bool) -> Ranking:
        """Return the ranking of a metric; with `unit_rows` the rows are scaled to length one before."""
        none = np.zeros(len(queries))
        if metric == "hamming":
            return cls("product", queries, 1.0, none, hamming=True)
        if metric == "cosine":
            if len(queries) == 1:  # the same, in a third of the time
                size = math.sqrt(np.einsum("i,i->", queries[0], queries[0]))
                return cls("unit", queries / size if size else queries, 1.0, none)
            sizes = np.sqrt(np.einsum("ij,ij->i", queries, queries))
            sizes[sizes == 0] = 1
            return cls("unit", queries / sizes[:, None], 1.0, none)
        if metric == "dot":
            return cls("unit" if unit_rows else "product", queries, 1.0, none)
        squares = -np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
        return cls("unit", queries, 2.0, squares - 1) if unit_rows else cls("squared", queries, 1.0, squares)

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Lengths of `queries`: (q,)."""
        return np.sqrt(np.einsum("ij,ij->i", self.queries, self.queries, dtype=np.float64))

    def final(self, raw: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the metric's scores (q, n) of raw ones; the same array where these are it."""
        if self.slope == 1 and self.raw != "squared":  # no shifts either
            return np.asarray(raw, np.float64)
        return np.asarray(raw * self.slope + self.shifts[:, None], np.float64)

    def floors(self, least: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the raw scores at which the metric's score is `least`: (q,)."""
        return np.asarray((least - self.shifts) / self.slope, np.float64)

    def bound(self, query: int, raw: NDArray[np.float64], gaps: Floats) -> NDArray[np.float64]:
        """Return what the raw scores (n,) can be at most for vectors that lie up to `gaps` (n,) from those scored."""
        size = self.sizes[query]
        if self.raw != "squared":
            return raw + size * gaps
        distances = np.sqrt(np.maximum(size**2 - raw, 0))
        return np.asarray(size**2 - np.maximum(distances - gaps, 0) ** 2, np.float64)

    def reaching(self, raw: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
        """Return the raw scores (q,) below which no vector up to `gap` away scores `raw` (q,)."""
        if self.raw != "squared":
            return np.asarray(raw - self.sizes * gap)
        distances = np.sqrt(np.maximum(self.sizes**2 - raw, 0))
        return np.asarray(self.sizes**2 - (distances + gap) ** 2)


def raw_scores(raw: Raw, products: Floats, norms: Floats | None, *, out: Floats | None = None) -> Floats:
    """Return raw scores (q, n) of inner products (q, n) and squared lengths (n,), which "product" does not need.

    They are written to `out`, which may be the products, if it is given; "product" returns the products.
    """
    if raw == "product":
        return products
    assert norms is not None
    if raw == "squared":
        out = np.multiply(products, 2, out=out)
        return np.subtract(out, norms, out=out)
    return np.multiply(products, inverse_lengths(norms), out=out)


def inverse_lengths(norms: Floats) -> Floats:
    """Return what squared lengths (n,) make of products for scores by direction: 0 for a zero vector."""
    inverse = np.zeros_like(norms)
    np.divide(1, np.sqrt(np.maximum(norms, 0)), out=inverse, where=norms > 1e-30)
    return inverse
