"""How scores follow from the coefficients of `tcq` codes, and how they vary from row to row.

Axes are orthonormal, so that products and lengths are taken among coefficients and no rotation has to be undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats, TrellisCode
from vecstore.codecs.layer import Layer
from vecstore.codecs.products import decoded_products
from vecstore.codecs.trellis.lookups import Lookups, coarse_levels
from vecstore.search.ranking import Raw

__all__ = ["LEAST_LENGTH", "Coefficients", "Moments"]

LEAST_LENGTH = 1e-15


class Coefficients:
    """How scores follow from the coefficients y of a layer of `tcq` codes.

    q . x = products(q) . y + biases(q) and |x|^2 = scale |y|^2 + linear . y + constant.

    Attributes
    ----------
    quantizer : TrellisCode
    scale : float
    linear : (coefficients,) float32
    constant : float
    """

    def __init__(self, layer: Layer) -> None:
        quantizer = layer.quantizer.trellis
        assert quantizer is not None
        affine = self._affine = layer.affine
        self.quantizer = quantizer
        gram = affine.gram.reshape(-1)
        self.even = affine.gram.ndim == 1 and bool((np.abs(gram - gram[0]) <= 1e-5 * gram[0]).all())
        self.scale = float(gram[0])
        inward = affine.inward
        self.linear = 2 * quantizer.axes @ (self.scale * quantizer.mean + inward)
        mean = quantizer.mean.astype(np.float64)
        self.constant = float(self.scale * mean @ mean + 2 * mean @ inward + affine.offset @ affine.offset)

    @classmethod
    def of(cls, layer: Layer) -> Coefficients | None:
        """Return those of a layer, or None where its codes are others, or its steps weigh dimensions unevenly."""
        if layer.quantizer.trellis is None or layer.byte_steps:
            return None
        found = cls(layer)
        return found if found.even else None

    @cached_property
    def coarse(self) -> TrellisCode:
        """The quantizer with coefficients as coarse look-ups see them, which read the first bytes of codes."""
        return self.quantizer.with_levels(coarse_levels(self.quantizer.layout, self.quantizer.levels))

    def lookups(self, size_bytes: int) -> Lookups:
        """Return what reads the first bytes of codes: coarsely, unless they are all."""
        q = self.quantizer
        return Lookups.of(q.layout, q.states, q.levels, size_bytes if size_bytes < q.code_bytes else None)

    def weights(self, queries: Floats) -> tuple[Floats, NDArray[np.float64]]:
        """Return the products (q, coefficients) and the biases (q,) of queries (q, d)."""
        inward = self._affine.weights(queries)
        biases = inward.astype(np.float64) @ self.quantizer.mean + queries.astype(np.float64) @ self._affine.offset
        return decoded_products(inward, self.quantizer.axes.T), biases

    def norms(self, y: Floats) -> Floats:
        """Return the squared lengths (n,) of vectors whose first coefficients are y (n, some of them)."""
        some = y.shape[1]
        found = self.scale * np.einsum("ij,ij->i", y, y) + y @ self.linear[:some] + self.constant
        return np.asarray(np.maximum(found, 0), np.float32)

    def features(self, y: Floats, raw: Raw) -> NDArray[np.float64]:
        """Return what raw scores are products of `feature_weights` with: (n, 2 + some).

        y are the first coefficients (n, some).
        """
        found = np.ones((len(y), 2 + y.shape[1]))
        found[:, 2:] = y
        if raw == "unit":
            found /= np.sqrt(np.maximum(self.norms(y), LEAST_LENGTH**2))[:, None]
        elif raw == "squared":
            found *= 2
            found[:, 0] = -self.scale * np.einsum("ij,ij->i", y, y) - self.constant
        return found

    def feature_weights(self, weights: Floats, biases: NDArray[np.float64], raw: Raw) -> NDArray[np.float64]:
        """Return what raw scores weigh features with: (q, 2 + coefficients), for products and biases (q, 1)."""
        found = np.empty((len(weights), 2 + weights.shape[1]))
        found[:, :1], found[:, 1:2], found[:, 2:] = raw == "squared", biases, weights
        if raw == "squared":
            found[:, 2:] -= (
                self.linear / 2
            )  # of lengths: a product that nearly cancels another says nothing of their sum
        return found

    def count(self, size_bytes: int) -> int:
        """Return how many coefficients the first bytes of a code hold."""
        layout = self.quantizer.layout
        return int(layout.firsts[layout.steps_in(size_bytes)])


@dataclass(frozen=True)
class Moments:
    """How a sum of features varies from row to row, for any weights.

    Attributes
    ----------
    mean : (features,) float64
    covariance : (features, features) or (features,) float64
        The latter where features are taken for uncorrelated. Principal components nearly are: this is as exact as a
        sample of hundreds of rows, and much less has to be read.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64], *, correlated: bool) -> Moments:
        """Return those of (rows, features)."""
        covariance = np.cov(features, rowvar=False, bias=True) if correlated else features.var(axis=0)
        return cls(features.mean(axis=0), covariance)

    def along(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of the sums that weights (q, features) make of features: (q,) and (q,)."""
        if self.covariance.ndim == 1:
            squares = weights**2 @ self.covariance
        else:
            squares = np.einsum("ij,ij->i", weights @ self.covariance, weights)
        return weights @ self.mean, np.maximum(squares, 0)
