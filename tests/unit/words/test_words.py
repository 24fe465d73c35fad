"""What is done with word vectors, on real ones."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.errors import KeyNotFoundError, MissingExtraError, OptionError, ShapeError
from vecstore.words import Words


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def words(store):
    return Words(store)


def test_a_word_has_the_stored_vector_and_a_mixture_counts_words_with_length_one(store, words):
    np.testing.assert_array_equal(words.vector("king"), store["king"])
    expected = unit(store["king"]) - 0.5 * unit(store["man"])
    np.testing.assert_allclose(words.vector({"king": 1, "man": -0.5}), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(words.vector(np.arange(50.0)), np.arange(50))


@pytest.mark.parametrize("spec", ["f32", "sq:8", "tcq:24"])
def test_nearest_is_what_a_search_finds_without_the_words_of_the_query(make_store, spec):
    with vecstore.open(make_store(spec)) as store:
        words = Words(store)
        found = words.nearest("king", 5)
        assert list(found) == store.most_similar("king", 5)
        query = {"king": 1, "man": -1, "woman": 1}
        by_hand = store.search(words.vector(query), 5, exclude=store.rows_of(list(query)))
        analogy = words.nearest(query, 5)
        assert analogy.keys == by_hand.keys
        assert analogy.rows.tolist() == by_hand.rows.tolist()
        assert analogy.single


def test_an_analogy(words):
    assert words.nearest({"king": 1, "man": -1, "woman": 1}, 1).keys == ["queen"]
    assert "berlin" in words.nearest({"paris": 1, "france": -1, "germany": 1}, 3, combine="mul").keys


def test_a_batch_is_its_queries_one_by_one(store, words):
    queries = ["king", {"paris": 1, "france": -1}, store["frog"] if "frog" in store else store["dog"], "water"]
    for combine in ("add", "mul"):
        batch = words.nearest(queries, 4, combine=combine)
        assert not batch.single
        assert batch.rows.shape == (4, 4)
        for query, found in zip(queries, batch, strict=True):
            alone = words.nearest(query, 4, combine=combine)
            assert found.keys == alone.keys
            np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-5)


def test_products_are_those_of_levy_and_goldberg(store, words):
    x = unit(store.vectors[:])
    similar = {word: (1 + x @ unit(store[word])) / 2 for word in ("king", "man", "woman")}
    scores = similar["king"] * similar["woman"] / (similar["man"] + 1e-6)
    scores[store.rows_of(list(similar))] = 0
    found = words.nearest({"king": 1, "man": -1, "woman": 1}, 10, combine="mul")
    assert found.rows.tolist() == np.argsort(-scores)[:10].tolist()
    np.testing.assert_allclose(found.scores, np.sort(scores)[:-11:-1], rtol=1e-5)
    limit = float(found.scores[3])
    assert len(words.nearest({"king": 1, "man": -1, "woman": 1}, 10, combine="mul", min_score=limit)) == 4


@pytest.mark.parametrize("combine", ["add", "mul"])
def test_which_words_may_be_found(store, words, combine):
    assert set(words.nearest("king", among=["queen", "dog", "king", "nowhere-to-be"], combine=combine).keys) == {
        "queen",
        "dog",
    }
    assert max(words.nearest("king", first=1000, combine=combine).rows) < 1000
    assert words.nearest("king", 1, exclude=[], combine=combine).keys == ["king"]
    assert "queen" not in words.nearest("king", exclude=["queen", "unknown-word"], combine=combine).keys
    assert words.nearest("king", 3, among=["queen", "dog"], first=1, combine=combine).keys == []


def test_a_limit_of_scores(words):
    found = words.nearest(["king", "the"], 50, min_score=0.7)
    assert (found.scores[found.rows >= 0] >= 0.7).all()
    assert len(found.keys[0]) != len(found.keys[1])
    assert found.rows.shape[1] == max(map(len, found.keys))


def test_rank_and_closer_count_the_same_words(words):
    nearest = words.nearest("king", 20)
    for place in (0, 4, 19):
        assert words.rank("king", nearest.keys[place]) == place + 1
        closer = words.closer("king", nearest.keys[place])
        assert closer.keys == nearest.keys[:place]
        np.testing.assert_allclose(closer.scores, nearest.scores[:place], rtol=1e-5)
    assert words.rank("king", "king") == 1
    assert words.closer("king", "king").keys == []


def test_similarity_of_queries_and_lists(store, words):
    king, others = store["king"], store[["queen", "dog", "car"]]
    expected = unit(others) @ unit(king)
    assert words.similarity("king", "queen") == pytest.approx(float(expected[0]), rel=1e-5)
    assert isinstance(words.similarity("king", "queen"), float)
    np.testing.assert_allclose(words.similarity("king", ["queen", "dog", "car"]), expected, rtol=1e-5)
    np.testing.assert_allclose(words.similarity(["queen", "dog", "car"], king), expected, rtol=1e-5)
    assert words.similarity(["king", "man"], ["queen", "dog", "car"]).shape == (2, 3)
    assert words.distance("king", "queen") == pytest.approx(1 - float(expected[0]), rel=1e-5)


def test_means(store, words):
    x = unit(store[["king", "queen", "dog"]])
    np.testing.assert_allclose(words.mean(["king", "queen", "dog"]), x.mean(axis=0), rtol=1e-5, atol=1e-6)
    weighted = (2 * x[0] - x[1]) / 3
    np.testing.assert_allclose(words.mean(["king", "queen"], [2, -1]), weighted, rtol=1e-5, atol=1e-6)
    expected = unit(x[:2].mean(axis=0)) @ x[2]
    assert words.n_similarity(["king", "queen"], ["dog"]) == pytest.approx(float(expected), rel=1e-4)
    assert words.odd_one_out(["king", "queen", "dog", "prince"]) == "dog"


def test_the_relaxed_mover_distance_is_a_lower_bound_that_knows_equal_texts(store, words):
    a, b = ["president", "said", "president"], ["king", "says"]
    x, y = unit(store[["president", "said"]]), unit(store[b])
    costs = np.linalg.norm(x[:, None] - y[None], axis=2)
    there, back = costs.min(axis=1) @ [2 / 3, 1 / 3], costs.min(axis=0).mean()
    assert words.mover_distance(a, b) == pytest.approx(max(there, back), rel=1e-4)
    assert words.mover_distance(b, list(reversed(b))) == pytest.approx(0, abs=1e-3)


def test_the_exact_mover_distance_is_at_least_the_relaxed_one(words):
    a, b = ["president", "said", "president"], ["king", "says"]
    try:
        import ot  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="pip install POT"):
            words.mover_distance(a, b, relaxed=False)
    else:
        assert words.mover_distance(a, b, relaxed=False) >= words.mover_distance(a, b) - 1e-6


def test_texts_become_one_array(store, words):
    found = words.vectors([["the", "king", "was"], ["queen"]])
    assert found.shape == (2, 3, 50)
    np.testing.assert_array_equal(found[0, 1], store["king"])
    np.testing.assert_array_equal(found[1, 0], store["queen"])
    assert not found[1, 1:].any()
    left = words.vectors([["the", "king", "was"], ["queen"]], pad_to=2, pad_left=True, truncate_left=True)
    np.testing.assert_array_equal(left[0], store[["king", "was"]])
    np.testing.assert_array_equal(left[1, 1], store["queen"])
    assert words.vectors(["king", "queen"], pad_to=5).shape == (5, 50)
    assert words.vectors([[["king"], ["queen", "dog"]], [["dog"]]]).shape == (2, 2, 2, 50)
    assert words.vectors([[], ["king"]]).shape == (2, 1, 50)
    assert words.vectors([]).shape == (0, 50)
    with pytest.raises(OptionError, match="nest all"):
        words.vectors([["king"], "queen"])


def test_unknown_words_are_refused_by_default(words):
    for asked in (
        lambda: words.vector("qqqq"),
        lambda: words.nearest({"king": 1, "qqqq": 1}),
        lambda: words.mean(["king", "qqqq"]),
        lambda: words.vectors([["king", "qqqq"]]),
    ):
        with pytest.raises(KeyNotFoundError, match="qqqq"):
            asked()


def test_unknown_words_may_be_left_out(store):
    words = Words(store, unknown="skip")
    np.testing.assert_allclose(words.vector({"king": 1, "qqqq": 1}), unit(store["king"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(words.vectors(["king", "qqqq", "queen"]), store[["king", "queen"]])
    np.testing.assert_allclose(words.mean(["qqqq", "king"], [5, 1]), unit(store["king"]), rtol=1e-5, atol=1e-6)
    assert words.lookup(["king", "qqqq"]).known.tolist() == [True, False]
    assert not words.lookup(["king", "qqqq"]).vectors[1].any()
    assert words.odd_one_out(["king", "qqqq", "queen", "dog"]) == "dog"
    with pytest.raises(KeyNotFoundError, match="qqqq"):
        words.nearest("qqqq")
    with pytest.raises(KeyNotFoundError, match="qqqq"):
        words.mean(["qqqq"])


def test_unknown_words_may_be_made_by_a_function(store):
    words = Words(store, unknown=lambda word: np.ones(50) if word == "onesies" else None)
    assert words.vector("onesies").tolist() == [1] * 50
    assert words.vectors(["onesies", "qqqq"]).shape == (1, 50)
    wrong = Words(store, unknown=lambda word: np.ones(3))
    with pytest.raises(ShapeError):
        wrong.vector("onesies")


def test_unknown_words_may_be_made_by_the_store(make_store):
    with vecstore.open(make_store("hash:8:3")) as store:
        words = Words(store, unknown="store")
        np.testing.assert_array_equal(words.vector("qqqq"), store.lookup(["qqqq"]).vectors[0])
    with vecstore.open(make_store("f32")) as store, pytest.raises(KeyNotFoundError):
        Words(store, unknown="store").vector("qqqq")


def test_case_is_folded_where_the_word_is_not_there_as_written(tmp_path):
    keys = ["iPhone", "king", "IPHONE", "King", "straße", "Élan"]
    vecstore.write(tmp_path / "case.vecs", np.eye(6, dtype=np.float32), keys, "f32")
    with vecstore.open(tmp_path / "case.vecs") as store:
        words = Words(store, fold_case=True)
        asked = ["iphone", "IPHONE", "KING", "King", "STRASSE", "ÉLAN"]
        assert [int(np.argmax(words.vector(word))) for word in asked] == [0, 2, 1, 3, 4, 5]
        assert "élan" in words
        assert "nothing" not in words
        with pytest.raises(KeyNotFoundError):
            words.vector("nothing")


def test_stores_with_other_keys(make_store):
    with vecstore.open(make_store("f32", keys="int64")) as store:
        words = Words(store)
        assert words.nearest(-1000, 1).keys == [store.most_similar(-1000, 1)[0][0]]
        with pytest.raises(OptionError, match="strings"):
            Words(store, unknown="ngrams")
    with vecstore.open(make_store("f32", keys=None)) as store:
        assert Words(store).nearest(np.array([3, 4]), 2).rows.shape == (2, 2)


def test_cells_and_shards(make_store):
    with vecstore.open(make_store("cells:8,sq:8", rows=5000, keep_order=False, shard_bytes=183_000)) as store:
        words = Words(store)
        found = words.nearest("king", 5, among=["queen", "prince", "dog"])
        assert found.keys[:2] == ["prince", "queen"]
        again = store.search(store["king"], 3, rows=words.nearest(["king"], 5).rows[0])
        assert again.keys == words.nearest("king", 3).keys
        with pytest.raises(OptionError, match="order of the dump"):
            words.nearest("king", first=10)


def test_the_first_words_of_a_store_by_importance(make_store):
    with vecstore.open(make_store("f32", rows=2000, importance=tuple(range(1, 2001)))) as store:
        found = Words(store).nearest(store.keys[3], 5, first=50)
        assert store.renumbered and (found.rows < 50).all() and set(found.keys) <= set(store.keys[:50])


def test_what_is_refused(store, words):
    with pytest.raises(OptionError, match="raise, skip, store, ngrams"):
        Words(store, unknown="guess")
    with pytest.raises(OptionError, match="combine"):
        words.nearest("king", combine="sum")
    for first in (0, 2.5):
        with pytest.raises(OptionError, match="first"):
            words.nearest("king", first=first)
    with pytest.raises(OptionError, match="mixture"):
        words.nearest({"king": "queen"})
    with pytest.raises(OptionError, match="weights"):
        words.mean(["king"], [1, 2])
    with pytest.raises(ShapeError):
        words.vector(np.ones(7))
    with pytest.raises(OptionError, match=r"write \['king'\]"):
        words.vectors("king")
    with pytest.raises(OptionError, match="pad_to"):
        words.vectors([["king"]], pad_to=-1)
    with pytest.raises(OptionError, match="list of words"):
        words.mover_distance("king", ["king"])


@pytest.mark.parametrize("combine", ["add", "mul"])
def test_deleted_words_are_unknown_and_not_found(tmp_path, store, combine):
    vecstore.write(tmp_path / "words.vecs", store.vectors[:3000], store.keys[:3000], "f32", shard_bytes=300_000)
    gone = ["queen", *store.keys[40:200], *store.keys[2900:2950]]
    with vecstore.edit(tmp_path / "words.vecs") as edit:
        edit.delete(gone)
        edit.append(np.eye(1, 50, dtype=np.float32), ["Zürich"])
    with vecstore.open(tmp_path / "words.vecs") as edited:
        plain, loose = Words(edited), Words(edited, unknown="ngrams", fold_case=True)
        assert "queen" not in plain
        found = plain.nearest("king", len(edited), combine=combine)
        assert sorted([*found.keys, "king"]) == sorted(edited)
        assert loose.rows_of(["ZÜRICH", "KING", "QUEEN"]).tolist() == [*edited.rows_of(["Zürich", "king"]), -1]
        assert loose.nearest("kingdomz", 1).keys == ["kingdom"]
        assert all(key not in gone for key in loose.nearest(["queenliness", "kingg"], 5).keys[0])
