"""Recall query by query, and its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.measure.recall import GroundTruth, extrapolated, forecast, interval, paired


def naive_recall(queries, base, decoded, metric, k):
    """The same by full sorts, one query at a time."""
    recalls = []
    for q in queries:

        def scores(rows, q=q):
            if metric == "cosine":
                return rows @ q / np.linalg.norm(rows, axis=1) / np.linalg.norm(q)
            return rows @ q if metric == "dot" else -((rows - q) ** 2).sum(axis=1)

        wanted = set(np.argsort(-scores(base))[:k].tolist())
        recalls.append(len(wanted & set(np.argsort(-scores(decoded))[:k].tolist())) / k)
    return np.array(recalls)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_recall_is_that_of_full_sorts(words, metric):
    base, queries = words[:1000].astype(np.float64), words[1000:1150].astype(np.float64)
    decoded = base + np.random.default_rng(0).normal(size=base.shape) * 0.3
    marks = GroundTruth(queries.astype("f4"), base.astype("f4"), metric, (1, 10)).recalls(decoded.astype("f4"))
    for k in (1, 10):
        expected = naive_recall(queries, base, decoded, metric, k)
        assert np.abs(marks[k] - expected).max() <= 1 / k and (marks[k] == expected).mean() > 0.98
    assert 0.2 < marks[10].mean() < 0.95


def test_equally_near_rows_count_alike(words):
    twice = np.concatenate([words[:200], words[:200]])
    swapped = np.concatenate([words[200:400], words[:200]])  # only the second copies can be found
    truth = GroundTruth(words[:50], twice, "cosine", (1,))
    assert truth.recalls(swapped)[1].mean() == 1.0


def test_rescoring_gives_what_the_fine_vectors_find(words):
    truth = GroundTruth(words[4000:4100], words[:2000], "cosine")
    coarse = words[:2000] + np.random.default_rng(1).normal(size=(2000, 50)).astype("f4") * 0.4
    assert truth.recalls_rescored(coarse, words[:2000], rescored=2000).mean() == 1.0
    few = truth.recalls_rescored(coarse, words[:2000], rescored=10).mean()
    assert few == pytest.approx(truth.recalls(coarse)[10].mean()) and few < 0.9


def test_fewer_rows_than_neighbours(words):
    truth = GroundTruth(words[:5], words[10:17], "cosine", (1, 10, 100))
    assert truth.ks == (1,) and truth.recalls(words[10:17])[1].mean() == 1.0


def test_intervals_hold_the_mean_and_shrink_with_more_queries():
    values = np.random.default_rng(0).integers(0, 11, 900) / 10
    few, many = interval(values[:100], seed=0), interval(values, seed=0)
    assert few.low < few.mean < few.high and many.low < many.mean < many.high
    assert many.high - many.low == pytest.approx((few.high - few.low) / 3, rel=0.3)
    # The normal approximation says the same.
    assert many.high - many.mean == pytest.approx(1.96 * values.std() / 30, rel=0.15)


def test_pairs_tell_apart_what_intervals_alone_do_not():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.1, 0.9, 200)  # queries differ more than codecs do
    ours, theirs = hard + 0.05 + rng.normal(size=200) * 0.05, hard + rng.normal(size=200) * 0.05
    assert interval(ours, seed=0).low < interval(theirs, seed=0).high
    assert paired(ours, theirs, seed=0).low > 0


def test_a_forecast_holds_the_mean_of_as_many_others():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(300):
        ours, theirs = rng.binomial(10, rng.beta(4, 1, size=(2, 200))) / 10
        found = forecast(ours, 10, seed=seed)
        inside += found.low <= theirs.mean() <= found.high
    assert 275 <= inside <= 295, inside


def test_a_forecast_of_queries_that_find_all_leaves_three_misses_in_doubt():
    assert forecast(np.ones(100), 10, seed=0).to_list() == [1.0, 0.997, 1.0]
    assert forecast(np.full(4, 1.2), 1, seed=0).mean == 1.0, "what was extrapolated is cut at 1"


def test_recall_is_extrapolated_along_the_logarithm_of_the_rows():
    recalls = {rows: np.array([0.9, 0.8]) - 0.05 * np.log10(rows) for rows in (100, 1000, 10_000)}
    np.testing.assert_allclose(extrapolated(recalls, 1_000_000), [0.6, 0.5])
    np.testing.assert_allclose(extrapolated(recalls, 10_000), recalls[10_000])
