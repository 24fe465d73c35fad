"""Residual and local search quantization."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from samples import glove

from vecstore.codecs.codec import codec
from vecstore.codecs.product.lsq import fitted_codebooks
from vecstore.codecs.product.rq import BEAM, K, TrainedAdditive, residual_codebooks
from vecstore.errors import CodecError
from vecstore.kernels.entries import exchange_codes


def codebooks(m: int, d: int) -> np.ndarray:
    shrinking = 0.6 ** np.arange(m)[:, None, None]
    return (np.random.default_rng(d).normal(size=(m, K, d)) * shrinking).astype(np.float32)


def errors(trained: TrainedAdditive, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return ((trained.decode(codes) - x) ** 2).sum(axis=1)


@pytest.mark.parametrize("rows", [0, 1, 31, 33])
@pytest.mark.parametrize(("m", "d"), [(1, 3), (2, 5), (4, 9)])
def test_encoding_is_a_beam_search(rows, m, d):
    words, x = codebooks(m, d), np.random.default_rng(rows).normal(size=(rows, d)).astype(np.float32)
    trained = TrainedAdditive(words)
    codes = trained.encode(x)
    expected = np.array([reference.beam_search(row, words, BEAM) for row in x], np.uint8).reshape(rows, m)
    # Beginnings that cost the same to rounding may be swapped.
    np.testing.assert_allclose(errors(trained, x, codes), errors(trained, x, expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1, 31, 33])
def test_exchange_stops_where_no_single_code_is_better(rows):
    words, x = codebooks(3, 7), np.random.default_rng(rows).normal(size=(rows, 7)).astype(np.float32)
    trained = TrainedAdditive(words, rounds=50)
    codes = np.random.default_rng(0).integers(0, K, (rows, 3)).astype(np.uint8)
    before = errors(trained, x, codes)
    products = np.einsum("nd,mkd->nmk", x, words)
    shared = np.einsum("jkd,mid->mjki", words, words)
    exchange_codes(products, shared, np.square(words).sum(axis=2), 50, codes)
    after = errors(trained, x, codes)
    assert (after <= before + 1e-4).all()
    for row, code, error in zip(x, codes, after, strict=True):
        assert error <= reference.best_exchange(row, words, code) + 1e-3


def test_every_stage_lowers_the_error_of_other_rows():
    x = glove()[0]
    words = residual_codebooks(x[:3000], 4, seed=0)
    others = x[3000:4000]
    stages = [TrainedAdditive(words[:stage]) for stage in range(1, 5)]
    assert (np.diff([errors(trained, others, trained.encode(others)).sum() for trained in stages]) < 0).all()


def test_least_squares_lowers_the_error_of_the_codes_it_is_fitted_to():
    x = glove()[0][:3000]
    trained = TrainedAdditive(residual_codebooks(x, 3, seed=0), rounds=4)
    codes = trained.encode(x)
    better = TrainedAdditive(fitted_codebooks(x, trained))
    assert errors(better, x, codes).sum() < 0.99 * errors(trained, x, codes).sum()


def test_stages_out_of_range():
    for spec in ("rq:65", "lsq:100"):
        with pytest.raises(CodecError, match="choose 1 to 64"):
            codec(spec)
