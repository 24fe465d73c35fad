"""`KeyedVectors` beside gensim's, on the same vectors; and gensim's own tests of it."""

from __future__ import annotations

import unittest
from pathlib import Path

import numpy as np
import pytest
from samples import glove

import vecstore
from vecstore.compat.gensim import KeyedVectors
from vecstore.errors import FormatError, KeyNotFoundError, OptionError, ShapeError

gensim = pytest.importorskip("gensim", reason="the facade is compared with gensim")
from gensim.models import KeyedVectors as Original  # noqa: E402
from gensim.test.utils import datapath  # noqa: E402

ROWS = 3000
PICKLE = {"test"}  # opens an old pickle
DIGITS = {  # assert digits, or that a file gives back the same bits
    "test_distance",
    "test_get_mean_vector",
    "test_load_model_and_vocab_file_ignore",
    "test_load_model_and_vocab_file_replace",
    "test_no_header",
    "test_save_reload",
    "test_similarity",
}


@pytest.mark.parametrize(("codec", "failing"), [("f32", PICKLE), ("sq:8", PICKLE | DIGITS)])
def test_gensims_own_tests(monkeypatch, tmp_path, codec, failing):
    import gensim.test.test_keyedvectors as suite

    class OverACodec(KeyedVectors):
        pass

    OverACodec.codec = codec
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for place in (suite, gensim.models, gensim.models.keyedvectors):
        monkeypatch.setattr(place, "KeyedVectors", OverACodec)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(suite).run(result)
    assert result.testsRun >= 33
    failed = {test._testMethodName: text for test, text in [*result.failures, *result.errors]}
    assert set(failed) <= failing
    for name in DIGITS & set(failed):  # what failed is an assertion of values, not of keys or their order
        assert any(mark in failed[name] for mark in ("np.allclose(", "np.array_equal(", ".vectors).all()")), failed[
            name
        ]


@pytest.fixture(scope="module")
def original():
    vectors, keys = glove(ROWS)
    kv = Original(50)
    kv.add_vectors(keys, vectors)
    return kv


@pytest.fixture
def ours(make_store):
    return KeyedVectors(vecstore.open(make_store("f32", rows=ROWS)))


def close(found, expected):
    assert [key for key, _ in found] == [key for key, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-5)


QUERIES = [
    {"positive": "king"},
    {"positive": ["king", "woman"], "negative": ["man"]},
    {"positive": [("king", 2.0), "woman"], "negative": [("man", -0.5)]},
    {"positive": "king", "negative": "man", "topn": 3},
    {"positive": 7, "topn": 20},
    {"positive": np.arange(50, dtype=np.float32)},
    {"positive": [np.arange(50, dtype=np.float32), "king"], "restrict_vocab": 500},
    {"positive": "king", "clip_start": 100, "clip_end": 900},
    {"positive": "king", "restrict_vocab": 3},
]


@pytest.mark.parametrize("query", QUERIES)
def test_similar_keys(original, ours, query):
    close(ours.most_similar(**query), original.most_similar(**query))
    expected = original.most_similar(**{**query, "topn": None})
    np.testing.assert_allclose(ours.most_similar(**{**query, "topn": None}), expected, atol=1e-5)


def changed(kv):
    kv["king"] = kv["queen"] * 2 + 1
    kv.add_vectors(["kingly", "man"], np.stack([kv["queen"] + kv["prince"], kv["the"]]))
    kv.add_vector("queenly", kv["queen"] - 1)
    for at in range(len(kv)):
        kv.set_vecattr(at, "count", (at * 7919) % 1000)
    kv.sort_by_descending_frequency()


@pytest.fixture(scope="module")
def changed_pair(make_store):
    vectors, keys = glove(ROWS)
    original = Original(50)
    original.add_vectors(keys, vectors)
    ours = KeyedVectors(vecstore.open(make_store("f32", rows=ROWS)))
    with pytest.warns(UserWarning, match="costly"):
        changed(original)
    changed(ours)
    original.fill_norms(force=True)
    return original, ours


def test_what_was_added_replaced_and_sorted(changed_pair):
    original, ours = changed_pair
    assert list(ours.index_to_key) == original.index_to_key
    assert ours.index_to_key[5:9] == original.index_to_key[5:9]
    assert dict(ours.key_to_index) == original.key_to_index
    np.testing.assert_array_equal(ours.vectors, original.vectors)
    np.testing.assert_allclose(ours.norms, original.norms, rtol=1e-5)
    np.testing.assert_array_equal(ours.expandos["count"], original.expandos["count"])
    assert ours.get_vecattr("king", "count") == original.get_vecattr("king", "count")
    for query in QUERIES:
        close(ours.most_similar(**query), original.most_similar(**query))
    assert ours.closer_than("king", "woman") == original.closer_than("king", "woman")
    assert ours.rank("queen", "kingly") == original.rank("queen", "kingly")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # gensim's cosmul calls what it warns of
def test_cosmul(original, ours):
    for query in ({"positive": "king"}, {"positive": ["king", "woman"], "negative": ["man"], "topn": 5}):
        close(ours.most_similar_cosmul(**query), original.most_similar_cosmul(**query))
    expected = original.most_similar_cosmul("king", "man", topn=None)
    np.testing.assert_allclose(ours.most_similar_cosmul("king", "man", topn=None), expected, rtol=1e-4)
    with pytest.raises(OptionError):
        ours.most_similar_cosmul(negative="man")


def test_pairs_and_lists(original, ours):
    words = ["king", "queen", "dog", "prince", "nowhere"]
    for call in (
        lambda kv: kv.similarity("king", "queen"),
        lambda kv: kv.distance("king", "dog"),
        lambda kv: kv.distances("king"),
        lambda kv: kv.distances(np.ones(50, np.float32), ["king", "dog"]),
        lambda kv: kv.n_similarity(["king", "dog"], ["queen"]),
        lambda kv: kv.relative_cosine_similarity("king", "queen"),
        lambda kv: kv.get_mean_vector(words, [1, 2, -3, 1, 9]),
        lambda kv: kv.get_mean_vector(["king", np.ones(50, np.float32)], pre_normalize=False, post_normalize=True),
        lambda kv: kv.get_normed_vectors(),
        lambda kv: kv.get_vector(3, norm=True),
        lambda kv: kv[["king", 5]],
        lambda kv: kv.cosine_similarities(kv["king"], kv.vectors[:9]),
        lambda kv: kv.vectors @ kv["king"],
    ):
        np.testing.assert_allclose(call(ours), call(original), rtol=1e-4, atol=1e-5)
    for call in (
        lambda kv: kv.doesnt_match(words),
        lambda kv: [word for _, word in kv.rank_by_centrality(words)],
        lambda kv: kv.most_similar_to_given("king", words[1:4]),
        lambda kv: kv.rank("king", "dog"),
        lambda kv: kv.closer_than("king", "dog"),
        lambda kv: (kv.get_index("king"), kv.get_index(3), kv.get_index("nowhere", -1)),
        lambda kv: ("king" in kv, 5 in kv, ROWS in kv, "nowhere" in kv),
        str,
    ):
        assert call(ours) == call(original)


def test_of_equals_the_last_by_the_alphabet_stands_first():
    kv, original = KeyedVectors(2), Original(2)
    for each in (kv, original):
        each.add_vectors(["b", "a", "c"], np.ones((3, 2), np.float32))
    assert kv.doesnt_match(["b", "c", "a"]) == original.doesnt_match(["b", "c", "a"]) == "a"


def test_words_that_are_not_there(ours):
    for call in (
        lambda: ours["nowhere"],
        lambda: ours[["king", "nowhere"]],
        lambda: ours.most_similar("nowhere"),
        lambda: ours.similarity("king", "nowhere"),
        lambda: ours.get_mean_vector(["nowhere"], ignore_missing=False),
        lambda: ours.key_to_index["nowhere"],
    ):
        with pytest.raises(KeyNotFoundError, match="nowhere"):
            call()
    with pytest.raises(OptionError, match="none"):
        ours.doesnt_match(["nowhere"])
    with pytest.raises(ZeroDivisionError):
        ours.n_similarity([], ["king"])
    with pytest.raises(KeyError):
        ours.sort_by_descending_frequency()


def test_evaluations_give_gensims_numbers(make_store, monkeypatch, tmp_path):
    vectors, keys = glove(20_000)
    original = Original(50)
    original.add_vectors(keys, vectors)
    ours = KeyedVectors(vecstore.open(make_store("f32", rows=5000)))
    ours.add_vectors(keys[5000:], vectors[5000:])
    questions = datapath("questions-words.txt")
    lines = Path(questions).read_text(encoding="utf-8").splitlines()
    short = [line for at, line in enumerate(lines) if line.startswith(":") or at % 40 == 0]
    monkeypatch.chdir(tmp_path)
    Path("short.txt").write_text("\n".join(short), encoding="utf-8")
    for options in ({}, {"dummy4unknown": True}, {"restrict_vocab": 3000, "case_insensitive": False}):
        score, sections = original.evaluate_word_analogies("short.txt", **options)
        assert ours.evaluate_word_analogies("short.txt", **options) == (score, sections)
        for path in ("wordsim353.tsv", "simlex999.txt"):
            expected = original.evaluate_word_pairs(datapath(path), **options)
            found = ours.evaluate_word_pairs(datapath(path), **options)
            np.testing.assert_allclose(np.hstack(found), np.hstack(expected), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("binary", [False, True])
def test_files_are_gensims(tmp_path, changed_pair, binary):
    original, ours = changed_pair
    options = {"binary": binary, "prefix": "w:", "fvocab": str(tmp_path / "there.vocab")}
    original.save_word2vec_format(str(tmp_path / "there"), **options)
    ours.save_word2vec_format(tmp_path / "here", **{**options, "fvocab": tmp_path / "here.vocab"})
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    assert (tmp_path / "here.vocab").read_bytes() == (tmp_path / "there.vocab").read_bytes()
    for options in ({"limit": 5}, {"fvocab": str(tmp_path / "here.vocab")}):
        there = Original.load_word2vec_format(str(tmp_path / "there"), binary=binary, **options)
        here = KeyedVectors.load_word2vec_format(tmp_path / "here", binary=binary, **options)
        assert list(here.index_to_key) == there.index_to_key
        np.testing.assert_array_equal(here.vectors, there.vectors)
        np.testing.assert_array_equal(here.expandos["count"], there.expandos["count"])


def test_a_loaded_file_stays_where_it_is_told_and_goes_otherwise(tmp_path):
    (tmp_path / "two.txt").write_text("2 3\na 1 2 3\nb 4 5 6\n")
    kept = KeyedVectors.load_word2vec_format(tmp_path / "two.txt", codec="f16", path=tmp_path / "two.vecs")
    assert KeyedVectors.load(tmp_path / "two.vecs")["b"].tolist() == kept["b"].tolist() == [4, 5, 6]
    loose = KeyedVectors.load_word2vec_format(tmp_path / "two.txt")
    place = loose._rows.store.path
    del loose
    with pytest.raises(FileNotFoundError):
        vecstore.open(place)
    with pytest.raises(OptionError, match="no_header"):
        KeyedVectors.load_word2vec_format(tmp_path / "two.txt", binary=True, no_header=True)


def test_saved_and_opened_again(tmp_path, changed_pair):
    _, ours = changed_pair
    ours.save(tmp_path / "all.vecs")
    again = KeyedVectors.load(tmp_path / "all.vecs", mmap="r")
    assert again.index_to_key == ours.index_to_key
    np.testing.assert_array_equal(again.vectors, ours.vectors)
    (tmp_path / "old.kv").write_bytes(b"\x80\x04.")
    with pytest.raises(FormatError, match="pickle"):
        KeyedVectors.load(tmp_path / "old.kv")


def test_keys_that_were_appended_get_gensims_random_vectors(original, ours):
    original = original.vectors_for_all(original.index_to_key[:20])
    ours = ours.vectors_for_all(ours.index_to_key[:20])
    for each in (original, ours):
        each.index_to_key.append("new")
        each.resize_vectors(seed=3)
    np.testing.assert_array_equal(ours.vectors, original.vectors)
    assert ours.key_to_index["new"] == 20


def test_words_of_a_file_take_the_place_of_those_that_are_there(tmp_path, ours):
    (tmp_path / "few.txt").write_text("2 50\nking " + "1 " * 49 + "1\nnowhere " + "2 " * 49 + "2\n")
    ours.intersect_word2vec_format(tmp_path / "few.txt")
    assert ours["king"].tolist() == [1] * 50
    assert len(ours) == ROWS


def test_lengths_may_be_made_one(ours):
    ours.init_sims(replace=True)
    np.testing.assert_allclose(ours.norms, 1, rtol=1e-5)


def test_vectors_of_another_width_change_nothing(ours):
    for key in ("king", "kingly"):
        with pytest.raises(ShapeError):
            ours.add_vectors([key], np.ones((1, 7)), replace=True)
    assert len(ours) == ROWS
    assert "kingly" not in ours
    ours.add_vectors(["kingly", "kingly", "king", "king"], np.arange(4)[:, None] * np.ones(50), replace=True)
    assert (ours["kingly"][0], ours["king"][0], len(ours)) == (0, 3, ROWS + 1)


def test_attributes_of_another_type_are_refused(ours):
    ours.set_vecattr("king", "count", 3)
    with pytest.raises(TypeError, match="count"):
        ours.set_vecattr("king", "count", "many")


def test_movers(original, ours):
    pytest.importorskip("ot", reason="the exact distance needs POT")
    texts = [["the", "king", "said", "no"], ["a", "queen", "and", "a", "dog"]]
    for norm in (True, False):
        assert ours.wmdistance(*texts, norm=norm) == pytest.approx(original.wmdistance(*texts, norm=norm), rel=1e-5)
    assert ours.wmdistance(["nowhere"], texts[1]) == np.inf


def test_deleted_rows_are_not_there(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")
    vecstore.write(tmp_path / "few.vecs", x, list("abcdef"), "f32", shard_bytes=1 << 20)
    with vecstore.edit(tmp_path / "few.vecs") as edit:
        edit.delete(["b", "d"])
    kv = KeyedVectors(vecstore.open(tmp_path / "few.vecs"))
    expected = Original(4)
    expected.add_vectors(list("acef"), x[[0, 2, 4, 5]])
    kv.add_vectors(["g"], x[1:2])
    expected.add_vectors(["g"], x[1:2])
    assert list(kv.index_to_key) == expected.index_to_key
    assert (len(kv), "b" in kv, kv.get_index("g")) == (5, False, 4)
    np.testing.assert_array_equal(kv.vectors, expected.vectors)
    close(kv.most_similar("a"), expected.most_similar("a"))
    close(kv.most_similar("a", restrict_vocab=3), expected.most_similar("a", restrict_vocab=3))
    assert kv.closer_than("a", "e") == expected.closer_than("a", "e")
