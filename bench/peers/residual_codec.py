"""The residual codec of ColBERTv2, as a peer for codecs of token vectors.

Santhanam et al., ColBERTv2: Effective and Efficient Retrieval via Lightweight Late Interaction, 2022, section 3.3: a
vector is the nearest of some centroids, and what is left of it in a few bits a dimension. Written from the paper.
"""

from __future__ import annotations

from math import floor, log2, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["ResidualCodec"]

CENTROID_BYTES = 4
ITERATIONS, SAMPLE = 6, 1 << 16


class ResidualCodec:
    """Centroids, and residuals cut at quantiles.

    Parameters
    ----------
    x : (n, d) float32
        Vectors of length one to train on.
    total : int
        Vectors to come: the number of centroids follows from it.
    bits : int
        Of a dimension.
    """

    def __init__(self, x: NDArray[np.float32], total: int, *, bits: int = 2, seed: int = 0) -> None:
        import faiss

        sample = x[np.random.default_rng(seed).permutation(len(x))[:SAMPLE]]
        count = min(2 ** floor(log2(16 * sqrt(total))), len(sample) // 2)
        kmeans = faiss.Kmeans(x.shape[1], count, niter=ITERATIONS, seed=seed, max_points_per_centroid=SAMPLE)
        kmeans.train(sample)
        centroids = np.asarray(kmeans.centroids, np.float32)
        self.centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
        levels = 2**bits
        residuals = sample - self.centroids[self._nearest(sample)]
        self._cuts = np.quantile(residuals, np.arange(1, levels) / levels)
        self._values = np.quantile(residuals, (np.arange(levels) + 0.5) / levels).astype(np.float32)
        self.code_bytes = CENTROID_BYTES + x.shape[1] * bits / 8

    def approximate(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what vectors become, coded and decoded: (n, d), of length one."""
        own = self.centroids[self._nearest(x)]
        decoded = own + self._values[np.searchsorted(self._cuts, x - own)]
        return np.asarray(decoded / np.linalg.norm(decoded, axis=1, keepdims=True), np.float32)

    def _nearest(self, x: NDArray[np.float32], at_once: int = 4096) -> NDArray[np.int64]:
        parts = [np.argmax(x[at : at + at_once] @ self.centroids.T, axis=1) for at in range(0, len(x), at_once)]
        return np.concatenate(parts)
