"""k-means by faiss: rows far from 0, and what it leaves of faiss's settings."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from vecstore.codecs.kmeans import kmeans, matrix_products, progressive_kmeans

RNG = np.random.default_rng(3)


def test_rows_far_from_zero():
    centers = RNG.standard_normal((4, 2)).astype(np.float32)
    x = np.repeat(centers, 100, axis=0) + RNG.normal(0, 1e-2, (400, 2)).astype(np.float32)
    near, far = kmeans(x, 4, seed=0), kmeans(x + 1000, 4, seed=0) - 1000
    np.testing.assert_allclose(np.sort(far, axis=0), np.sort(near, axis=0), atol=1e-2)


@pytest.mark.parametrize("train", [kmeans, progressive_kmeans])
def test_the_same_again(train):
    x = RNG.standard_normal((300, 16)).astype(np.float32)
    np.testing.assert_array_equal(train(x, 5, seed=1), train(x, 5, seed=1))


def test_the_last_to_leave_puts_the_threshold_back():
    before = faiss.cvar.distance_compute_blas_threshold
    first, second = matrix_products(faiss), matrix_products(faiss)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert faiss.cvar.distance_compute_blas_threshold == 1 != before
    second.__exit__(None, None, None)
    assert faiss.cvar.distance_compute_blas_threshold == before
