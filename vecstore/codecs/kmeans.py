"""k-means by faiss, for any number of points."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats

__all__ = ["kmeans", "matrix_products", "progressive_kmeans"]

STEPS = 6  # of growing numbers of dimensions
STEP_ITERATIONS = 5

_entering = threading.Lock()
_before: list[int] = []  # faiss's threshold before, once for every thread that is inside `matrix_products`


def kmeans(x: Floats, k: int, *, seed: int, iterations: int = 25, start: Floats | None = None) -> Floats:
    """Return k centroids (k, d) of rows `x` (n, d), float32; the same input and seed give the same centroids.

    With no more rows than centroids the rows themselves are the centroids, the last one repeated.
    `start` gives centroids to begin with.
    """
    x = np.ascontiguousarray(x, np.float32)
    if len(x) <= k:
        return x[np.minimum(np.arange(k), len(x) - 1)]
    import faiss

    clustering = faiss.Kmeans(
        x.shape[1], k, niter=iterations, seed=seed, min_points_per_centroid=1, max_points_per_centroid=256
    )
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)  # products of rows far from 0 cancel each other out
    with matrix_products(faiss):
        clustering.train(x - mean, init_centroids=None if start is None else start - mean)
    return np.asarray(clustering.centroids + mean, np.float32)


@contextmanager
def matrix_products(faiss: Any) -> Iterator[None]:
    """Have faiss find nearest centroids by matrix products, however few numbers the rows have.

    Below its threshold it compares row by row, which takes up to ten times as long for few rows of few numbers. The
    threshold is one for the process: what other threads search meanwhile is found in the same way, and the last thread
    to leave puts it back.
    """
    with _entering:
        _before.append(_before[0] if _before else faiss.cvar.distance_compute_blas_threshold)
        faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        with _entering:
            before = _before.pop()
            if not _before:
                faiss.cvar.distance_compute_blas_threshold = before


def progressive_kmeans(x: Floats, k: int, *, seed: int) -> Floats:
    """Return k centroids (k, d) of rows `x` (n, d), begun in few principal dimensions and refined in more and more.

    For rows of many dimensions with little structure, such as what earlier stages of a quantizer have left: among them
    k-means begun at random rows stays near these. Liu, Lu & Guo, Improved residual vector quantization, 2015.
    """
    if len(x) <= max(k, 2 * x.shape[1]) or x.shape[1] < 2 * STEPS:  # few rows do not tell all principal axes
        return kmeans(x, k, seed=seed)
    import faiss

    x = np.ascontiguousarray(x, np.float32)
    parameters = faiss.ProgressiveDimClusteringParameters()
    parameters.progressive_dim_steps, parameters.niter, parameters.seed = STEPS, STEP_ITERATIONS, seed
    parameters.min_points_per_centroid, parameters.max_points_per_centroid = 1, 256
    clustering: Any = faiss.ProgressiveDimClustering(x.shape[1], k, parameters)
    with matrix_products(faiss):
        clustering.train(len(x), faiss.swig_ptr(x), faiss.ProgressiveDimIndexFactory())
    return np.asarray(faiss.vector_to_array(clustering.centroids).reshape(k, -1), np.float32)
