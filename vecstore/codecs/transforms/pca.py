"""Principal components, and whitening by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Floats, TrainedTransform, Transform, frozen, named
from vecstore.codecs.members import UpToWidth
from vecstore.codecs.products import decoded_products, row_products

__all__ = ["PCA", "Whiten", "principal_axes"]

LEAST_SHARE = 1e-9  # of the largest variance: below, an axis is what rounding has left


def principal_axes(x: Floats, dimensions: int) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """Return the mean (d,), the first principal axes (dimensions, d) and the variances along them of rows `x`.

    Each axis points so that its largest entry is positive: otherwise its sign would be an accident.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    centered = x - mean.astype(np.float32)
    found = _by_dimensions if len(x) >= x.shape[1] else _by_rows
    axes, variances = found(centered, dimensions)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    return mean.astype("<f4"), axes.astype("<f4"), np.maximum(variances, 0)


Axes = tuple[NDArray[np.float64], NDArray[np.float64]]  # axes (count, d), variances (count,), largest first


def _by_dimensions(centered: Floats, count: int) -> Axes:
    variances, vectors = np.linalg.eigh((centered.T @ centered).astype(np.float64) / max(len(centered), 1))
    return vectors[:, ::-1][:, :count].T, variances[::-1][:count]


def _by_rows(centered: Floats, count: int) -> Axes:
    """Find axes by the products of rows, where there are fewer of them than dimensions: n**2 d, not d**3.

    Rows span fewer dimensions than there may be axes; any directions orthogonal to them do for the rest.
    """
    n, d = centered.shape
    products = (centered @ centered.T).astype(np.float64) / n
    variances, shares = (found[..., ::-1] for found in np.linalg.eigh(products))
    known = min(int((variances > LEAST_SHARE * variances[0]).sum()), count)
    axes = (shares[:, :known].T @ centered) / np.sqrt(n * variances[:known])[:, None]
    others = np.random.default_rng(0).standard_normal((count - known, d))
    completed = np.linalg.qr(np.concatenate([axes, others]).T)[0].T  # of the axes, too: each to those before it
    return completed, np.pad(variances[:known], (0, count - known))


@dataclass(frozen=True)
class PCA(Transform):
    """Keep the first `dimensions` principal components (Jolliffe, Principal Component Analysis, 2002)."""

    dimensions: Annotated[int, UpToWidth()]

    name = "pca"
    summary = "keep the first D principal components"
    usage = "pca:D"

    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        mean, axes, _ = principal_axes(x, self.dimensions)
        return TrainedProjection(mean, axes)

    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        return TrainedProjection(*named(arrays, mean=(dimensions_in,), axes=(self.dimensions, dimensions_in)))


@dataclass(frozen=True)
class Whiten(Transform):
    """Keep the first `dimensions` principal components, each scaled to variance one.

    Directions with less than a millionth of the largest variance are scaled as if they had that much; where there is
    no variance at all, nothing is scaled.
    """

    dimensions: Annotated[int, UpToWidth()]

    name = "whiten"
    summary = "as pca, each component scaled to variance one"
    usage = "whiten:D"

    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        mean, axes, variances = principal_axes(x, self.dimensions)
        floor = float(variances[0]) * 1e-6
        scales = np.sqrt(np.maximum(variances, floor)) if floor > 0 else np.ones(self.dimensions)
        return TrainedProjection(mean, axes, scales.astype("<f4"))

    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        d = self.dimensions
        return TrainedProjection(*named(arrays, mean=(dimensions_in,), axes=(d, dimensions_in), scales=(d,)))


class TrainedProjection(TrainedTransform):
    def __init__(self, mean: Floats, axes: Floats, scales: Floats | None = None) -> None:
        self.mean, self.axes = frozen(mean), frozen(axes)  # axes[k, d]
        self.scales = None if scales is None else frozen(scales)
        self.dimensions, self.dimensions_in = axes.shape

    def apply(self, x: Floats) -> Floats:
        z = row_products(x - self.mean, self.axes.T)
        return z if self.scales is None else z / self.scales

    def invert(self, z: Floats) -> Floats:
        return decoded_products(z if self.scales is None else z * self.scales, self.axes) + self.mean

    @property
    def arrays(self) -> Arrays:
        plain = {"mean": self.mean, "axes": self.axes}
        return plain if self.scales is None else plain | {"scales": self.scales}
