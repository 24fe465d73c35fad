"""Magnitude's classes: what they find is what the store holds, and what they draw is what Magnitude draws."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.compat.magnitude import (
    ConcatenatedMagnitude,
    FeaturizerMagnitude,
    Magnitude,
    Magnitudes,
    MagnitudeUtils,
)
from vecstore.errors import FormatError, OptionError


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def path(make_store):
    return make_store("f32", rows=3000)


@pytest.fixture(scope="module")
def store(path):
    with vecstore.open(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def vectors(path):
    found = Magnitude(path, eager=True, stream=False, lazy_loading=-1, blocking=True, devices=[0])
    yield found
    found.close()


@pytest.fixture(scope="module")
def cased(tmp_path_factory):
    """A store with spellings of the same word, in a space of 300 dimensions."""
    keys = ["queen", "Queen", "king", "QUEEN", "KING", "cat", "Paris"]
    x = np.random.default_rng(0).normal(size=(7, 300)).astype("f4")
    x[[1, 3]] = x[0] + np.array([[0.1], [0.2]]) * x[[1, 3]]
    path = tmp_path_factory.mktemp("cased") / "cased.vecs"
    vecstore.write(path, x, keys, "f32")
    return path


def test_vectors_have_length_one_unless_they_should_not(store, vectors, path):
    np.testing.assert_allclose(vectors.query("king"), unit(store["king"]), rtol=1e-5)
    np.testing.assert_array_equal(vectors.query("king", normalized=False), store["king"])
    np.testing.assert_array_equal(Magnitude(path, normalized=False).query("king"), store["king"])
    assert (len(vectors), vectors.dim, "king" in vectors, "kjhgf" in vectors, 5 in vectors) == (
        3000,
        50,
        True,
        False,
        False,
    )
    assert vectors.query("king").dtype == np.float32
    assert Magnitude(path, dtype=np.float16).query(["king"]).dtype == np.float16


def test_lists_become_tensors(store, vectors, path):
    x = unit(store[["the", "king", "was", "queen"]])
    found = vectors.query([["the", "king", "was"], ["queen"]])
    assert found.shape == (2, 3, 50)
    np.testing.assert_allclose(found[0], x[:3], rtol=1e-5)
    np.testing.assert_allclose(found[1], [x[3], 0 * x[3], 0 * x[3]], rtol=1e-5)
    assert vectors.query(["the", "king"]).shape == (2, 50)
    assert vectors.query([]).shape == (0, 50)
    left = vectors.query([["the", "king", "was"], ["queen"]], pad_to_length=2, pad_left=True, truncate_left=True)
    np.testing.assert_allclose(left, [[x[1], x[2]], [0 * x[3], x[3]]], rtol=1e-5)
    always = Magnitude(path, pad_to_length=4, placeholders=2)
    assert always.query(["the"]).shape == (4, 52)
    assert always.query("the").shape == (52,)
    lists = Magnitude(path, use_numpy=False)
    assert lists.query("king") == vectors.query("king").tolist()
    assert lists.query([["king"], ["the", "was"]])[0][1] == [0.0] * 50


def test_rows(store, vectors):
    key, vector = vectors[7]
    assert key == store.keys[7] == vectors.index(7, return_vector=False)
    np.testing.assert_allclose(vector, unit(store.vectors[7]), rtol=1e-5)
    assert [key for key, _ in vectors[5:8]] == [key for key, _ in vectors[5, 6, 7]] == store.keys[5:8]
    assert [key for key, _ in vectors] == list(store)
    with pytest.raises(IndexError):
        vectors[3000]
    np.testing.assert_allclose(vectors.get_vectors_mmap(), unit(store.vectors[:]), rtol=1e-5)
    parts = list(Magnitude(store, batch_size=1700, normalized=False).get_vectors_mmap_batch_generator())
    assert [(start, end, len(part)) for start, end, part in parts] == [(0, 1700, 1700), (1700, 3000, 1300)]
    np.testing.assert_array_equal(parts[1][2], store.vectors[1700:])


def test_comparisons(store, vectors, path):
    x = unit(store[["king", "queen", "dog"]])
    assert vectors.distance("king", "queen") == pytest.approx(np.linalg.norm(x[0] - x[1]), rel=1e-5)
    raw = np.linalg.norm(store["king"] - store["queen"])
    assert Magnitude(path, normalized=False).distance("king", "queen") == pytest.approx(raw, rel=1e-5)
    np.testing.assert_allclose(vectors.similarity("king", ["queen", "dog"]), x[1:] @ x[0], rtol=1e-5)
    assert vectors.similarity(3 * store["king"], "queen") == pytest.approx(x[0] @ x[1], rel=1e-5)
    assert vectors.most_similar_to_given("king", ["dog", "queen"]) == "queen"
    assert vectors.doesnt_match(["king", "queen", "dog", "prince"]) == "dog"


def test_most_similar(store, vectors):
    expected = store.most_similar("king", 5)
    assert vectors.most_similar("king", topn=5) == expected
    assert vectors.most_similar(["king"], topn=5, return_similarities=False) == [key for key, _ in expected]
    assert vectors.most_similar_approx("king", topn=5, effort=0.1) == expected
    with_itself = vectors.most_similar(store["king"] * 10, topn=6)
    assert [key for key, _ in with_itself] == ["king", *(key for key, _ in expected)]
    assert with_itself[0][1] == pytest.approx(1)
    least = expected[2][1]
    assert vectors.most_similar("king", min_similarity=least) == expected[:3]
    assert len(vectors.most_similar("king", topn=None)) == 2999
    assert vectors.closer_than("king", expected[3][0]) == [key for key, _ in expected[:3]]
    analogy = vectors.most_similar(positive=["king", "woman"], negative=["man"], topn=3)
    by_hand = store.search(
        unit(store["king"]) + unit(store["woman"]) - unit(store["man"]),
        3,
        exclude=store.rows_of(["king", "woman", "man"]),
    )
    assert [key for key, _ in analogy] == by_hand.keys
    assert vectors.most_similar("qwertz", topn=2)
    with pytest.raises(OptionError, match="needs"):
        vectors.most_similar([])


def test_cosmul(store, vectors):
    x = unit(store.vectors[:])
    similar = {word: (1 + x @ unit(store[word])) / 2 for word in ("king", "man", "woman")}
    scores = similar["king"] * similar["woman"] / (similar["man"] + 1e-6)
    scores[store.rows_of(list(similar))] = 0
    found = vectors.most_similar_cosmul(positive=["king", "woman"], negative=["man"])
    assert [key for key, _ in found] == store.keys[np.argsort(-scores)[:10]]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[:-11:-1], rtol=1e-4)


def test_case(cased):
    exact, loose = Magnitude(cased), Magnitude(cased, case_insensitive=True)
    assert "quEEn" not in exact
    assert "quEEn" in loose
    np.testing.assert_array_equal(loose.query("quEEn"), exact.query("queen"))
    np.testing.assert_array_equal(loose.query("QUEEN"), exact.query("QUEEN"))
    assert exact.most_similar("queen", topn=2, return_similarities=False) == ["Queen", "QUEEN"]
    found = loose.most_similar("queen", return_similarities=False)
    assert sorted(found, key=str.lower) == ["cat", next(key for key in found if key.lower() == "king"), "Paris"]


def test_what_is_drawn_for_unknown_words_is_what_magnitude_draws(cased):
    whole = Magnitude(cased, case_insensitive=True, ngram_oov=False)
    pinned = {
        "*<": -0.0759614511397,
        "*<<": 0.00742723997271,
        "*<<<<": -0.0372075283555,
        "*<<<<<": -0.0201727917272,
        "*<<<<<<": -0.0475993225776,
        "*<<<<<<<": 0.0129938352266,
    }
    for key, first in pinned.items():
        vector = whole.query(key)
        assert vector[0] == pytest.approx(first, rel=1e-5)
        assert np.linalg.norm(vector) == pytest.approx(1)
    by_ngrams = Magnitude(cased)
    assert by_ngrams.similarity("zyxvx", "zyxvxl") > 0.7 > by_ngrams.similarity("zyxvx", "brrghtfd")
    raw = Magnitude(cased, normalized=False).query("zyxvx")
    np.testing.assert_allclose(unit(raw), by_ngrams.query("zyxvx"), rtol=1e-5)
    assert Magnitude(cased, placeholders=3).query("zyxvx").shape == (303,)


def test_unknown_words_are_near_those_that_are_spelt_like_them(vectors):
    assert vectors.similarity("kinggg", "king") > 0.9
    assert vectors.similarity("goverment", "government") > 0.9
    np.testing.assert_array_equal(vectors.query("goverment"), vectors.query(["goverment"])[0])


def test_features():
    feature = FeaturizerMagnitude(100, case_insensitive=True)
    assert (feature.dim, FeaturizerMagnitude(1000).dim, len(feature)) == (4, 5, 0)
    assert feature.query("VBG")[0] == pytest.approx(0.490634876828)
    assert feature.query("PRP")[0] == pytest.approx(0.463890807802)
    assert feature.query(5)[0] == pytest.approx(-0.750681075834)
    assert feature.query(5)[-1] == pytest.approx(1.46936807866e-38)
    assert feature.get_vectors_mmap().shape == (0, 4)
    named = FeaturizerMagnitude(100, namespace="PartsOfSpeech")
    assert named.query(["VBG", "PRP"]).shape == (2, 4)
    assert not np.allclose(named.query("VBG"), feature.query("VBG"))
    assert "VBG" not in feature
    with pytest.raises(OptionError, match="holds no keys"):
        feature.most_similar("VBG")
    with pytest.raises(IndexError):
        feature[0]


def test_several_as_one(vectors, path):
    feature = FeaturizerMagnitude(100, namespace="POS")
    both = Magnitude(vectors, feature)
    assert isinstance(both, ConcatenatedMagnitude)
    assert Magnitudes is ConcatenatedMagnitude
    assert both.dim == 54
    np.testing.assert_array_equal(both.query("king"), np.concatenate([vectors.query("king"), feature.query("king")]))
    one = both.query(("king", "NN"))
    np.testing.assert_array_equal(one, np.concatenate([vectors.query("king"), feature.query("NN")]))
    np.testing.assert_array_equal(both.query([("the", "DT"), ("king", "NN")])[1], one)
    deep = both.query([[("king", "NN")], [("the", "DT"), ("dog", "NN")]], pad_to_length=3)
    assert deep.shape == (2, 3, 54)
    np.testing.assert_array_equal(deep[0, 0], one)
    assert not deep[0, 1:].any()
    lists = Magnitude(Magnitude(path, use_numpy=False), FeaturizerMagnitude(100, use_numpy=False))
    assert np.shape(lists.query(["king", "the"])) == (2, 54)
    with pytest.raises(OptionError, match="two"):
        Magnitude(vectors)
    with pytest.raises(OptionError, match="use_numpy"):
        Magnitude(vectors, FeaturizerMagnitude(100, use_numpy=False))


def test_what_training_needs():
    batches = MagnitudeUtils.batchify([1, 2, 3], [0, 0, 1], 2)
    assert [next(batches) for _ in range(3)] == [([1, 2], [0, 0]), ([3], [1]), ([1, 2], [0, 0])]
    add, to_number, to_class = MagnitudeUtils.class_encoding()
    assert [add("cat"), add("dog"), add("cat")] == [0, 1, 0]
    assert (to_number("dog"), to_class(0)) == (1, "cat")
    one_hot = MagnitudeUtils.to_categorical([1, 3, 2])
    assert one_hot.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert MagnitudeUtils.to_categorical([[1], [0]], num_classes=5).shape == (2, 5)
    assert MagnitudeUtils.from_categorical(one_hot).tolist() == [1, 3, 2]
    with pytest.raises(OptionError, match="convert"):
        MagnitudeUtils.download_model("word2vec/heavy/GoogleNews-vectors-negative300")


def test_stores_and_paths(store, path, tmp_path):
    opened = Magnitude(store)
    opened.close()
    assert "king" in store  # who opens it closes it
    mine = Magnitude(path)
    mine.close()
    with pytest.raises(vecstore.errors.ClosedError):
        mine.query("king")
    (tmp_path / "old.magnitude").write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(FormatError, match="convert"):
        Magnitude(tmp_path / "old.magnitude")


def test_deleted_rows_are_not_there(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")
    vecstore.write(tmp_path / "few.vecs", x, list("abcdef"), "f32", shard_bytes=1 << 20)
    with vecstore.edit(tmp_path / "few.vecs") as edit:
        edit.delete(["b", "d"])
    vectors = Magnitude(tmp_path / "few.vecs", normalized=False)
    assert [key for key, _ in vectors] == list("acef")
    assert (len(vectors), "b" in vectors, vectors[1][0]) == (4, False, "c")
    np.testing.assert_array_equal(vectors.get_vectors_mmap(), x[[0, 2, 4, 5]])
