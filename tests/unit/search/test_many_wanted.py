"""Searches for many rows: they begin with scores that a sample of the rows reaches, and score candidates in rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.search.batch import Batch
from vecstore.search.sampling import ONE_IN, SHORT

ROWS, DIMENSIONS = 40_000, 16
RNG = np.random.default_rng(18)
X = RNG.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
QUERIES = RNG.normal(size=(3, DIMENSIONS)).astype(np.float32)
SPECS = ["sq:8", "pq:4x4", "bin", "tcq:8"]


def misleading(query: Any) -> Any:
    """Return the rows in an order in which those that are sampled score best."""
    runs = ROWS // ONE_IN // SHORT
    sampled = (np.arange(runs) * (ROWS // runs))[:, None] + np.arange(SHORT)
    by_score = np.argsort(-(X @ query) / np.linalg.norm(X, axis=1))
    order = np.empty(ROWS, np.int64)
    mask = np.zeros(ROWS, bool)
    mask[sampled.reshape(-1)] = True
    order[mask], order[~mask] = by_score[: mask.sum()], RNG.permutation(by_score[mask.sum() :])
    return X[order]


@pytest.mark.parametrize("spec", SPECS)
def test_many_rows_are_found_whatever_a_sample_tells(tmp_path, spec, monkeypatch):
    scans: list[int] = []
    scan = Batch._best
    monkeypatch.setattr(Batch, "_best", lambda *a, **k: scans.append(1) or scan(*a, **k))
    codec, k = vecstore.codec(spec).fit(X[:1000]), 1200
    for number, x in enumerate((X, misleading(QUERIES[0]))):
        path = tmp_path / f"{number}.vecs"
        vecstore.write(path, x, codec=codec)
        store = vecstore.open(path)
        store.search(QUERIES[0], 10)  # all is checked: from here on samples are taken
        scans.clear()
        for asked in (QUERIES[0], QUERIES):
            found = store.search(asked, k)
            exact = np.atleast_2d(store.scores(asked))
            best = -np.sort(-exact, axis=1)[:, :k].reshape(found.scores.shape)
            if spec == "tcq:8":  # the scan is approximate
                assert np.mean(found.scores >= best - 1e-4) > 0.99
            else:
                np.testing.assert_allclose(found.scores, best, atol=1e-4)
            assert (found.rows >= 0).all()
        assert len(scans) >= 2 + number, "a sample that is better than the others is noticed"
        few = np.flatnonzero(np.arange(ROWS) % 20 == 3)
        assert set(store.search(QUERIES[0], len(few), rows=few).rows) == set(few)
        store.close()
