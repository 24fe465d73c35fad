"""Searches by several fields: every candidate is scored in each, and what is certain is what numpy finds."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import vecstore
from vecstore.errors import OptionError, ShapeError

ROWS, TERMS, D = 700, 60, 8


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    there = rng.random((ROWS, TERMS)) < 0.1
    terms = scipy.sparse.csr_array(np.where(there, rng.gamma(2, 0.4, (ROWS, TERMS)), 0))
    tokens = [rng.normal(size=(i % 5, 6)).astype(np.float32) for i in range(ROWS)]
    fields = {"terms": vecstore.Sparse(terms), "tokens": vecstore.Multi(tokens, codec="f32")}
    path = tmp_path_factory.mktemp("fusion") / "a.vecs"
    columns = {"third": np.arange(ROWS) % 3}
    vecstore.write(path, rng.normal(size=(ROWS, D)), codec="sq:8", fields=fields, columns=columns, metric="dot")
    return path


def query(seed: int = 1) -> dict:
    rng = np.random.default_rng(seed)
    terms = dict(zip(rng.choice(TERMS, 12, False).tolist(), rng.random(12).tolist(), strict=True))
    return {"dense": rng.normal(size=D).astype(np.float32), "terms": terms, "tokens": rng.normal(size=(3, 6))}


def scores(store: vecstore.Store, asked: dict) -> dict[str, np.ndarray]:
    """Return what every row scores in each field, by plain numpy; NaN where nothing."""
    found = {"dense": store.vectors[:] @ asked["dense"]}
    terms = np.zeros((ROWS, TERMS))
    for row, item in enumerate(store.field("terms").of_rows(range(ROWS))):
        terms[row, list(item)] = list(item.values())
    full = np.zeros(TERMS)
    full[list(asked["terms"])] = np.array(list(asked["terms"].values()), np.float32)
    found["terms"] = terms @ full
    found["terms"][found["terms"] == 0] = np.nan
    items = store.field("tokens").of_rows(range(ROWS))
    found["tokens"] = np.array([(asked["tokens"] @ x.T).max(axis=1).sum() if len(x) else np.nan for x in items])
    return found


def fused(all_scores: dict[str, np.ndarray], weights: dict[str, float] | None) -> np.ndarray:
    total = np.zeros(ROWS)
    for name, own in all_scores.items():
        if weights is None:
            rank = np.empty(ROWS)
            rank[np.lexsort((np.arange(ROWS), -own))] = np.arange(1, ROWS + 1)
            total += np.where(np.isnan(own), 0, 1 / (60 + rank))
        else:
            total += weights[name] * np.nan_to_num(own)
    return total


@pytest.mark.parametrize("weights", [None, {"dense": 1.0, "terms": 0.3}, {"dense": 0.2, "terms": 2}], ids=str)
def test_what_is_certain_is_what_numpy_finds(path: Path, weights: dict | None) -> None:
    certain = 0
    with vecstore.open(path) as store:
        for seed in range(20):
            asked = {name: given for name, given in query(seed).items() if name != "tokens"}
            found = store.search(asked, 5, fuse=weights or "rrf")
            every = scores(store, query(seed))
            total = fused({name: every[name] for name in asked}, weights)
            for name, own in found.by_field.items():
                np.testing.assert_allclose(own, every[name][found.rows], rtol=1e-5, atol=1e-5)
            if found.certain:
                assert set(found.rows) == set(np.lexsort((np.arange(ROWS), -total))[:5])
            if weights is not None:
                np.testing.assert_allclose(found.scores, total[found.rows], rtol=1e-5)
            certain += found.certain
    assert certain == 20 if weights else certain > 0


def test_more_candidates_until_certain(path: Path) -> None:
    asked = {name: given for name, given in query().items() if name != "tokens"}
    with vecstore.open(path) as store:
        some = store.search(asked, 5, fuse={"dense": 1, "terms": 1}, candidates=5)
        more = store.search(asked, 5, fuse={"dense": 1, "terms": 1})
        assert some.candidates <= 10 < more.candidates and more.certain and not some.certain
        assert not store.search(asked, 5, fuse={"dense": 1, "terms": -1}, candidates=5).certain
        assert not store.search(asked, 5, fuse={"dense": 1, "terms": 1}, alpha=0.5, candidates=5).certain


def test_tokens_are_scored(path: Path) -> None:
    with vecstore.open(path) as store:
        found, every = store.search(query(), 5, fuse={"dense": 1, "terms": 1, "tokens": 0.5}), scores(store, query())
        assert not found.certain
        np.testing.assert_allclose(found.by_field["tokens"], every["tokens"][found.rows], rtol=1e-4)
        full = store.search(query(), 5, fuse={"dense": 1, "terms": 1, "tokens": 0.5}, candidates=ROWS)
        total = fused(every, {"dense": 1, "terms": 1, "tokens": 0.5})
        assert full.certain and full.rows.tolist() == np.argsort(-total)[:5].tolist()


def test_batches_filters_and_pickles(path: Path) -> None:
    several = [query(seed) for seed in range(6)]
    batch = {name: [one[name] for one in several] for name in ("dense", "terms")}
    with vecstore.open(path) as store:
        found = store.search(batch, 5, fuse="rrf", where="third = 1", exclude=[1])
        assert len(found) == 6 and found.certain.shape == (6,) and found.by_field["terms"].shape == found.rows.shape
        for one, asked in zip(found, several, strict=True):
            alone = store.search({name: asked[name] for name in batch}, 5, fuse="rrf", where="third = 1", exclude=[1])
            assert one.rows.tolist() == alone.rows.tolist() and one.certain == alone.certain
            assert all(row % 3 == 1 and row != 1 for row in one.rows)
            assert one.keys == alone.keys and one.by_field.keys() == alone.by_field.keys()
        again = pickle.loads(pickle.dumps(found))
        assert (again.rows == found.rows).all() and (again.certain == found.certain).all()
        assert found[0].columns["third"].to_pylist() == [1] * 5 and found.to_pandas().shape[0] == 30


def test_one_field_alone(path: Path) -> None:
    with vecstore.open(path) as store:
        found, plain = store.search({"dense": query()["dense"]}, 7), store.search(query()["dense"], 7)
        assert found.rows.tolist() == plain.rows.tolist() and found.certain
        np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-6)
        near = store.search({"dense": query()["dense"]}, 7, metric="l2")
        np.testing.assert_allclose(near.scores, store.search(query()["dense"], 7, metric="l2").scores, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ({}, {}, "queries by field are named"),
        ({"dense": np.ones(D), "terms": {1: 1.0}}, {}, "fuse is"),
        ({"dense": np.ones(D), "terms": {1: 1.0}}, {"fuse": {"dense": 1}}, "'terms' needs a weight"),
        ({"terms": {1: 1.0}}, {"fuse": {"term": 1}}, "no query for 'term'"),
        ({"terms": {1: 1.0}}, {"fuse": {"terms": np.nan}}, "finite"),
        ({"term": {1: 1.0}}, {}, "no field 'term'"),
        ({"terms": {1: 1.0}}, {"k": 0}, "k is a positive"),
        ({"terms": {1: 1.0}}, {"candidates": -1}, "candidates is a positive"),
        ({"terms": {1: 1.0}}, {"min_score": 0.5}, "takes no min_score"),
        ({"dense": np.ones(D)}, {"metric": "hamming"}, "hamming"),
        ({"tokens": np.ones((3, 6))}, {}, "field='tokens'"),
    ],
)
def test_what_is_refused(path: Path, given: dict, options: dict, told: str) -> None:
    with vecstore.open(path) as store, pytest.raises(OptionError, match=told):
        store.search(given, **options)


def test_other_refusals(path: Path) -> None:
    with vecstore.open(path) as store:
        with pytest.raises(OptionError, match="for queries by field"):
            store.search(np.ones(D), fuse="rrf")
        with pytest.raises(ShapeError, match="as many queries of every field"):
            store.search({"dense": np.ones((2, D)), "terms": {1: 1.0}}, fuse="rrf")
