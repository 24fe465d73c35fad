"""What single codecs promise beyond the contract."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.codecs import registry
from vecstore.codecs.codec import codec
from vecstore.codecs.packing import join, split
from vecstore.codecs.transforms.rotate import Rotate, TrainedWideHadamard, hadamard, hadamard_product
from vecstore.codecs.transforms.truncate import TruncationWarning
from vecstore.errors import CodecError, ShapeError, UnknownCodecError


def coded(spec, x, sample=None):
    fitted = codec(spec).fit(x if sample is None else sample)
    return fitted.decode(fitted.encode(x))


def test_f32_is_exact_whatever_the_layout(words):
    for x in (words, np.asfortranarray(words), words[::-2], words.astype(np.float64)):
        np.testing.assert_array_equal(coded("f32", x), x)


@pytest.mark.parametrize("value", [65519.9, -65519.9])
def test_f16_holds_what_rounds_to_its_largest_number(value):
    np.testing.assert_array_equal(coded("f16", [[value]]), np.float32([[np.sign(value) * 65504]]))


@pytest.mark.parametrize("value", [65520, -65520, 1e10])
def test_f16_refuses_what_would_become_infinite(value):
    with pytest.raises(ShapeError, match=r"does not fit float16 .* use bf16, f32, or normalize first"):
        coded("f16", [[0.5], [value]])


def test_f16_and_bf16_round_to_the_nearest():
    x = np.random.default_rng(0).normal(size=(50, 9)).astype(np.float32)
    np.testing.assert_array_equal(coded("f16", x), x.astype(np.float16))
    assert (np.abs(coded("bf16", x) - x) <= np.abs(x) * 2.0**-8).all()
    halfway = np.float32([[1 + 2.0**-8, 1 + 3 * 2.0**-8]])  # ties go to the even neighbour
    np.testing.assert_array_equal(coded("bf16", halfway), np.float32([[1, 1 + 2.0**-6]]))


def test_values_whose_squares_overflow_are_refused():
    for spec in ("f32", "sq:8", "pq:2", "normalize,f16"):
        with pytest.raises(ShapeError, match=r"row 1 holds a value beyond 1e\+15; scale the vectors"):
            codec(spec).fit([[1, 2], [1e30, 3]])


@pytest.mark.parametrize("per_byte", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (33, 7), (2, 8)])
def test_packed_levels(per_byte, shape):
    levels = np.random.default_rng(0).integers(0, 1 << 8 // per_byte, shape, np.uint8)
    codes = join(levels, per_byte)
    assert codes.shape == (shape[0], -(-shape[1] // per_byte))
    np.testing.assert_array_equal(split(codes, per_byte, shape[1]), levels)
    if shape[0]:
        assert int(codes[0, 0]) & (1 << 8 // per_byte) - 1 == levels[0, 0], "the first level is lowest"


def test_scalar_levels_are_lossless_for_as_many_whole_numbers(digits):
    np.testing.assert_allclose(coded("sq:8", digits), digits, atol=0.04)
    few = np.minimum(digits, 15)
    few[:2] = [[0] * 64, [15] * 64]  # every dimension spans all sixteen levels
    np.testing.assert_array_equal(coded("sq:4", few), few)


def test_product_quantizer_is_exact_with_a_centroid_for_every_vector(words):
    np.testing.assert_allclose(coded("pq:7", words[:200]), words[:200], rtol=1e-6)


def test_opq_beats_pq_where_dimensions_are_correlated(docs):
    x = docs[:1200]
    pq, opq = (((coded(spec, docs[1200:], x) - docs[1200:]) ** 2).sum() for spec in ("pq:24x4", "opq:24x4"))
    assert opq < pq


def test_binary_decodes_to_the_mean_of_each_side():
    x = np.float32([[-3, 0], [-1, 0], [1, 0], [5, 0]])
    np.testing.assert_array_equal(coded("bin:zero", x), np.float32([[-2, 0], [-2, 0], [3, 0], [3, 0]]))
    np.testing.assert_array_equal(coded("bin:median", x), coded("bin:zero", x))


def test_binary_chooses_its_threshold_on_the_data(words):
    x = words[:1500] + 3  # hardly a value lies below zero
    auto, zero, mean = (codec(spec).fit(x, seed=0).arrays["0.0.thresholds"] for spec in ("bin", "bin:zero", "bin:mean"))
    assert (auto != zero).any() and (np.abs(auto - mean) < 0.2).all()


@pytest.mark.parametrize("d", [1, 2, 4, 8, 12, 20, 24, 40, 48, 64, 80, 96, 160, 192, 384])
def test_hadamard_matrices(d):
    matrix = hadamard(d)
    assert set(np.unique(matrix)) <= {-1, 1}
    np.testing.assert_array_equal(matrix @ matrix.T, d * np.eye(d))
    x = np.random.default_rng(0).integers(-9, 9, (5, d)).astype(np.float32)
    np.testing.assert_array_equal(hadamard_product(x), x @ matrix)
    np.testing.assert_array_equal(hadamard_product(x, transposed=True), x @ matrix.T)


def test_wide_rotations_take_little_memory_and_turn_back():
    x = np.random.default_rng(0).normal(size=(9, 12 << 10)).astype(np.float32)
    fitted = codec("rotate,f32").fit(x)
    (rotation,) = fitted.layers[0].transforms
    assert fitted.model_bytes == 12 << 10 and isinstance(rotation, TrainedWideHadamard)
    z = rotation.apply(x)
    np.testing.assert_allclose(z @ z.T, x @ x.T, atol=0.2)
    np.testing.assert_allclose(rotation.invert(z), x, atol=1e-4)
    matrix, signs = hadamard(4096), np.where(np.arange(4096) % 3, 1, -1).astype("i1")  # as the format says
    wide = TrainedWideHadamard(signs).apply(np.eye(1, 4096, 5, dtype=np.float32))
    np.testing.assert_allclose(wide[0], signs[5] * matrix[5] / 64, atol=1e-7)


@pytest.mark.parametrize("d", [3, 6, 10, 28, 50, 100, 300])
def test_no_hadamard_matrix_at_hand(d):
    x = np.random.default_rng(0).normal(size=(9, d)).astype(np.float32)
    rotated = codec("rotate,f32").fit(x).layers[0].transforms[0].apply(x)
    np.testing.assert_allclose(np.linalg.norm(rotated, axis=1), np.linalg.norm(x, axis=1), rtol=1e-5)
    with pytest.raises(CodecError, match="no Hadamard matrix"):
        Rotate().restore(d, {"signs": np.ones(d, "i1")})


def test_whitened_dimensions_have_variance_one(words):
    z = codec("whiten:20,f32").fit(words).layers[0].transforms[0].apply(words)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(20), atol=0.01)


def test_pca_is_that_of_scikit_learn(words):
    from sklearn.decomposition import PCA

    ours = codec("pca:10,f32").fit(words).layers[0].transforms[0].apply(words)
    theirs = PCA(10, svd_solver="full").fit_transform(words.astype(np.float64))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=0.01, atol=0.01)


def test_truncation_warns_where_pca_keeps_more(docs):
    with pytest.warns(TruncationWarning, match="truncate:64 keeps .* use pca:64"):
        codec("truncate:64,f32").fit(docs)


def test_truncation_is_silent_where_dimensions_come_by_importance(docs):
    ordered = codec("pca:384,f32").fit(docs).layers[0].transforms[0].apply(docs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = coded("mrl:128,f32", ordered)
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(decoded[:, 128:], 0)


@pytest.mark.parametrize("spec", ["pca:51,f32", "whiten:51,f32", "truncate:51,f32", "pq:51", "opq:51"])
def test_more_parts_than_dimensions(words, spec):
    with pytest.raises(CodecError, match=r"51 .* choose 1 to 50"):
        codec(spec).fit(words[:300])


PAGE = (Path(__file__).parents[3] / "docs/codecs.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)  # the codec `sign`
PLUGIN = EXAMPLE + "\nNOT_A_STEP = print\n"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution that brings codecs: `sign`, a broken one, and one with a built-in name."""
    site = tmp_path / "site"
    about = site / "foreign_codecs-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "foreign_codecs.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-codecs\nVersion: 1.0\n")
    points = ["sign = foreign_codecs:Sign", "broken = foreign_codecs:NOT_A_STEP", "f32 = foreign_codecs:Sign"]
    (about / "entry_points.txt").write_text("\n".join(["[vecstore.codecs]", *points]))
    monkeypatch.syspath_prepend(site)
    forget_codecs()
    yield
    monkeypatch.undo()
    forget_codecs()


def forget_codecs():
    registry._plugins.cache_clear()
    registry.step_class.cache_clear()


def test_codec_of_another_package(plugin, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    fitted = codec("center,sign").fit(x)
    assert registry.codec_names()[-2:] == ["broken", "sign"]
    vecstore.write(tmp_path / "signs.vecs", x, codec=fitted)
    with vecstore.open(tmp_path / "signs.vecs") as store:
        np.testing.assert_array_equal(store.vectors, fitted.decode(fitted.encode(x)))
        assert store.info()["codec"] == "center,sign"
        assert store.search(store.vectors[3], k=1).scores[0] == pytest.approx(1)


def test_foreign_codecs_neither_replace_ours_nor_pass_unchecked(plugin):
    assert registry.step_class("f32").__module__ == "vecstore.codecs.scalar.floats"
    with pytest.raises(CodecError, match=r"'broken' is not a vecstore\.codecs\.base\.Step; its package is at fault"):
        codec("broken")


def test_codec_of_a_package_that_is_not_installed():
    with pytest.raises(UnknownCodecError, match="no codec 'sign'"):
        codec("sign")
