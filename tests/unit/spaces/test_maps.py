"""Maps: alignment beside scipy and gensim, directions, stores in other spaces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.models.translation_matrix import TranslationMatrix
from samples import glove
from scipy.linalg import orthogonal_procrustes

import vecstore
from vecstore.errors import CodecError, OptionError, ShapeError
from vecstore.spaces import Map, adapt, align, direction, ideal, remove
from vecstore.words import Words


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_alignment_is_that_of_scipy(spaces, turn):
    a, b = spaces
    found = align(a, b)
    keys = [key for key in a if key in b]
    assert len(keys) == 1000
    np.testing.assert_allclose(found.matrix, orthogonal_procrustes(unit(a[keys]), unit(b[keys]))[0], atol=1e-5)
    np.testing.assert_allclose(found.matrix, turn, atol=0.02)
    assert found.orthogonal and "orthogonal" in repr(found)
    np.testing.assert_array_equal(align(a[keys], b[keys]).matrix, found.matrix)


def test_linear_alignment_is_that_of_gensim(spaces):
    a, b = spaces
    pairs = [(key, key) for key in list(b)[:400]]
    models = []
    for store in spaces:
        model = KeyedVectors(50)
        model.add_vectors(list(store), np.asarray(store.vectors))
        models.append(model)
    expected = TranslationMatrix(*models, word_pairs=pairs).translation_matrix
    np.testing.assert_allclose(align(a, b, pairs, how="linear").matrix, expected, atol=1e-4, rtol=1e-4)


def test_bad_pairs_pull_little(spaces, turn):
    a, b = spaces
    keys = [key for key in a if key in b]
    wrong = list(pairwise(keys[:301]))
    pairs = wrong + [(key, key) for key in keys[300:]]
    error = {how: np.abs(align(a, b, pairs, how=how).matrix - turn).max() for how in ("orthogonal", "robust")}
    assert 2 * error["robust"] < 0.05 < error["orthogonal"]


def test_maps_are_put_together(turn):
    x = glove(10)[0]
    there = Map(turn)
    np.testing.assert_allclose((there @ there.T).map(x), x, rtol=1e-4, atol=1e-5)
    narrow = Map(turn[:, :20])
    assert not narrow.orthogonal and (there @ narrow).map(x).shape == (10, 20)
    np.testing.assert_allclose((there @ narrow).map(x), narrow.map(there.map(x)), rtol=1e-3, atol=1e-4)
    with pytest.raises(ShapeError):
        narrow @ there
    with pytest.raises(ShapeError):
        narrow.map(np.ones(49))


@pytest.mark.parametrize(
    "spec", ["f32", "sq:8", "tcq:25", "opq:10", "pq:7x4/sq:8", "pca:30,f16,zstd", "bin", "rotate,hash:300"]
)
def test_an_orthogonal_map_keeps_the_codes(make_store, tmp_path, turn, spec):
    path = tmp_path / "b.vecs"
    with vecstore.open(make_store(spec, accept_dominated=True)) as store:
        Map(turn).convert(store, path)
        with vecstore.open(path) as turned:
            turned.verify(deep=True)
            parts = [each._snapshot.shards[0].container.part("codes.0") for each in (store, turned)]
            if parts[0].blocks:  # tables have no codes
                np.testing.assert_array_equal(*(part.data[part.offsets[0] :][: part.sizes[0]] for part in parts))
            np.testing.assert_allclose(turned.vectors[:], store.vectors[:] @ turn, rtol=1e-3, atol=1e-4)
            assert list(turned.keys) == list(store.keys)
            queries = np.asarray(store.vectors[:20])
            expected, found = store.search(queries, 5), turned.search(queries @ turn, 5)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=1e-3)
            assert (found.rows == expected.rows).mean() > 0.97


@pytest.mark.parametrize(("options", "narrow"), [({"shard_bytes": 200_000}, 50), ({}, 20)], ids=["shards", "narrow"])
def test_other_maps_code_again(make_store, tmp_path, turn, options, narrow):
    with vecstore.open(make_store("sq:8", **options)) as store:
        Map(turn[:, :narrow]).convert(store, tmp_path / "b.vecs")
        with vecstore.open(tmp_path / "b.vecs") as mapped:
            expected = store.vectors[:] @ turn[:, :narrow]
            assert list(mapped) == list(store)
            assert ((mapped.vectors[:] - expected) ** 2).mean() < 1e-3 * (expected**2).mean()
        with pytest.raises(OptionError):
            Map(np.eye(3)).convert(store, tmp_path / "c.vecs")


def test_directions(make_store, tmp_path):
    with vecstore.open(make_store("f32", rows=5000)) as store:
        words = Words(store)
        gender = direction(words, [("he", "she"), ("man", "woman"), ("father", "mother"), ("son", "daughter")])
        side = {word: float(unit(store[word]) @ gender) for word in ("king", "queen", "brother", "sister")}
        assert side["queen"] > side["king"] and side["sister"] > side["brother"]
        plain = remove(gender, gender, store["the"])
        np.testing.assert_allclose(plain.map([gender, store["the"]]), 0, atol=1e-4)
        np.testing.assert_allclose((plain @ plain).matrix, plain.matrix, atol=1e-5)
        plain.convert(store, tmp_path / "plain.vecs")
    with vecstore.open(tmp_path / "plain.vecs") as found:
        assert abs(found.vectors[:] @ gender).max() < 1e-4
    with pytest.raises(OptionError):
        remove()
    with pytest.raises(OptionError):
        direction(words, [])


def test_ideal_words_are_least_squares():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3, 4, 2, 5))
    found = ideal(table)
    choices = list(np.ndindex(3, 4, 2))
    design = np.array([[1, *np.eye(3)[i], *np.eye(4)[j], *np.eye(2)[k]] for i, j, k in choices])
    flat = table.reshape(24, 5)
    expected = design @ np.linalg.lstsq(design, flat, rcond=None)[0]
    sums = np.array([found.vector(*choice) for choice in choices])
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    rest = ((flat - expected) ** 2).sum() / ((flat - flat.mean(axis=0)) ** 2).sum()
    assert abs(found.explained - (1 - rest)) < 1e-9
    with pytest.raises(ShapeError):
        found.vector(1)
    with pytest.raises(ShapeError):
        ideal([[[np.nan]]])


def test_a_new_models_queries_on_an_old_store(spaces, turn):
    a, b = spaces
    keys = [key for key in a if key in b]
    found = adapt(a, keys, b[keys])
    assert found.recall > 0.8 and found.held_out == 200 and found.pairs == 1000
    assert f"{found.recall:.3f}" in str(found)
    assert found.search(b["king"], 1).keys == ["king"]
    wide = np.concatenate([b[keys], np.zeros((1000, 5))], axis=1)
    assert adapt(a, keys, wide).recall > 0.8
    with pytest.raises(OptionError, match="20 keys"):
        adapt(a, keys[:3], b[keys[:3]])


def test_a_codec_that_does_not_fit(make_store, tmp_path):
    with vecstore.open(make_store("sq:8")) as store, pytest.raises(CodecError):
        Map(np.eye(50)[:, :3]).convert(store, tmp_path / "a.vecs", "pca:20,sq:8")
