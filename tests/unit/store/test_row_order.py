"""Row numbers are the dump's, unless someone asked otherwise; then the store says so and takes only its own."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError
from vecstore.store.numbering import Numbering
from vecstore.store.own_rows import OwnRows
from vecstore.store.store import Store
from vecstore.tuning.candidates import FAMILIES

GOLDEN = Path(__file__).parents[2] / "compat" / "1.2" / "cells.vecs"
ANY_ORDER = {"keep_order": False}


@pytest.fixture
def write(tmp_path: Path, docs: np.ndarray, doc_keys: list[str]) -> Callable[..., Store]:
    def written(codec: str | None = "cells:12,sq:8", **options: Any) -> Store:
        given = {"vectors": docs, "keys": doc_keys} | options
        vecstore.write(tmp_path / "docs.vecs", codec=codec, **given)
        return vecstore.open(tmp_path / "docs.vecs")

    return written


def nearest(docs: np.ndarray, queries: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Return the ten nearest rows of the dump for each query, (q, 10), by exact cosine."""
    scores = queries @ docs.T
    if among is not None:
        scores[:, ~among] = -np.inf
    return np.argsort(-scores, axis=1)[:, :10]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(found, truth, strict=True)]))


def test_rows_that_a_tuned_store_finds_are_those_of_the_dump(monkeypatch, write, docs, doc_keys, queries):
    """Tuning chose cells for this budget, and row numbers meant other vectors than in the file."""
    (family,) = (family for family in FAMILIES if family.name == "opq x4")
    monkeypatch.setattr("vecstore.tuning.tuner.FAMILIES", (family,))
    monkeypatch.setattr("vecstore.tuning.evaluation.SuccessiveHalving._preferred", lambda self, kept: kept[-1])
    store = write(None, budget=600)
    assert store.info()["codec"].startswith("cells:") and not store.renumbered
    found = store.search(queries)
    truth = nearest(docs, queries)
    assert recall(found.rows, truth) > 0.8
    assert [[doc_keys[row] for row in rows] for rows in found.rows.tolist()] == found.keys
    assert np.mean([store.vectors[row] @ docs[row] for row in range(0, 2000, 97)]) > 0.9
    mask = np.arange(2000) % 10 == 3
    some = store.search(queries, rows=mask)
    assert (some.rows % 10 == 3).all() and recall(some.rows, nearest(docs, queries, mask)) > 0.8
    assert store.keys[5] == doc_keys[5] and type(found.rows) is np.ndarray and "order" not in repr(store)


@pytest.mark.parametrize("shard_bytes", [None, 400_000])
def test_a_store_in_another_order_says_so(write, shard_bytes):
    store = write(**ANY_ORDER, shard_bytes=shard_bytes)
    assert store.renumbered and store.info()["row_order"] == "cells"
    assert repr(store).endswith("cosine, rows in the order of cells, not the dump's>")


def test_a_store_in_another_order_takes_no_rows_of_the_dump(write, doc_keys, queries):
    store = write(**ANY_ORDER)
    for given in (range(500), np.arange(2000) < 500, [3], np.array([3], np.uint32)):
        for name in ("rows", "exclude"):
            with pytest.raises(
                OptionError, match=rf"^{name}: .* lie in the order of cells, .* give {name}=store.rows_of\(keys\)"
            ):
                store.search(queries[0], **{name: given})
            with pytest.raises(OptionError, match="lie in the order of cells"):
                store.range_search(queries[0], min_score=0.5, **{name: given})
    assert store.search(queries[0], rows=[]).keys == []


def test_a_store_in_another_order_takes_rows_that_it_gave(write, doc_keys, queries):
    store = write(**ANY_ORDER)
    some = doc_keys[:500]
    assert set(store.search(queries[0], 500, rows=store.rows_of(some)).keys) == set(some)
    found = store.search(queries[0])
    for own in (found.rows, found.rows[::2], found.rows[found.scores > 0], pickle.loads(pickle.dumps(found.rows))):
        again = store.search(queries[0], len(own), rows=own)
        assert set(again.rows.tolist()) == set(own.tolist())
    batch = store.search(queries)
    assert not set(store.search(queries[0], exclude=batch.rows[0]).keys) & set(batch.keys[0])
    assert not set(store.search(queries[1], exclude=batch.each()[1].rows).keys) & set(batch.keys[1])
    within = store.range_search(queries[0], min_score=float(found.scores[4]))
    assert store.search(queries[0], len(within.rows), rows=within.rows).keys == within.keys
    key = found.keys[0]
    assert key not in [other for other, _ in store.most_similar(key)]
    np.testing.assert_array_equal(store.vectors[found.rows], store[found.keys])
    assert store.keys[found.rows] == found.keys


def test_what_is_computed_from_own_rows_is_not_own():
    own = np.array([3, 1, 2]).view(OwnRows)
    for made in (own + 1, own >= 2, own[own > 1] * 2):
        assert type(made) is np.ndarray
    assert isinstance(own[own > 1], OwnRows) and isinstance(own.copy(), OwnRows) and own.max() == 3


def test_a_file_of_an_older_version_in_another_order():
    with vecstore.open(GOLDEN) as store:
        assert store.renumbered and "not the dump's" in repr(store)
        with pytest.raises(OptionError, match="lie in the order of cells"):
            store.search(store.vectors[0], rows=[0])
        keys = store.keys[:3]
        assert set(store.search(store.vectors[0], rows=store.rows_of(keys)).keys) == set(keys)


def test_without_keys_numbers_are_always_kept(tmp_path, docs):
    vecstore.write(tmp_path / "a.vecs", docs, codec="cells:12,sq:8", **ANY_ORDER)
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert not store.renumbered and store.info()["row_order"] == "dump"
        assert store.search(docs[:50], 1, rows=np.arange(50)).rows[:, 0].tolist() == list(range(50))


def test_a_store_by_importance_says_so(write, doc_keys, queries):
    store = write("sq:8", importance=np.arange(2000) % 7 + 1)
    assert store.info()["row_order"] == "importance" and "order of importance" in repr(store)
    assert store.renumbered
    with pytest.raises(OptionError, match=r"importance, not the dump's, .* convert without importance="):
        store.search(queries[0], rows=range(5))
    found = store.search(queries[0], rows=store.rows_of(doc_keys[:5]))
    assert set(found.keys) == set(doc_keys[:5])


@pytest.mark.parametrize("shard_bytes", [None, 400_000])
@pytest.mark.parametrize("codec", ["sq:8", "cells:12,sq:8"])
def test_a_store_without_some_rows_of_the_dump_says_so(write, docs, doc_keys, queries, codec, shard_bytes):
    """Row 10 of the store was row 12 of the dump, and filters took it for the dump's row 10."""
    docs, doc_keys = docs.copy(), list(doc_keys)
    docs[[3, 5]] = np.nan
    doc_keys[20] = doc_keys[19]
    store = write(codec, vectors=docs, keys=doc_keys, shard_bytes=shard_bytes, on_bad="skip", on_duplicate="first")
    about = store.info()
    assert store.renumbered and (about["row_order"], about["left_out"]) == ("dump", 3)
    for shown in (repr(store), store._repr_html_()):
        assert "in the dump's order, 3 left out" in unescape(shown)
    for given in (np.arange(2000) < 500, np.arange(1997) < 500, [10]):
        with pytest.raises(
            OptionError, match=r"^rows: .* 3 left out, .*; give rows=store.rows_of\(keys\), or rows that"
        ):
            store.search(queries[0], rows=given)
    assert store.search(docs[10], k=1, rows=store.rows_of([doc_keys[10]])).keys == [doc_keys[10]]
    assert store.keys[store.search(docs[10], k=1).rows] == [doc_keys[10]]


def test_a_store_without_keys_takes_numbers_that_are_its_own(tmp_path, docs):
    docs = docs.copy()
    docs[3] = np.inf
    report = vecstore.write(tmp_path / "a.vecs", docs, codec="f16", on_bad="skip")
    assert str(report.numbering) == "in the dump's order, 1 left out"
    with vecstore.open(tmp_path / "a.vecs") as store:
        with pytest.raises(OptionError, match=r"give exclude=store.rows_of\(numbers\)"):
            store.search(docs[10], exclude=[9])
        assert store.search(docs[10], 1).keys == [9]
        assert store.search(docs[10], 1, exclude=store.rows_of([9])).keys != [9]


@pytest.mark.parametrize(
    "told", [None, [], {"bad": "3"}, {"bad": True, "duplicates": -1}, {"bad": 1.0, "order": "none"}]
)
def test_provenance_that_is_malformed_says_nothing(write, told):
    store = write("f16")
    store.description["provenance"] = told
    assert Numbering.of(store._snapshot.shards) == Numbering() and Numbering().of_dump


def test_several_stores_as_one_have_the_numbers_of_the_dumps_where_each_has():
    dump, gap = Numbering(), Numbering("dump", 2)
    assert Numbering.joined([dump, dump]) == dump and Numbering.joined([dump, gap]) == gap
    assert Numbering.joined([Numbering("importance", 1), gap, Numbering("cells")]) == Numbering("cells", 3)
