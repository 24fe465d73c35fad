"""Fused searches of stores of many shards, edited ones, and under filters: scores of each field are those of that field
alone, and no row is found that may not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore

ROWS, D = 240, 16
RNG = np.random.default_rng(11)
X = RNG.normal(size=(ROWS, D)).astype(np.float32)
TOKENS = [RNG.normal(size=(int(size), 8)).astype(np.float32) for size in RNG.integers(0, 7, ROWS)]
TERMS = [{int(term): float(RNG.uniform(0.2, 1)) for term in RNG.permutation(40)[: i % 9]} for i in range(ROWS)]
IMAGES = RNG.normal(size=(ROWS, 12)).astype(np.float32)
KEYS = [f"k{i}" for i in range(ROWS)]
QUERY, WEIGHTS = RNG.normal(size=(4, 8)), {1: 1.0, 7: 0.5, 20: 2.0}
ASKED = {"dense": X[3] + 0.1, "terms": WEIGHTS, "tokens": QUERY, "image": -IMAGES[9]}
NAMES = [("dense", "tokens"), ("terms", "tokens"), ("dense", "terms", "tokens", "image")]


def fields(rows: slice, token_codec: str = "sq:8") -> dict:
    return {
        "tokens": vecstore.Multi(TOKENS[rows], codec=token_codec),
        "terms": vecstore.Sparse(TERMS[rows]),
        "image": vecstore.Dense(IMAGES[rows], codec="sq:8"),
    }


@pytest.fixture(scope="module", params=["one", "shards", "edited", "trellis"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fused") / "a.vecs"
    columns = {"third": np.arange(ROWS) % 3}
    if request.param == "one":
        vecstore.write(path, X, KEYS, "sq:8", columns=columns, fields=fields(slice(None)))
    elif request.param == "trellis":
        vecstore.write(
            path, X, KEYS, "tcq:12", columns=columns, fields=fields(slice(None), "tcq:6"), shard_bytes=200_000
        )
    elif request.param == "shards":
        vecstore.write(path, X, KEYS, "sq:8", columns=columns, fields=fields(slice(None)), shard_bytes=200_000)
    else:
        first = slice(0, 150)
        some = {"third": columns["third"][first]}
        vecstore.write(path, X[first], KEYS[first], "sq:8", columns=some, fields=fields(first), shard_bytes=200_000)
        with vecstore.edit(path) as e:
            rest = slice(150, ROWS)
            given = {"tokens": TOKENS[rest], "terms": TERMS[rest], "image": IMAGES[rest]}
            e.append(X[rest], KEYS[rest], columns={"third": columns["third"][rest]}, fields=given)
            e.delete([KEYS[5], KEYS[170]])
    return path


@pytest.mark.parametrize("names", NAMES, ids="+".join)
@pytest.mark.parametrize("where", [None, "third = 1"])
@pytest.mark.parametrize("fuse", ["rrf", "sum"])
def test_fields_score_as_they_do_alone(path: Path, names: tuple[str, ...], where: str | None, fuse: str) -> None:
    weights = "rrf" if fuse == "rrf" else {name: 1 / (1 + at) for at, name in enumerate(names)}
    with vecstore.open(path) as store:
        found = store.search({name: ASKED[name] for name in names}, 6, fuse=weights, where=where)
        assert len(found) == 6 and len(set(found.keys)) == 6
        deleted = {key for key in KEYS if key not in store}
        assert not deleted & set(found.keys)
        numbers = [int(key[1:]) for key in found.keys]
        assert where is None or all(number % 3 == 1 for number in numbers)
        alone = {
            "dense": store.scores(ASKED["dense"], found.rows),
            "tokens": [_maxsim(store.field("tokens")[key]) for key in found.keys],
            "terms": [_product(store.field("terms")[key]) for key in found.keys],
            "image": [_cosine(store.field("image")[key]) for key in found.keys],
        }
        for name in names:
            np.testing.assert_allclose(found.by_field[name], alone[name], rtol=1e-4, atol=1e-4)
        if fuse == "sum":
            total = sum(weights[name] * np.nan_to_num(found.by_field[name]) for name in names)
            np.testing.assert_allclose(found.scores, total, rtol=1e-4, atol=1e-4)
        assert (np.diff(found.scores) <= 1e-6).all()


def _maxsim(tokens: np.ndarray) -> float:
    return float((QUERY @ tokens.T).max(axis=1).sum()) if len(tokens) else np.nan


def _product(terms: dict[int, float]) -> float:
    return sum(weight * terms.get(term, 0) for term, weight in WEIGHTS.items()) or np.nan


def _cosine(image: np.ndarray) -> float:
    query = -IMAGES[9]
    return float(image @ query / np.linalg.norm(image) / np.linalg.norm(query))
