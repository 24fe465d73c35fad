"""How little error so many bytes allow: the Gaussian rate-distortion bound of a spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["decibels", "distortion_bound", "spectrum"]


def spectrum(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the variances along the principal axes of rows (n, d), largest first: (d,) float64."""
    centered = x - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    # Products of dimensions and products of rows have the same eigenvalues, but for zeros.
    products = centered.T @ centered if len(x) >= x.shape[1] else centered @ centered.T
    variances = np.linalg.eigvalsh(products.astype(np.float64) / max(len(x), 1))[::-1]
    return np.maximum(np.pad(variances, (0, x.shape[1] - len(variances))), 0)


def distortion_bound(variances: ArrayLike, size_bytes: float) -> float:
    """Return the least mean squared error a row that a code of `size_bytes` can have, for a Gaussian source.

    Reverse water-filling (Cover & Thomas, Elements of Information Theory, section 10.3.3): with a water level t,
    component i of variance v takes max(0, log2(v / t) / 2) bits and keeps the error min(v, t). Real data is no
    Gaussian, and codes that share structure between rows (cells) have more than the row's own bytes: so a codec may
    come out below the bound.

    Parameters
    ----------
    variances : (d,) array
        Along the principal axes, in any order.
    size_bytes : float
        Of one row, 0 or more.
    """
    v = np.sort(np.asarray(variances, np.float64))[::-1]
    v = v[v > 0]
    if not len(v):
        return 0.0
    # With the first k components above the water, log2(t) = (sum of their log2(v) - 2 bits) / k.
    count = np.arange(1, len(v) + 1)
    levels = (np.cumsum(np.log2(v)) - 16 * size_bytes) / count
    k = int(np.flatnonzero(levels <= np.log2(v))[-1])
    return float(np.minimum(v, 2.0 ** levels[k]).sum())


def decibels(error: float, bound: float) -> float:
    """Return how far an error is above a bound; 0 where either is nothing."""
    return float(10 * np.log10(error / bound)) if bound > 0 and error > 0 else 0.0
