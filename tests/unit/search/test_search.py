"""Search as users meet it; that it finds what brute force does is held by test_search_contract.py."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import vecstore
from vecstore.errors import KeyNotFoundError, OptionError, ShapeError
from vecstore.metric import METRICS
from vecstore.search.topk import TopK

ROWS = 2000
SPECS = ["f32", "bf16", "pq:7x4", "opq:5"]  # beside those of the contract
CHAINED = ["normalize,sq:8", "center,sq:4", "pca:20,pq:5", "whiten:20,sq:8", "rotate,bin", "center,rotate,pca:9,f16"]
LAYOUTS = {"file": {}, "shards": {"shard_bytes": 183_000}}

every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_metric = pytest.mark.parametrize("metric", METRICS)


@pytest.fixture
def open_words(make_store):
    return lambda *spec, **options: vecstore.open(make_store(*spec, **options))


@pytest.fixture(scope="session")
def asked(words):
    """Words that are not in the stores, as queries: more than one batch of the search."""
    return words[ROWS : ROWS + 70]


def require_best(store, found, queries, metric, k):
    """Hold a result against brute force; which of two rows wins that are equal to rounding is left open."""
    truth = reference.scores(np.atleast_2d(queries), np.asarray(store.vectors), metric)
    scale = max(float(np.abs(truth).max()), 1) * 2e-5
    sign = 1 if metric == "l2" else -1
    expected = sign * np.sort(sign * truth, axis=1)[:, :k]
    rows, scores = np.atleast_2d(found.rows), np.atleast_2d(found.scores)
    assert rows.shape == scores.shape == expected.shape
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=scale)
    np.testing.assert_allclose(np.take_along_axis(truth, rows, axis=1), expected, rtol=2e-5, atol=scale)
    assert all(len(set(row)) == len(row) for row in rows.tolist())


@every_metric
@pytest.mark.parametrize("spec", SPECS + CHAINED)
def test_one_layer_is_exact_for_its_codec(open_words, asked, spec, metric):
    store = open_words(spec)
    for queries in (asked, asked[:3], asked[0]):  # many are scored by decoding blocks, few by tables
        require_best(store, store.search(queries, k=10, metric=metric), queries, metric, 10)


def test_rescoring_loses_little_by_default(open_words, asked):
    store = open_words("bin/sq:8")
    exact = store.search(asked, rescore=ROWS).rows
    kept = [len(set(a) & set(b)) for a, b in zip(store.search(asked).rows.tolist(), exact.tolist(), strict=True)]
    assert np.mean(kept) > 9.9
    assert store.info()["certificate"]["oversample"] >= 4


def test_scores_of_real_documents(tmp_path, docs, doc_keys, queries):
    vecstore.write(tmp_path / "d.vecs", docs, doc_keys, "sq:8")
    store = vecstore.open(tmp_path / "d.vecs")
    found = store.search(queries)
    require_best(store, found, queries, "cosine", 10)
    exact = np.argsort(-reference.scores(queries, docs, "cosine"), axis=1)[:, :10]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found.rows.tolist(), exact.tolist(), strict=True)]) > 9.8


@every_layout
@pytest.mark.parametrize("kind", ["str", "bytes", "int64", None])
def test_keys_of_a_result(open_words, asked, kind, layout):
    store = open_words("sq:8", keys=kind, **LAYOUTS[layout])
    batch, single = store.search(asked[:4], k=3), store.search(asked[0], k=3)
    assert batch.keys == [[store.keys[row] for row in rows] for rows in batch.rows.tolist()]
    assert single.keys == batch.keys[0] and single.rows.shape == single.scores.shape == (3,)


@every_layout
@pytest.mark.parametrize("k", [ROWS - 1, ROWS, ROWS + 1, 10**9])
def test_more_neighbours_than_rows(open_words, asked, k, layout):
    for spec in ("sq:8", "bin/sq:8"):
        found = open_words(spec, **LAYOUTS[layout]).search(asked[:2], k=k)
        assert found.rows.shape == (2, min(k, ROWS)) and len(found.keys[0]) == min(k, ROWS)
        assert (found.rows >= 0).all() and len(set(found.rows[0].tolist())) == min(k, ROWS)


def test_no_queries(open_words):
    found = open_words("sq:8").search(np.empty((0, 50)), k=4)
    assert (found.rows.shape, found.scores.shape, found.keys) == ((0, 4), (0, 4), [])


@every_metric
@pytest.mark.parametrize("spec", ["f32", "sq:8", "pq:8", "bin"])
@pytest.mark.parametrize("options", [{}, {"shard_bytes": 200_000}], ids=LAYOUTS)
def test_equal_rows(tmp_path, digits, spec, metric, options):
    """Every digit twice, in two places far apart: both come, the earlier first."""
    x = np.concatenate([digits, digits])
    vecstore.write(tmp_path / "d.vecs", x, codec=spec, metric=metric, **options)
    store = vecstore.open(tmp_path / "d.vecs")
    found = store.search(digits[:5], k=10)
    require_best(store, found, digits[:5], metric, 10)
    for rows, scores in zip(found.rows, found.scores, strict=True):
        for i in np.flatnonzero(scores[1:] == scores[:-1]):
            assert rows[i] < rows[i + 1]


@every_metric
def test_zero_vectors_and_zero_queries(tmp_path, words, metric):
    x = words[:100].copy()
    x[::10] = 0
    vecstore.write(tmp_path / "w.vecs", x, codec="f32", metric=metric)
    store = vecstore.open(tmp_path / "w.vecs")
    for query in (x[0], x[1]):
        require_best(store, store.search(query, k=100), query, metric, 100)


@pytest.mark.parametrize("scale", [1e-14, 1e-5, 1e5, 1e14])
@every_metric
def test_vectors_of_any_size(tmp_path, words, scale, metric):
    """Cosines do not depend on the size of the numbers; nothing becomes NaN."""
    x = (words[:300] * scale).astype(np.float32)
    vecstore.write(tmp_path / "w.vecs", x, codec="f32", metric=metric)
    found = vecstore.open(tmp_path / "w.vecs").search(x[:5], k=10)
    assert np.isfinite(found.scores).all() and (found.rows >= 0).all()
    if metric == "cosine":
        require_best(vecstore.open(tmp_path / "w.vecs"), found, x[:5], metric, 10)


def test_most_similar(open_words):
    store = open_words("sq:8")
    found = store.most_similar("king", 4)
    assert [key for key, _ in found][:1] == ["prince"] and len(found) == 4
    assert all(isinstance(key, str) and type(score) is float for key, score in found)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True) and 0.5 < scores[0] < 1
    by_distance = store.most_similar("king", 4, metric="l2")
    assert [score for _, score in by_distance] == sorted(score for _, score in by_distance)
    assert len(store.most_similar("king", 10**6)) == ROWS - 1
    with pytest.raises(KeyNotFoundError):
        store.most_similar("no such word")


def test_most_similar_of_rows(open_words):
    store = open_words("sq:8", keys=None)
    assert [row for row, _ in store.most_similar(5, 3)] != [] and 5 not in [row for row, _ in store.most_similar(5, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": np.zeros(49)}, "50 dimensions here, found 49"),
        ({"queries": np.zeros((1, 2, 50))}, r"\(d,\) or a batch \(q, d\), found shape \(1, 2, 50\)"),
        ({"queries": 3.0}, "found shape"),
        ({"queries": np.full(50, np.nan)}, "NaN"),
        ({"queries": ["king"]}, "a query is a vector|numbers"),
        ({"queries": "king"}, "found shape"),
        ({"k": 0}, "k is a positive whole number, found 0"),
        ({"k": -1}, "found -1"),
        ({"k": 2.0}, r"found 2\.0"),
        ({"k": True}, "found True"),
        ({"metric": "euclid"}, "unknown metric 'euclid'; choose one of cosine, dot, l2, hamming"),
        ({"rescore": -1}, "0 or a positive oversampling factor; found -1"),
    ],
)
def test_what_cannot_be_searched(open_words, arguments, message):
    with pytest.raises((OptionError, ShapeError), match=message):
        open_words("sq:8").search(**{"queries": np.zeros(50), **arguments})


@pytest.mark.parametrize("k", [1, 3, 10, 40])
@pytest.mark.parametrize("cut", [1, 7, 40])
def test_best_of_scores_in_pieces(k, cut):
    """Equal scores come in row order, however the rows arrive in pieces."""
    rng = np.random.default_rng(k)
    scores, rows = rng.integers(0, 5, (3, 40)).astype(float), np.arange(100, 140)
    best = TopK(3, k)
    for start in rng.permutation(range(0, 40, cut)):
        piece = TopK(3, cut)
        for query in range(3):
            piece.put(query, scores[query, start : start + cut], rows[start : start + cut])
        best.merge(piece)
    order = np.lexsort((np.broadcast_to(rows, scores.shape), -scores), axis=1)[:, :k]
    np.testing.assert_array_equal(best.rows, rows[order])
    np.testing.assert_array_equal(best.scores, np.take_along_axis(scores, order, axis=1))
    assert best.sizes.tolist() == [k] * 3


def test_best_of_few_scores():
    best = TopK(1, 4)
    best.put(0, np.array([2.0, 3.0]), np.array([8, 9]))
    assert best.rows.tolist() == [[9, 8, -1, -1]] and best.scores.tolist() == [[3, 2, -np.inf, -np.inf]]
    kept = best.least(np.array([2.5]))
    assert kept.rows.tolist() == [[9, -1, -1, -1]] and kept.sizes.tolist() == [1]
