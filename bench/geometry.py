"""The shape of a cloud of vectors, as a diagnosis of why a codec fares well or badly on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.transforms.normalize import unit
from vecstore.measure.spectrum import spectrum

__all__ = ["effective_rank", "geometry_of", "isotropy", "occurrences", "skewness"]

Floats = NDArray[np.float32]
PAIRED_ROWS = 2_000


def geometry_of(x: Floats) -> dict[str, Any]:
    """Return ``effective_rank``, ``isotropy``, ``mean_cosine`` (of two rows) and ``variances`` (d,), as JSON."""
    variances = spectrum(x)
    some = unit(x[:: max(len(x) // PAIRED_ROWS, 1)][:PAIRED_ROWS])
    total = some.sum(axis=0, dtype=np.float64)
    pairs = max(len(some) * (len(some) - 1), 1)
    return {
        "effective_rank": effective_rank(variances),
        "isotropy": isotropy(some),
        "mean_cosine": float((total @ total - float((some * some).sum())) / pairs),
        "variances": [float(f"{value:.6g}") for value in variances],
    }


def effective_rank(variances: NDArray[np.float64]) -> float:
    """Return exp of the entropy of the spectrum (Roy & Vetterli 2007): d for white data, 1 for a line."""
    singular = np.sqrt(np.maximum(variances, 0))
    share = singular[singular > 0] / max(float(singular.sum()), 1e-300)
    return float(np.exp(-(share * np.log(share)).sum()))


def isotropy(x: Floats) -> float:
    """Return min / max of sum(exp(x @ c)) over eigenvectors c (Mu & Viswanath 2018): 1 if no direction stands out."""
    _, vectors = np.linalg.eigh(x.astype(np.float64).T @ x)
    sums = np.exp(x.astype(np.float64) @ np.concatenate([vectors, -vectors], axis=1)).sum(axis=0)
    return float(sums.min() / sums.max())


def occurrences(x: Floats, k: int) -> NDArray[np.int64]:
    """Return how often each row is among the k nearest of the other rows, by inner product: (n,)."""
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    k = min(k, len(x) - 1)
    nearest = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.bincount(nearest.ravel(), minlength=len(x))


def skewness(values: NDArray[Any]) -> float:
    """Return the third standardised moment: of k-occurrences, the hubness (Radovanovic, Nanopoulos & Ivanovic 2010)."""
    centred = np.asarray(values, np.float64) - np.mean(values)
    spread = float(np.sqrt((centred**2).mean()))
    return float((centred**3).mean() / spread**3) if spread > 0 else 0.0
