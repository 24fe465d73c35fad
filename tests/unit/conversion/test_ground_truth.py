"""Certificates of all rows: what those find who ask while rows are encoded, beside a search of all at once."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError
from vecstore.measure.neighbours import Asking, Nearest, NearestFinder

ROWS, DIMENSIONS, ASKING = 12_000, 24, 60
RNG = np.random.default_rng(5)
X = (RNG.normal(size=(ROWS, DIMENSIONS)) * RNG.gamma(2, size=(ROWS, 1))).astype(np.float32)
X[9000:9040] = X[:40]  # ties, in other shards
X[77] = 0
QUERIES = RNG.normal(size=(90, DIMENSIONS)).astype(np.float32)


def scores_of(queries, rows, metric):
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return 2 * queries @ rows.T - (rows**2).sum(axis=1) - (queries**2).sum(axis=1, keepdims=True)
    if metric == "cosine":
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return queries @ rows.T


@pytest.mark.parametrize(
    ("codec", "metric", "keep_norms"),
    [("sq:4", "cosine", False), ("sq:4", "dot", True), ("bin/sq:4", "l2", False), ("cells:4,tcq:6", "cosine", False)],
)
def test_recall_among_all_rows(tmp_path, codec, metric, keep_norms):
    path, options = tmp_path / "a.vecs", {"codec": codec, "metric": metric, "keep_norms": keep_norms}
    options |= {"shard_bytes": 140_000, "queries": QUERIES}
    report = vecstore.write(path, X, ground_truth=ASKING, **options)
    truth, certificate = report.ground_truth, report.certificate
    with vecstore.open(path) as store:
        decoded, about = store.vectors[:], store.info()
        assert about["shards"] > 1 and about["certificate"] == certificate and not about["certified"]["stale"]
        sampled = store.description["certificate"]
    assert sampled.keys() == certificate.keys() and sampled["cosine_mean"] == certificate["cosine_mean"]
    own = truth["asking"]
    assert (own >= 0).sum() == (own < 0).sum() == ASKING and truth["rows"].shape == (2 * ASKING, 100)
    asked = np.sort(np.random.default_rng(0).permutation(len(QUERIES))[:ASKING])
    asking = np.concatenate([X[own[:ASKING]], QUERIES[asked]])
    exact, coded = (scores_of(asking, rows, metric) for rows in (X, decoded))
    for scores in (exact, coded):
        scores[np.arange(ASKING), own[:ASKING]] = -np.inf
    best = -np.sort(-exact, axis=1)[:, :100]
    np.testing.assert_allclose(truth["scores"], best, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, truth["rows"], axis=1), best, rtol=1e-4, atol=1e-5)
    for name, part, base in (("recall", slice(ASKING), ROWS - 1), ("query_recall", slice(ASKING, None), ROWS)):
        assert (certificate[name]["queries"], certificate[name]["base"]) == (ASKING, base)
        assert "extrapolated" not in certificate[name]
        for k in (1, 10, 100):
            found = np.argsort(-coded[part], axis=1, kind="stable")[:, :k]
            right = np.take_along_axis(exact[part], found, axis=1) >= best[part, k - 1 : k] - 1e-5
            assert abs(certificate[name]["at"][str(k)][0] - right.mean()) < 0.006, (name, k)


def test_blocks_and_shards_do_not_matter():
    asking = Asking(np.concatenate([X[:20], QUERIES[:5]]), np.r_[:20, [-1] * 5], "cosine", 30)
    coded = np.round(X)
    whole = NearestFinder(asking, 0)
    whole.add(np.arange(ROWS), X, coded)
    parts = []
    for start, stop in ((0, 7), (7, 5000), (5000, ROWS)):
        part = NearestFinder(asking, start)
        for first in range(start, stop, 400):
            rows = np.arange(first, min(first + 400, stop))
            part.add(rows - start, X[rows], coded[rows])
        parts.append(part.nearest())
    one, other = Nearest.merged([Nearest.merged(parts[:2]), parts[2]]), Nearest.merged(parts[::-1])
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])
    np.testing.assert_allclose(one.scores, whole.nearest().scores, rtol=1e-5)
    for k in (1, 10, 30):
        np.testing.assert_allclose(one.recalls(k), whole.nearest().recalls(k), atol=0.04)


def test_few_rows_and_bad_arguments(tmp_path):
    report = vecstore.write(tmp_path / "a.vecs", X[:3], codec="f32", ground_truth=5, shard_bytes=200_000)
    assert report.ground_truth["rows"].shape == (3, 2) and list(report.certificate["recall"]["at"]) == ["1"]
    report = vecstore.write(tmp_path / "b.vecs", X[:1], codec="f32", ground_truth=5, shard_bytes=200_000)
    assert report.ground_truth["rows"].tolist() == [[-1]]
    for given, told in ((-1, "how many rows"), (True, "how many rows"), (9, "give shard_bytes=")):
        with pytest.raises(OptionError, match=told):
            vecstore.write(tmp_path / "c.vecs", X, ground_truth=given)
