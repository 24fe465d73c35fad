from __future__ import annotations

import numpy as np
import pytest
import reference
from samples import glove

from vecstore.codecs.codec import codec
from vecstore.codecs.scalar.rabitq import RaBitQ, TrainedRaBitQ
from vecstore.errors import CodecError
from vecstore.kernels.entries import encode_rabitq


def fitted(bits: int, seed: int = 0) -> TrainedRaBitQ:
    trained = RaBitQ(bits).fit(glove()[0][:1000], seed=seed)
    assert isinstance(trained, TrainedRaBitQ)
    return trained


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("d", [1, 32, 65])
def test_grid_points_are_nearly_the_best_of_all(bits, d):
    z = np.random.default_rng(d).normal(size=(33, d)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    levels = np.empty(z.shape, np.uint8)
    encode_rabitq(z, bits, levels)
    assert levels.max() < 1 << bits
    y = levels - ((1 << bits) - 1) / 2
    cosines = np.einsum("ij,ij->i", z, y) / np.linalg.norm(y, axis=1)
    best = np.array([reference.best_direction(row, bits) for row in z])
    assert (cosines <= best + 1e-6).all()
    assert (1 - cosines).mean() <= 1.2 * (1 - best).mean() + 1e-6


def test_rows_without_a_direction_and_no_rows():
    levels = np.full((1, 5), 77, np.uint8)
    encode_rabitq(np.zeros((1, 5), np.float32), 3, levels)
    assert levels.max() < 8
    encode_rabitq(np.zeros((0, 5), np.float32), 3, levels[:0])
    trained = fitted(3)
    np.testing.assert_allclose(trained.decode(trained.encode(trained.mean[None]))[0], trained.mean, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_estimates_are_unbiased_over_rotations(bits):
    x, queries = glove()[0][1000:1040], glove()[0][2000:2020]
    exact = queries @ x.T
    found = []
    for seed in range(40):
        trained = fitted(bits, seed)
        found.append(trained.estimate(queries, trained.encode(x))[0])
    error = np.mean(found, axis=0) - exact
    spread = np.std(found, axis=0) / np.sqrt(len(found))
    assert abs((error / spread).mean()) < 0.2  # of a standard error, over 800 pairs that share 40 rotations
    # Nearest points, by contrast, are drawn towards the mean.
    trained = fitted(bits)
    centred = (trained.decode(trained.encode(x)) - trained.mean) @ (queries - trained.mean).T.astype(np.float64)
    assert np.abs(centred).sum() < np.abs((x - trained.mean) @ (queries - trained.mean).T).sum()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_errors_keep_to_their_bounds(bits):
    x, queries = glove()[0][1000:1400], glove()[0][3000:3050]
    trained = fitted(bits)
    products, bounds = trained.estimate(queries, trained.encode(x))
    within = np.abs(products - queries @ x.T) <= bounds
    assert within.mean() > 0.9
    assert np.median(bounds) < 8 * np.abs(products - queries @ x.T).mean(), "a bound that says nothing"
    assert (trained.estimate(queries, trained.encode(x), deviations=4)[1] > bounds).all()


def test_bits_out_of_range():
    with pytest.raises(CodecError, match="bits=9; choose 1 to 8"):
        codec("rabitq:9")
