"""Columns of stores that change: new rows bring them, and compaction carries them along, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import vecstore
from vecstore.errors import OptionError, ShapeError
from vecstore.store.columns import decoded
from vecstore.store.manifest import Manifest

X = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(200)]
TABLE = pa.table(
    {
        "section": [None if i % 7 == 0 else f"part {i % 5}" for i in range(200)],
        "size": pa.array(range(200), pa.int32()),
        "price": [float("nan") if i % 9 == 0 else None if i % 8 == 0 else i / 3 for i in range(200)],
        "text": [f"text of row {i}" for i in range(200)],
        "tags": [None if i % 6 == 0 else [f"tag {i % 4}", "all"] for i in range(200)],
        "made": pa.array(range(200), pa.timestamp("ms", "UTC")),
        "good": [i % 3 == 0 for i in range(200)],
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "items.vecs"
    vecstore.write(found, X[:100], KEYS[:100], "sq:8", columns=TABLE.slice(0, 100), shard_bytes=1 << 20)
    return found


def shown(store: Any) -> Any:
    """Return the columns of living rows by key; NaN and null as they are told apart in text."""
    table = decoded(store.lookup(list(store), columns=TABLE.column_names).columns)
    return {key: repr(row) for key, row in zip(store, table.to_pylist(), strict=True)}


def expected(*rows: int) -> dict[str, str]:
    return {KEYS[row]: repr(TABLE.slice(row, 1).to_pylist()[0]) for row in rows}


@pytest.mark.parametrize("codec", ["sq:8", "cells:4,sq:8"])
def test_new_rows_bring_columns(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "items.vecs"
    options: dict[str, Any] = {"shard_bytes": 1 << 20, "keep_order": codec == "sq:8"}
    vecstore.write(path, X[:100], KEYS[:100], codec, columns=TABLE.slice(0, 100), **options)
    for start in range(100, 190, 10):  # more than are merged at the end of an edit
        own = slice(start, start + 10)
        with vecstore.edit(path, on_drift="ignore") as e:
            e.append(X[own], KEYS[own], columns=TABLE.slice(start, 10))
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[190:195], KEYS[190:195], columns=TABLE.slice(190, 5))
        e.append(X[195:], KEYS[195:], columns=TABLE.slice(195).to_pandas(types_mapper=pd_types()))
        e.upsert(X[[7, 191, 7]], [KEYS[3], KEYS[190], KEYS[3]], columns=TABLE.take([9, 190, 3]))
        e.delete([KEYS[5], KEYS[150], KEYS[192]])
    kept = [i for i in range(200) if i not in (5, 150, 192)]
    with vecstore.open(path) as store:
        assert len(Manifest.read(path).shards) < 5
        assert shown(store) == expected(*kept)
        found = store.search(X[3], 50, where="section = 'part 1' and size >= 150")
        assert sorted(found.keys) == sorted(KEYS[i] for i in kept if i % 7 and i % 5 == 1 and i >= 150)
    assert vecstore.compact(path).after == 1
    with vecstore.open(path) as store:
        assert shown(store) == expected(*kept)
        assert {each["name"]: each["type"] for each in store.info()["columns"]}["size"] == "int32"
        store.verify(deep=True)


def pd_types() -> Any:
    return pytest.importorskip("pandas").ArrowDtype


def test_what_is_missing_is_null(path: Path) -> None:
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[100:102], KEYS[100:102])
        e.append(X[102:104], KEYS[102:104], columns={"size": [7, None], "tags": [["new"], None]})
        e.upsert(X[:1], KEYS[:1], columns={})
    with vecstore.open(path) as store:
        rows = store.lookup([*KEYS[100:104], KEYS[0]], columns=["size", "tags", "text"]).columns.to_pylist()
        assert [row["size"] for row in rows] == [None, None, 7, None, None]
        assert rows[2]["tags"] == ["new"] and not any(row["text"] for row in rows)
        assert len(store.search(X[0], 200, where="size is null").keys) == 4
    vecstore.compact(path)
    with vecstore.open(path) as store:
        assert sorted(store.search(X[0], 200, where="size is null").keys) == sorted(
            [KEYS[0], KEYS[100], KEYS[101], KEYS[103]]
        )


@pytest.mark.parametrize(
    ("columns", "error", "told"),
    [
        ({"secton": ["a"]}, OptionError, "did you mean 'section'"),
        ({"size": ["many"]}, OptionError, "size"),
        ({"size": [1 << 40]}, OptionError, "size"),
        ({"size": [1, 2]}, ShapeError, "2 rows for 1"),
        (7, OptionError, "columns"),
    ],
)
def test_columns_that_do_not_fit(path: Path, columns: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told), vecstore.edit(path) as e:
        e.append(X[100:101], KEYS[100:101], columns=columns)
    assert vecstore.open(path).generation == 0


def test_a_store_without_columns_takes_none(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "items.vecs", X[:50], None, "sq:8", shard_bytes=1 << 20)
    with pytest.raises(OptionError, match="has none"), vecstore.edit(tmp_path / "items.vecs") as e:
        e.append(X[:1], columns={"size": [1]})


def test_rows_without_keys(tmp_path: Path) -> None:
    path = tmp_path / "items.vecs"
    vecstore.write(path, X[:50], None, "sq:8", columns=TABLE.slice(0, 50), shard_bytes=1 << 20)
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[50:], columns=TABLE.slice(50))
        e.delete_rows([3])
    vecstore.compact(path)
    with vecstore.open(path) as store:
        rows = decoded(store.columns).to_pylist()
        assert [repr(row) for row in rows] == [repr(row) for i, row in enumerate(TABLE.to_pylist()) if i != 3]
