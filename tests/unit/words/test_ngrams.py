"""Vectors of words that a store does not hold, and the scan that finds words spelt like them."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import vecstore
from vecstore.kernels import entries
from vecstore.keys.packed import PackedKeys
from vecstore.words import Words
from vecstore.words.ngrams import NgramVectors, grams, hash_vector, known_pieces
from vecstore.words.spellings import edits, same_letters, stems

PINNED = [-0.39745677, -0.91472316, -0.07286726]  # of "king", in three dimensions


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def words(store):
    return Words(store, unknown="ngrams")


@pytest.mark.parametrize("word", ["governments", "a", "in", "INGing", "über", '"#', "\x02\x03q"])
@pytest.mark.parametrize("rows", [0, 1, 31, 33, 5000])
def test_the_scan_counts_what_its_plain_twin_does(word_keys, rows, word):
    odd = ["", "a", "ü", "Inging", '"#"#', "\x03\x02\x03q", "governmentgovernmentgovernment" * 5, "", "n", ""]
    keys = [*word_keys[:rows], *odd][-max(rows, 1) :]
    packed = PackedKeys.of_text(
        np.frombuffer("".join(keys).encode(), np.uint8), np.array([len(key.encode()) for key in keys]), "str"
    )
    tables = known_pieces(f"\x02{word}\x03".encode())
    scores, histogram = np.empty(len(keys), np.uint8), np.zeros(256, np.int64)
    entries.count_grams(packed.text, packed.starts, *tables, 2, 3, scores, histogram)
    expected = [reference.count_grams(key.encode(), word.encode()) for key in keys]
    assert scores.tolist() == expected
    assert histogram.tolist() == np.bincount(expected, minlength=256).tolist()


def test_other_cases_and_runs_of_letters_are_the_word(store, words):
    for spelt in ("KING", "King", "kingggg", "kinggggG".lower()):
        assert cosine(words.vector(spelt), store["king"]) == pytest.approx(1, abs=1e-5), spelt


def test_stems(store, words):
    assert "abandonly" not in store
    assert "telephone" in store
    assert cosine(words.vector("telephonely"), store["telephone"]) == pytest.approx(1, abs=1e-5)


def test_typos_find_their_word(store, words, word_keys):
    rng, found, tried = np.random.default_rng(0), 0, 0
    for word in [word for word in word_keys if word.isascii() and word.isalpha() and len(word) >= 7][::10]:
        at = int(rng.integers(1, len(word) - 1))
        for typo in (word[:at] + word[at + 1 :], word[:at] + word[at + 1] + word[at] + word[at + 2 :]):
            if typo not in store:
                tried += 1
                found += words.nearest(typo, 1).keys == [word]
    assert tried > 200
    assert found > 0.93 * tried


def test_the_keys_that_share_most_n_grams_are_found(store, word_keys):
    vectors = NgramVectors(store)
    for word in ("governmentality", "internationalistic", "underwaterish", "zoology"):
        own = grams(word)
        shared = [len(own & grams(key.casefold())) for key in word_keys]
        found = vectors._sharing(word)
        assert [shared[row] for row in found.tolist()] == sorted(shared, reverse=True)[: len(found)], word


def test_unknown_words_differ_and_are_always_the_same(store, words):
    with vecstore.open(store.path) as again:
        others = Words(again, unknown="ngrams")
        unknown = ["uberification", "uberifications", "qwzxjk", "qwzxj", "日本語の", "ß", ""]
        for word in unknown:
            vector = words.vector(word)
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            np.testing.assert_array_equal(vector, others.vector(word))
        assert words.similarity("uberification", "uberifications") > words.similarity("uberification", "qwzxjk")
        assert len({words.vector(word).tobytes() for word in unknown}) == len(unknown)


def test_drawn_vectors_are_pinned():
    np.testing.assert_allclose(hash_vector("king", 3), PINNED, rtol=1e-6)
    assert cosine(hash_vector("kingdom", 300), hash_vector("kingdoms", 300)) > 0.5
    assert abs(cosine(hash_vector("kingdom", 300), hash_vector("qwzxjk", 300))) < 0.25


def test_an_unknown_word_is_told_from_a_known_one(words):
    assert words.lookup(["king", "uberification", "KING"]).known.tolist() == [True, False, False]


def test_many_shards_count_as_one(make_store, words):
    with vecstore.open(make_store("f32", rows=5000, shard_bytes=183_000)) as sharded:
        many = Words(sharded, unknown="ngrams")
        for word in ("governmentality", "internationalistic"):
            np.testing.assert_allclose(many.vector(word), words.vector(word), rtol=1e-5, atol=1e-6)


def test_spellings():
    assert same_letters("Sooo") == ["Soo", "soo", "SOO", "So", "so", "SO"]
    assert "stop" in stems("stopping")
    assert "city" in stems("cities")
    assert {"receipt", "recipt", "recieptx", "recieqt"} <= set(edits("reciept"))
    assert "reciept" not in edits("reciept")
