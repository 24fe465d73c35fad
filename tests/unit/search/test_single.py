"""Searches for one vector after another find what the first one finds."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import vecstore
from vecstore.metric import METRICS
from vecstore.search.single import MOST_KNOWN, Single

ROWS = 2000
# Those whose scanners are asked again, and those that are searched as the first time.
PREPARED = ["pq:7x4", "opq:5", "bin", "sq:8", "f16", "sq:4", "center,rotate,pca:9,f16", "tcq:12"]
PREPARED += ["bin/sq:8", "tcq:6/sq:8", "pq:5/f16"]
OTHERS = ["cells:8,pq:5", "cells:8,tcq:6/sq:8"]


@pytest.fixture
def open_words(make_store):
    return lambda *spec, **options: vecstore.open(make_store(*spec, **options))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spec", PREPARED + OTHERS)
def test_later_searches_find_what_the_first_one_does(open_words, words, spec, metric):
    asked, store = words[ROWS : ROWS + 8], open_words(spec)
    first = [open_words(spec).search(query, metric=metric) for query in asked]
    for _ in range(2):
        for query, before in zip(asked, first, strict=True):
            found = store.search(query, metric=metric)
            np.testing.assert_array_equal(found.rows, before.rows)
            np.testing.assert_array_equal(found.scores, before.scores)
            assert (found.rescored, found.keys) == (before.rescored, before.keys)
    kinds = store._snapshot.prepared.singles.values()
    if spec in PREPARED and metric == "cosine":
        assert [type(kind) for kind in kinds] == [Single]


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("spec", ["bin/sq:8", "tcq:6/sq:8", "pq:5/f16", "tcq:12", "sq:8"])
@pytest.mark.parametrize("count", [3, 700, 1900])
def test_later_searches_of_some_rows_and_of_two_layers(words, tmp_path, spec, shards, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecstore.conversion.shards.cutting.FIXED_BYTES", 0)
        size = None if shards == 1 else 140_000
        vecstore.write(tmp_path / "a.vecs", words[:ROWS], codec=spec, keep_norms=False, shard_bytes=size)
    rows = np.random.default_rng(count).permutation(ROWS)[:count]
    mask = np.isin(np.arange(ROWS), rows)
    others = np.flatnonzero(~mask)
    how = {"rescore": 10} if "/" in spec else {}
    store = vecstore.open(tmp_path / "a.vecs")
    for _ in range(2):
        store.search(words[ROWS], **how)
    assert [type(kind) for kind in store._snapshot.prepared.singles.values()] == [Single]
    for query in words[ROWS : ROWS + 5]:
        for given in ({"rows": rows}, {"rows": mask}, {"exclude": others}, {"exclude": others[:7]}, {}):
            found = store.search(query, **given, **how)
            first = vecstore.open(tmp_path / "a.vecs").search(query, **given, **how)
            np.testing.assert_array_equal(found.rows, first.rows)
            np.testing.assert_array_equal(found.scores, first.scores)
            assert found.rescored == first.rescored
            if "rows" in given or len(given.get("exclude", [])) > 7:
                assert mask[found.rows].all()
            assert not np.isin(found.rows, given.get("exclude", [])).any()


def test_what_is_prepared_is_for_all_rows_and_no_limit(open_words, words):
    store, query = open_words("pq:7x4"), words[ROWS]
    for _ in range(2):
        best = store.search(query, k=5)
    for _ in range(2):
        assert set(store.search(query, k=5, exclude=best.rows).rows).isdisjoint(best.rows)
        assert set(store.search(query, k=5, rows=best.rows[:2]).rows) == set(best.rows[:2])
        assert len(store.search(query, k=5, min_score=float(best.scores[1])).rows) == 2
        assert store.search(query, k=9).rows[:5].tolist() == best.rows.tolist()
        assert store.search(query, k=5, metric="l2").scores[0] != best.scores[0]


def test_kinds_of_search_that_are_kept_are_bounded(open_words, words):
    store, query = open_words("pq:7x4"), words[ROWS]
    for k in range(1, MOST_KNOWN + 9):
        assert len(store.search(query, k=k).rows) == k
    assert len(store._snapshot.prepared.singles) <= MOST_KNOWN


def test_deleted_rows_are_not_found_by_later_searches(words, tmp_path):
    vecstore.write(tmp_path / "words.vecs", words[:300], codec="pq:7x4", shard_bytes=131_072)
    store, query = vecstore.open(tmp_path / "words.vecs"), words[ROWS]
    for _ in range(2):
        best = store.search(query)
    with vecstore.edit(store.path) as edit:
        edit.delete([best.keys[0]])
    store.refresh()
    for _ in range(2):
        assert store.search(query).keys[:9] == best.keys[1:]


def test_what_is_prepared_ends_with_its_store(open_words, words):
    store = open_words("pq:7x4")
    for _ in range(2):
        store.search(words[ROWS])
    prepared = weakref.ref(store._snapshot.prepared)
    gc.disable()  # files stay mapped as long
    try:
        store.close()
        del store
        assert prepared() is None
    finally:
        gc.enable()
