"""Scores of many rows for each query."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError, ShapeError


def expected(queries, vectors, metric):
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return ((queries[:, None] - vectors[None]) ** 2).sum(axis=2)
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return queries @ vectors.T


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("spec", ["f32", "sq:8", "bin/sq:8", "tcq:24", "cells:8,sq:8"])
def test_scores_are_those_of_the_decoded_vectors(make_store, words, spec, metric):
    with vecstore.open(make_store(spec, shard_bytes=183_000)) as store:
        queries = words[3000:3003]
        found = store.scores(queries, metric=metric)
        assert found.shape == (3, 2000)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected(queries, store.vectors[:], metric), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(store.scores(queries[1], metric=metric), found[1], rtol=1e-5, atol=1e-5)


def test_scores_come_in_the_order_of_the_rows(make_store, words):
    with vecstore.open(make_store("sq:8")) as store:
        everything = store.scores(words[0])
        rows = [7, 0, 1999, 7]
        np.testing.assert_allclose(store.scores(words[0], rows), everything[rows], rtol=1e-5)
        mask = np.zeros(2000, bool)
        mask[[3, 5]] = True
        np.testing.assert_allclose(store.scores(words[:2], mask)[0], everything[[3, 5]], rtol=1e-5)
        assert store.scores(words[:2], []).shape == (2, 0)


def test_scores_agree_with_a_search(make_store, words):
    with vecstore.open(make_store("sq:8")) as store:
        found = store.search(words[5], 10)
        np.testing.assert_allclose(store.scores(words[5], found.rows), found.scores, rtol=1e-5)


def test_what_scores_refuse(make_store, words):
    with vecstore.open(make_store("sq:8")) as store:
        with pytest.raises(OptionError, match="cosine, dot, l2"):
            store.scores(words[0], metric="hamming")
        with pytest.raises(OptionError, match="no row"):
            store.scores(words[0], [2000])
        with pytest.raises(ShapeError):
            store.scores(words[0][:3])
