"""The threshold map: isotonic regression, its inverse, and calibrated searches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecstore
from vecstore.errors import CorruptError, OptionError
from vecstore.measure.calibration import Calibration, pool_adjacent_violators


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 5)), min_size=1, max_size=40))
def test_pooling_is_isotonic_regression(pairs):
    from sklearn.isotonic import isotonic_regression

    y, weights = (np.array(column, float) for column in zip(*pairs, strict=True))
    x = np.arange(len(y), dtype=float)
    block_x, block_y = pool_adjacent_violators(x, y, weights)
    expected = isotonic_regression(y, sample_weight=weights)
    assert (np.diff(block_x) > 0).all() and (np.diff(block_y) > 0).all()
    np.testing.assert_allclose(block_y, np.unique(expected.round(9)), atol=1e-8)


def test_the_map_rises_and_can_be_undone():
    made = Calibration("dot", np.array([0.1, 0.4, 0.9]), np.array([0.2, 0.3, 1.4]))
    scores = np.linspace(-3, 3, 61)
    mapped = made.original_of(scores)
    assert (np.diff(mapped) > 0).all()
    np.testing.assert_allclose([made.compressed_of(score) for score in mapped], scores, atol=1e-12)
    assert made.original_of([-1.0]) == pytest.approx(-0.9) and made.compressed_of(-np.inf) == -np.inf
    assert Calibration("cosine", np.array([0.5]), np.array([0.9])).original_of([0.7]) == 1.0


def make(path, x, spec, **options):
    vecstore.write(path, x, codec=spec, **options)
    return vecstore.open(path)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_calibrated_scores_are_nearer_to_the_original_ones(tmp_path, docs, queries, metric):
    store = make(tmp_path / "d.vecs", docs, "bin", metric=metric)
    plain, calibrated = (store.search(queries, 5, calibrated=on) for on in (False, True))
    assert (plain.rows == calibrated.rows).all()
    rows = docs[plain.rows]
    original = np.einsum("qd,qkd->qk", queries, rows)
    if metric == "cosine":
        original /= np.linalg.norm(rows, axis=2) * np.linalg.norm(queries, axis=1)[:, None]
    if metric == "l2":
        original = ((rows - queries[:, None]) ** 2).sum(axis=2)
    before, after = (found.scores - original for found in (plain, calibrated))
    # Bits leave a bias; queries are of another kind than the rows that the map was measured with.
    assert (after**2).mean() < 0.9 * (before**2).mean() and abs(after.mean()) < 0.8 * abs(before.mean())


def test_a_threshold_means_what_it_meant(tmp_path, docs, queries):
    store = make(tmp_path / "d.vecs", docs, "bin")
    exact = queries @ docs.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(docs, axis=1)
    meant = (exact >= 0.5).sum()
    found = {on: store.range_search(queries, min_score=0.5, calibrated=on) for on in (False, True)}
    counts = {on: sum(len(one.rows) for one in found[on]) for on in found}
    assert meant > 100 and abs(counts[True] - meant) < 0.4 * meant
    assert abs(counts[True] - meant) < abs(counts[False] - meant)
    assert min(one.scores.min(initial=1) for one in found[True]) >= 0.5 - 1e-6


def test_what_a_map_does_not_cover_is_refused(tmp_path, docs):
    store = make(tmp_path / "d.vecs", docs[:500], "bin/sq:8")
    with pytest.raises(OptionError, match="no other metric"):
        store.search(docs[0], calibrated=True, metric="dot")
    with pytest.raises(OptionError, match="no rescore=0"):
        store.search(docs[0], calibrated=True, rescore=0)
    codec = vecstore.codec("sq:8").fit(docs[:500])
    with vecstore.Writer(tmp_path / "w.vecs", codec) as writer:
        writer.add(docs[:500])
    with pytest.raises(OptionError, match="holds no map"):
        vecstore.open(tmp_path / "w.vecs").search(docs[0], calibrated=True)


@pytest.mark.parametrize(
    "given",
    [
        7,
        {},
        {"metric": "cosine", "compressed": [], "original": []},
        {"metric": ["cosine"], "compressed": [0.1], "original": [0.1]},
        {"metric": "cosine", "compressed": [0.1, 0.1], "original": [0.1, 0.2]},
        {"metric": "cosine", "compressed": [0.1, 0.2], "original": [0.2, 0.1]},
        {"metric": "cosine", "compressed": [0.1, 0.2], "original": [0.1]},
        {"metric": "cosine", "compressed": [0.1, float("nan")], "original": [0.1, 0.2]},
        {"metric": "cosine", "compressed": [10**400], "original": [0.1]},
        {"metric": "cosine", "compressed": [True], "original": ["x"]},
        {"metric": "cosine", "compressed": list(range(2000)), "original": list(range(2000))},
    ],
)
def test_a_damaged_map_is_refused(given):
    with pytest.raises(CorruptError, match="calibration"):
        Calibration.from_dict(given, "x.vecs")
