"""k-means by faiss, for any number of points."""

from __future__ import annotations

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.errors import require

__all__ = ["kmeans"]


def kmeans(x: Floats, k: int, *, seed: int, iterations: int = 25, start: Floats | None = None) -> Floats:
    """Return k centroids (k, d) of rows `x` (n, d), float32; the same input and seed give the same centroids.

    With no more rows than centroids the rows themselves are the centroids, the last one repeated.
    `start` gives centroids to begin with.
    """
    x = np.ascontiguousarray(x, np.float32)
    if len(x) <= k:
        return x[np.minimum(np.arange(k), len(x) - 1)]
    faiss = require("faiss", extra="train", purpose="training a codebook")
    d = x.shape[1]
    if d < 8:  # faiss is up to ten times slower below eight dimensions; zeros change no distance
        x = np.pad(x, ((0, 0), (0, 8 - d)))
        start = None if start is None else np.pad(start, ((0, 0), (0, 8 - d)))
    clustering = faiss.Kmeans(
        x.shape[1], k, niter=iterations, seed=seed, min_points_per_centroid=1, max_points_per_centroid=256
    )
    clustering.train(x, init_centroids=start)
    return np.asarray(clustering.centroids[:, :d], np.float32)
