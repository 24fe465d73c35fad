"""Fusion on real texts: it ranks relevant rows as an exact fusion of all rows does, and scores as the fields do."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import vecstore
from vecstore.fields.multi.agreement import maxsim

TERMS = 30522
GIVEN = dict(np.load(Path(__file__).parents[2] / "data" / "multi.npz"))


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x.astype(np.float32), axis=1, keepdims=True)).astype(np.float32)


def side(name: str) -> tuple[list[np.ndarray], np.ndarray, scipy.sparse.csr_array]:
    """Return token vectors, dense vectors and sparse terms of documents or queries."""
    ends = np.cumsum(GIVEN[f"{name}_counts"].astype(np.int64))
    entries = GIVEN[f"{name}_weights"].astype(np.float64), *(GIVEN[f"{name}_{part}"] for part in ("terms", "indptr"))
    terms = scipy.sparse.csr_array(entries, shape=(len(ends), TERMS))
    return np.split(unit(GIVEN[f"{name}_tokens"]), ends[:-1]), unit(GIVEN[f"{name}_dense"]), terms


TOKENS, DENSE, SPARSE = side("docs")
QUERY_TOKENS, QUERY_DENSE, QUERY_SPARSE = side("queries")
TRAINING = np.setdiff1d(np.arange(len(DENSE)), GIVEN["relevant"])[::2]  # codecs see these rows, the store has others
ROWS = np.setdiff1d(np.arange(len(DENSE)), TRAINING)
RELEVANT = np.searchsorted(ROWS, GIVEN["relevant"])
FIELDS = ("dense", "terms", "tokens")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> vecstore.Store:
    path = tmp_path_factory.mktemp("texts") / "a.vecs"
    codec = vecstore.codec("tcq:16").fit(np.concatenate([TOKENS[row] for row in TRAINING]))
    fields = {
        "terms": vecstore.Sparse(SPARSE[ROWS]),
        "tokens": vecstore.Multi([TOKENS[row] for row in ROWS], codec=codec),
    }
    dense = vecstore.codec("sq:8").fit(DENSE[TRAINING])
    vecstore.write(path, DENSE[ROWS], codec=dense, metric="dot", fields=fields)
    return vecstore.open(path)


def asked(query: int) -> dict:
    terms = QUERY_SPARSE[[query]]
    own = dict(zip(terms.indices.tolist(), terms.data.tolist(), strict=True))
    return {"dense": QUERY_DENSE[query], "terms": own, "tokens": QUERY_TOKENS[query]}


def exact(query: int) -> dict[str, np.ndarray]:
    """Return what every row scores in each field, of vectors and weights as they were given."""
    every, counts = np.concatenate([TOKENS[row] for row in ROWS]), np.array([len(TOKENS[row]) for row in ROWS])
    tokens = maxsim(QUERY_TOKENS[query], every, counts)
    terms = (SPARSE[ROWS] @ QUERY_SPARSE[[query]].T).toarray()[:, 0]
    return {"dense": DENSE[ROWS] @ QUERY_DENSE[query], "terms": terms, "tokens": tokens}


def reciprocal(found: list[np.ndarray]) -> float:
    """Return the mean reciprocal rank of the relevant row among the ten best."""
    places = [np.flatnonzero(rows[:10] == row) for rows, row in zip(found, RELEVANT, strict=True)]
    return float(np.mean([1 / (1 + place[0]) if len(place) else 0 for place in places]))


@pytest.mark.parametrize("names", [FIELDS[:2], FIELDS], ids=" ".join)
@pytest.mark.parametrize("ranks", [False, True], ids=["sum", "rrf"])
def test_relevant_rows_rank_as_by_exact_fusion(store: vecstore.Store, names: tuple[str, ...], ranks: bool) -> None:
    every = [{name: own for name, own in exact(query).items() if name in names} for query in range(len(RELEVANT))]
    weights = {name: 1 / float(np.mean([own[name].std() for own in every])) for name in names}
    search = partial(store.search, k=10, fuse="rrf" if ranks else weights, candidates=40)
    found = [search({name: asked(query)[name] for name in names}).rows for query in range(len(RELEVANT))]
    best = []
    for own in every:
        parts = {name: 1 / (61 + np.argsort(np.argsort(-part, kind="stable"))) for name, part in own.items()}
        total = sum(parts.values()) if ranks else sum(weights[name] * own[name] for name in names)
        best.append(np.argsort(-total, kind="stable"))
    assert reciprocal(best) > 0.6
    assert reciprocal(found) >= reciprocal(best) - 0.005


def test_tokens_score_as_maxsim_does(store: vecstore.Store) -> None:
    for query in range(5):
        found = store.search(asked(query), 5, fuse="rrf")
        np.testing.assert_allclose(found.by_field["tokens"], store.maxsim(QUERY_TOKENS[query], found.keys), rtol=1e-6)
