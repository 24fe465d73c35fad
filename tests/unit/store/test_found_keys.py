"""The keys of what a search found: read when they are asked for, also after the store is closed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import vecstore
from vecstore.keys.index import KeyIndex


@pytest.fixture
def path(tmp_path, words, word_keys):
    path = tmp_path / "words.vecs"
    vecstore.write(path, words[:3000], word_keys[:3000], "sq:8")
    return path


def test_keys_are_read_when_asked_for(path, words, word_keys, monkeypatch):
    asked = []
    read = KeyIndex.keys
    monkeypatch.setattr(KeyIndex, "keys", lambda self, rows: asked.append(len(rows)) or read(self, rows))
    found = vecstore.open(path).search(words[:2], k=500)
    assert found.rows.shape == (2, 500) and len(found) == 2 and not asked
    assert found.keys == [[word_keys[row] for row in rows] for rows in found.rows.tolist()]
    assert found.keys is found.keys and asked == [1000]
    assert [each.keys for each in found] == found.keys


def test_keys_are_those_found_whatever_becomes_of_store_and_rows(path, words, word_keys):
    with vecstore.open(path) as store:
        one, batch = store.search(words[7], k=3), store.search(words[:4], k=2)
        some = store.range_search(words[7], min_score=0.5)
    path.unlink()
    expected = [word_keys[row] for row in one.rows.tolist()]
    one.rows[:] = 0
    assert one.keys == expected and expected[0] == word_keys[7]
    assert [key for key, _ in batch.each()[3]] == [word_keys[row] for row in batch.rows[3].tolist()]
    again = pickle.loads(pickle.dumps(some))
    assert again.keys == some.keys == [word_keys[row] for row in some.rows.tolist()]
    assert np.array_equal(again.scores, some.scores) and repr(again) == repr(some)


def test_a_result_without_its_keys_keeps_no_more_than_the_files(path, words):
    """Once the keys are read, nothing of the store is held."""
    found = vecstore.open(path).search(words[0], k=2)
    assert callable(found._keys)
    _ = found.keys
    assert not callable(found._keys)
