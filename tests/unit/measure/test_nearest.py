"""The best rows of queries, block by block, are those of full sorts."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.kernels import entries
from vecstore.measure import nearest as module
from vecstore.measure.nearest import nearest, nearest_of_both
from vecstore.search.ranking import Ranking


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(("n", "k", "at_once"), [(1, 1, 4), (130, 100, 240), (2000, 100, 480), (5000, 7, 240)])
def test_the_best_of_any_first_rows(words, monkeypatch, metric, n, k, at_once):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", at_once)
    rows = np.tile(words[: -(-n // 2)], (2, 1))[:n]  # each twice: of equals the first is found
    ranking = Ranking.of(metric, words[3000:3017], unit_rows=False)
    counts = sorted({1, max(n // 8, 1), max(n // 3, 1), n})
    found = nearest(ranking, rows, k, counts)
    assert sorted(found) == counts
    for count, own in found.items():
        some = min(k, count)
        assert own.rows.shape == own.scores.shape == (17, some)
        scores = ranking.queries @ rows[:count].T
        if metric == "cosine":
            scores /= np.linalg.norm(rows[:count], axis=1)
        if metric == "l2":
            scores = 2 * scores - (rows[:count] ** 2).sum(axis=1)
        best = np.sort(scores, axis=1)[:, ::-1][:, :some]
        np.testing.assert_allclose(own.scores, best, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.take_along_axis(scores, own.rows, axis=1), best, rtol=1e-4, atol=1e-4)
        assert all(len(set(chosen)) == some for chosen in own.rows.tolist())


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("error", [0.0, 0.01, 1.0])
def test_the_best_of_decoded_rows_by_way_of_the_rows(words, monkeypatch, metric, error):
    scored, offer = [], entries.offer_near
    monkeypatch.setattr(entries, "offer_near", lambda *given: scored.append(offer(*given)) or scored[-1])
    rows = np.concatenate([words[:2900], np.zeros((3, 50), np.float32)])
    decoded = rows + error * np.random.default_rng(0).normal(size=rows.shape).astype(np.float32)
    decoded[5] = 0
    ranking = Ranking.of(metric, np.concatenate([words[3000:3099], np.zeros((1, 50), np.float32)]), unit_rows=False)
    near, best = nearest_of_both(ranking, rows, decoded, 10, [1000, len(rows)])
    for found, own in ((near, rows), (best, decoded)):
        alone = nearest(ranking, own, 10, [1000, len(rows)])
        for count in alone:
            np.testing.assert_allclose(found[count].scores, alone[count].scores, rtol=1e-4, atol=1e-4)
            assert (found[count].rows == alone[count].rows).mean() > 0.99
    pairs = 100 * len(rows)
    assert (0 < sum(scored) < pairs / 10) if error < 1 else sum(scored) < 2 * pairs
