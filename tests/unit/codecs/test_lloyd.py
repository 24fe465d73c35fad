from __future__ import annotations

import numpy as np
import pytest

from vecstore.codecs.codec import codec
from vecstore.codecs.packing import join_bits, level_tables, split_bits
from vecstore.codecs.scalar.lloyd import Lloyd, gaussian_levels
from vecstore.errors import CodecError


# Max, Quantizing for minimum distortion, 1960, table I: half of the levels, and the error.
@pytest.mark.parametrize(
    ("bits", "levels", "error"),
    [(1, [0.7980], 0.3634), (2, [0.4528, 1.510], 0.1175), (3, [0.2451, 0.7560, 1.344, 2.152], 0.03454)],
)
def test_levels_are_those_that_max_published(bits, levels, error):
    found = gaussian_levels(bits)
    np.testing.assert_allclose(found[len(found) // 2 :], levels, atol=6e-4)
    np.testing.assert_array_equal(found, -found[::-1])
    x = np.random.default_rng(0).normal(size=200_000)
    nearest = np.abs(x[:, None] - found).min(axis=1)
    assert (nearest**2).mean() == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_increase(bits):
    assert (np.diff(gaussian_levels(bits)) > 0).all() and len(gaussian_levels(bits)) == 2**bits


def test_lengths_are_stored_only_where_they_differ():
    x = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    even = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert codec("rotate,lloyd:2").fit(even).code_bytes == 16
    fitted = codec("rotate,lloyd:4").fit(x * np.linspace(0.01, 5, 500, dtype=np.float32)[:, None])
    assert fitted.code_bytes == 34
    small, large = 0.01 * x[:50], 5 * x[:50]
    for rows in (small, large):
        error = ((fitted.decode(fitted.encode(rows)) - rows) ** 2).sum() / (rows**2).sum()
        assert 0.005 < error < 0.013  # 0.0095 for a Gaussian


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("d", [1, 7, 33])
def test_levels_are_packed_without_a_gap(bits, d):
    levels = np.random.default_rng(d).integers(0, 1 << bits, (5, d)).astype(np.uint8)
    codes = join_bits(levels, bits)
    assert codes.shape == (5, -(-d * bits // 8))
    number = [sum(int(level) << bits * i for i, level in enumerate(row)) for row in levels]
    assert [int.from_bytes(code.tobytes(), "little") for code in codes] == number
    np.testing.assert_array_equal(split_bits(codes, bits, d), levels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_dimensions_that_share_half_a_byte(bits):
    rng = np.random.default_rng(bits)
    terms = rng.normal(size=(2, 7, 1 << bits)).astype(np.float32)
    levels = rng.integers(0, 1 << bits, (9, 7)).astype(np.uint8)
    codes = join_bits(levels, bits)
    halves = np.stack([codes & 15, codes >> 4], axis=2).reshape(9, -1)
    tables = level_tables(terms, bits)
    found = tables[:, np.arange(halves.shape[1]), halves].sum(axis=2)
    np.testing.assert_allclose(found, terms[:, np.arange(7), levels].sum(axis=2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "damage", [{"scale": np.array([-1], "<f4")}, {"levels": np.zeros(4, "<f4")}, {"uneven": np.array([2], "|u1")}]
)
def test_a_file_with_impossible_levels_is_refused(damage):
    trained = Lloyd(2).fit(np.eye(8, dtype=np.float32), seed=0)
    with pytest.raises(CodecError, match="damaged"):
        Lloyd(2).restore(8, {**trained.arrays, **damage})


def test_bits_out_of_range():
    with pytest.raises(CodecError, match="bits=9; choose 1 to 8"):
        codec("lloyd:9")
