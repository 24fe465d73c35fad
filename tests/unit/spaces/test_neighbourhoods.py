"""Hubs and corrected similarities, beside plain formulas and those of scikit-hubness (0.21)."""

from __future__ import annotations

import numpy as np
import pytest
from samples import glove
from scipy import stats

import vecstore
from vecstore.errors import CorruptError, OptionError
from vecstore.spaces import Map, Neighbourhoods, align, hubness

K = 7


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def corrected(by, cosines, near_a, near_b):
    """Return what scikit-hubness' LocalScaling and MutualProximity give, less from one; and CSLS."""
    if by == "csls":
        return 2 * cosines - near_a.mean(axis=1)[:, None] - near_b.mean(axis=1)
    d, far_a, far_b = 1 - cosines, 1 - near_a, 1 - near_b
    if by == "local":
        return np.exp(-(d**2) / np.outer(far_a[:, -1], far_b[:, -1]))
    tails = [
        stats.norm.sf(d, far_a.mean(axis=1)[:, None], far_a.std(axis=1)[:, None]),
        stats.norm.sf(d, far_b.mean(axis=1), far_b.std(axis=1)),
    ]
    return tails[0] * tails[1]


@pytest.mark.parametrize("by", ["csls", "local", "mutual"])
def test_two_spaces(spaces, by, tmp_path):
    a, b = spaces
    there = align(a, b)
    found = Neighbourhoods(a, b, K, map=there)
    x, y = unit(np.asarray(a.vectors)) @ there.matrix, unit(np.asarray(b.vectors))
    cosines = x.astype(np.float64) @ y.T
    near_b = -np.sort(-cosines.T, axis=1)[:, :K]
    np.testing.assert_allclose(found.near, near_b, atol=1e-5)
    queries = a.vectors[:20]
    near_a = -np.sort(-cosines[:20], axis=1)[:, :K]
    expected = corrected(by, cosines[:20], near_a, near_b)
    np.testing.assert_allclose(found.scores(queries, by=by), expected, atol=1e-4 if by == "local" else 3e-5)
    best = found.search(queries, 4, by=by)
    np.testing.assert_allclose(best.scores, -np.sort(-expected, axis=1)[:, :4], atol=1e-4)
    assert best.keys[3][0] == b.keys[best.rows[3, 0]]
    assert found.search(a["king"], 1, by=by).keys == ["king"]
    found.save(tmp_path / "near.vecs")
    again = Neighbourhoods.open(tmp_path / "near.vecs", b)
    np.testing.assert_array_equal(again.scores(queries, by=by), found.scores(queries, by=by))
    with pytest.raises(OptionError, match="another store"):
        Neighbourhoods.open(tmp_path / "near.vecs", a)
    with pytest.raises(OptionError, match="'shard'"):
        Neighbourhoods.open(b.path, b)
    with pytest.raises(vecstore.errors.FormatError, match="neighbourhoods"):
        vecstore.open(tmp_path / "near.vecs")


def test_one_space(spaces):
    a, _ = spaces
    found = Neighbourhoods(a, a, K)
    x = unit(np.asarray(a.vectors)).astype(np.float64)
    cosines = x @ x.T
    np.fill_diagonal(cosines, -2)
    near = -np.sort(-cosines, axis=1)[:, :K]
    np.testing.assert_allclose(found.near, near, atol=1e-5)
    scores = found.scores(a.vectors[:9], own=np.arange(9))
    np.testing.assert_allclose(scores, corrected("csls", x[:9] @ x.T, near[:9], near), atol=3e-5)


def test_hubs_become_fewer(tmp_path):
    """Gaussian vectors of many dimensions have hubs; CSLS takes places from them."""
    x = np.random.default_rng(0).normal(size=(1000, 60)).astype(np.float32) + 0.3
    vecstore.write(tmp_path / "a.vecs", x, codec="f32")
    with vecstore.open(tmp_path / "a.vecs") as store:
        before = hubness(store, 10)
        found = Neighbourhoods(store, store, 10)
        rows = found.search(x, 11, own=np.arange(1000)).rows
        counts = np.bincount(rows[rows != np.arange(1000)[:, None]], minlength=1000)
        assert stats.skew(counts) < 0.6 * before.skewness and before.skewness > 1


def test_hubness_is_that_of_its_formulas(make_store):
    with vecstore.open(make_store("f32", rows=1000)) as store:
        x = unit(np.asarray(store.vectors)).astype(np.float64)
        found, few = hubness(store, 5), hubness(store, 5, queries=100)
    cosines = x @ x.T
    np.fill_diagonal(cosines, -2)
    counts = np.bincount(np.argsort(-cosines, axis=1)[:, :5].ravel(), minlength=1000)
    np.testing.assert_array_equal(found.counts, counts)
    assert found.skewness == pytest.approx(stats.skew(counts), abs=1e-9)
    assert found.robin_hood == pytest.approx(np.abs(counts - 5).sum() / 2 / 5000)
    assert found.antihubs == (counts == 0).mean()
    assert found.hubs == pytest.approx(counts[counts >= 10].sum() / 5000)
    assert few.counts.sum() == 500


def test_what_is_refused(spaces, make_store):
    a, b = spaces
    with pytest.raises(OptionError, match="orthogonal"):
        Neighbourhoods(a, b, map=Map(2 * np.eye(50)))
    with pytest.raises(OptionError):
        Neighbourhoods(a, b, 0)
    with pytest.raises(OptionError):
        hubness(a, 1500)
    with pytest.raises(OptionError, match="csls"):
        Neighbourhoods(a, b, 2).scores(glove(1)[0], by="nicdm")


def test_numbers_of_a_file_are_not_trusted(spaces, tmp_path):
    a, b = spaces
    found = Neighbourhoods(a, b, 2)
    found.near[3, 1] = np.nan
    found.save(tmp_path / "near.vecs")
    with pytest.raises(CorruptError, match="out of range"):
        Neighbourhoods.open(tmp_path / "near.vecs", b)
