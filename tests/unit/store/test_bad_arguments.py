"""Arguments that are no good are named, whatever they are."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.formats.opener import open_dump

import vecstore
from vecstore.errors import FormatError, KeyNotFoundError, OptionError, ShapeError

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


@pytest.fixture(params=["hash:9", "f32"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    vecstore.write(tmp_path / "a.vecs", X, [f"key {i}" for i in range(40)], request.param, accept_dominated=True)
    return vecstore.open(tmp_path / "a.vecs")


@pytest.mark.parametrize("keys", [[5], [None], ["key 1", b"key 2"], [("a",)], ["\ud800"], [1.5]])
def test_keys_of_another_type(store: Any, keys: list[Any]) -> None:
    with pytest.raises(KeyNotFoundError):
        store.lookup(keys)
    assert store.rows_of(keys)[-1] == -1


def test_one_key_where_several_are_meant(store: Any) -> None:
    with pytest.raises(OptionError, match=r"write \[5\]"):
        store.rows_of(5)


def test_the_row_of_a_missing_key_is_no_row(store: Any) -> None:
    rows = store.rows_of(["key 3", "none"])
    assert store.key_of(rows[0]) == "key 3"
    for row, reason in ((-1, "rows_of gives -1 for a key"), (40, "row 40 of a store with 40 rows$")):
        with pytest.raises(IndexError, match=reason):
            store.key_of(row)
    with pytest.raises(OptionError, match=r"rows_of gives -1 .* rows\[rows >= 0\]"):
        store.search(X[0], rows=rows)
    assert store.search(X[0], rows=rows[rows >= 0]).keys == ["key 3"]


@pytest.mark.parametrize("queries", [[[1, 2], [1, 2, 3]], [[1, 2, 3, 4], 5], ["a"], None])
def test_queries_that_are_no_vectors(store: Any, queries: Any) -> None:
    for use in (store.search, lambda given: store.range_search(given, min_score=0.5)):
        with pytest.raises(ShapeError):
            use(queries)


@pytest.mark.parametrize("limit", ["x", np.nan, np.inf, None, True, [1], 10**400], ids=lambda limit: str(limit)[:9])
def test_limits_that_are_no_numbers(store: Any, limit: Any) -> None:
    with pytest.raises(OptionError):
        store.range_search(X[0], min_score=limit)
    if limit is not None:
        with pytest.raises(OptionError):
            store.search(X[0], recall=limit)


def test_a_destination_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.vecs"))
    vecstore.write(path, X, codec="f32")
    with vecstore.open(path) as store:
        np.testing.assert_array_equal(np.asarray(store.vectors), X)


def test_an_archive_with_an_array_twice(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "vectors.npy")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.write(tmp_path / "x.npy", "vectors.npy")
    with pytest.raises(FormatError, match="same name twice"):
        open_dump(tmp_path / "a.npz")


def test_an_empty_line_is_no_key(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X[:3])
    (tmp_path / "keys.txt").write_text("a\n\nc\n")
    (batch,) = open_dump(tmp_path / "x.npy", keys=tmp_path / "keys.txt").batches()
    assert batch.problems == {1: "keys.txt, line 2: no key, the line is empty"}
