from __future__ import annotations

import numpy as np
import pytest

from vecstore.codecs.codec import codec


@pytest.mark.parametrize("n", [2, 100, 1000])
def test_eight_bits_reach_beyond_the_sample(n):
    x = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    grid = codec("sq:8").fit(x).layers[0].quantizer
    highest = grid.lowest + 255 * grid.steps
    assert (grid.lowest < x.min(axis=0)).all() and (highest > x.max(axis=0)).all()
    assert (highest - grid.lowest < 1.5 * np.ptp(x, axis=0)).all()


def test_four_bits_clip_an_outlier():
    x = np.random.default_rng(0).normal(size=(1000, 5)).astype(np.float32)
    x[7] = 20
    decoded = codec("sq:4").fit(x).approximate(x)
    assert (decoded[7] < 19).all()


def test_a_dimension_that_does_not_vary_is_kept():
    x = np.full((10, 3), 0.3, np.float32)
    np.testing.assert_allclose(codec("sq:8").fit(x).approximate(x), x, rtol=1e-6)
