"""Columns beside the vectors: kept as they were given, wherever a store comes from, or refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vecstore
from vecstore.errors import FormatError, OptionError, ShapeError

ROWS = 500
KEYS = [f"key {i}" for i in range(ROWS)]


def vectors(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float32)


def columns(rows: int = ROWS) -> dict[str, Any]:
    every = range(rows)
    return {
        "section": [f"section {i % 7}" for i in every],
        "title": [None if i % 11 == 3 else f"Titel {i} é" for i in every],
        "size": np.arange(rows) * 3,
        "tiny": np.arange(rows).astype(np.uint8),
        "half": np.arange(rows).astype(np.float16),
        "free": [i % 3 == 0 for i in every],
        "made": pa.array(np.arange(rows) * 10**6, pa.timestamp("us", "UTC")),
        "tags": [None if i % 13 == 2 else [f"tag {j}" for j in range(i % 4)] for i in every],
    }


def plain(given: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: pa.array(values).to_pylist() for name, values in given.items()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"codec": "cells:4,sq:8"},
        {"codec": "cells:4,sq:8", "keep_order": False},
        {"shard_bytes": 330_000},
        {"codec": "sq:8@100+f16"},
        {"importance": np.random.default_rng(1).permutation(ROWS)},
    ],
    ids=lambda options: ",".join(options),
)
def test_every_row_keeps_its_values(tmp_path: Path, options: dict[str, Any]) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(), KEYS, columns=columns(), **({"codec": "sq:8"} | options))
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = store.columns.take(store.rows_of(KEYS))
        assert found.to_pydict() == plain(columns())
        assert store.truncated(4).columns.num_rows == ROWS
        assert store.verify(deep=True)


def test_one_file_is_wrapped_without_copying(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(), KEYS, "sq:8", columns=columns())
    with vecstore.open(tmp_path / "a.vecs") as store:
        data = store._snapshot.shards[0].container.data
        first = data.ctypes.data
        for column in store.columns.columns:
            buffers = [buffer for buffer in column.chunk(0).buffers() if buffer is not None]
            assert all(first <= buffer.address < first + len(data) for buffer in buffers)
        held = store.columns["section"]
    assert held[3].as_py() == "section 3", "it outlives the handle"


def test_what_is_said_of_columns(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(), KEYS, "sq:8", columns=columns())
    with vecstore.open(tmp_path / "a.vecs") as store:
        about = store.info()
    told = {column["name"]: (column["type"], column["nulls"]) for column in about["columns"]}
    assert told == {
        "section": ("string", 0),
        "title": ("string", 46),
        "size": ("int64", 0),
        "tiny": ("uint8", 0),
        "half": ("float16", 0),
        "free": ("bool", 0),
        "made": ("timestamp[us, UTC]", 0),
        "tags": ("list of strings", 39),
    }
    assert about["bytes"]["parts"]["columns"] == sum(column["size_bytes"] for column in about["columns"])


def test_a_store_without_columns_has_an_empty_table(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(), codec="sq:8")
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.columns.num_columns == 0 and store.info()["columns"] == []


def test_files_and_bad_rows(tmp_path: Path) -> None:
    x = vectors()
    x[5] = np.nan
    table = pa.table({"id": [*KEYS[:-1], KEYS[0]], "vector": list(x), **columns()})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        vecstore.convert(
            tmp_path / name,
            tmp_path / "a.vecs",
            "sq:8",
            columns=["tags", "size", "id"],
            on_bad="skip",
            on_duplicate="first",
            force=True,
        )
        with vecstore.open(tmp_path / "a.vecs") as store:
            assert store.columns.column_names == ["tags", "size", "id"] and len(store) == ROWS - 2
            assert store.columns["id"].to_pylist() == list(store)
            assert store.columns["size"].to_pylist() == [3 * i for i in range(ROWS - 1) if i != 5]
        with pytest.raises(FormatError, match=r"no column 'sizes' \(did you mean 'size'\?\)"):
            vecstore.convert(tmp_path / name, tmp_path / "b.vecs", columns=["sizes"])


@pytest.mark.parametrize("frame", ["pandas", "polars", "arrow"])
def test_frames_and_tables(tmp_path: Path, frame: str) -> None:
    beside = {"section": columns()["section"], "size": columns()["size"].tolist()}
    data = {"key": KEYS, "vector": [list(map(float, x)) for x in vectors()], **beside}
    make = {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "arrow": pa.table}[frame]
    vecstore.write(tmp_path / "a.vecs", make(data), codec="sq:8", columns=["section", "size"])
    vecstore.write(tmp_path / "b.vecs", vectors(), KEYS, codec="sq:8", columns=make(beside))
    for name in ("a.vecs", "b.vecs"):
        with vecstore.open(tmp_path / name) as store:
            assert store.columns.to_pydict() == beside
    with pytest.raises(OptionError, match="did you mean 'size'"):
        vecstore.write(tmp_path / "c.vecs", make(data), columns=["sizes"])


def test_writers_take_columns_batch_by_batch(tmp_path: Path) -> None:
    codec = vecstore.codec("sq:8").fit(vectors())
    with vecstore.Writer(tmp_path / "a.vecs", codec) as writer:
        writer.add(vectors(2), ["a", "b"], columns={"x": [1.5, None], "s": ["é", "f"]})
        writer.add(vectors(2), ["c", "d"], columns={"x": [3, 4]})
        with pytest.raises(OptionError, match="all rows or for none"):
            writer.add(vectors(1), ["e"])
        with pytest.raises(OptionError, match="'y' was not there in the first rows"):
            writer.add(vectors(1), ["e"], columns={"y": [1]})
        with pytest.raises(OptionError, match="'x' holds string, which does not become double"):
            writer.add(vectors(1), ["e"], columns={"x": ["many"]})
        with pytest.raises(ShapeError, match="columns of 2 rows for 1 vectors"):
            writer.add(vectors(1), ["e"], columns={"x": [1, 2]})
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.columns.to_pydict() == {"x": [1.5, None, 3, 4], "s": ["é", "f", None, None]}


@pytest.mark.parametrize(
    ("values", "cast"),
    [
        ([Decimal("1.5")], "float64"),
        ([datetime.date(2024, 1, 1)], r"timestamp\[s\]"),
        ([datetime.time(1)], "int64"),
        ([b"raw"], "string"),
        ([[1, 2]], "list<string>"),
        ([{"a": 1}], "flatten"),
    ],
    ids=str,
)
def test_other_types_are_refused_with_what_to_do(tmp_path: Path, values: list[Any], cast: str) -> None:
    with pytest.raises(OptionError, match=f"'x' is .*kept are bool, .*{cast}"):
        vecstore.write(tmp_path / "a.vecs", vectors(1), codec="f32", columns={"x": values})
    assert not (tmp_path / "a.vecs").exists()


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    for columns, message in (
        ({"x": [1, 2]}, "columns of 2 rows for 1 vectors"),
        ({"x": [1], "y": [1, 2]}, "columns: "),
        ({"": [1]}, "names of their own"),
        ({"x": [["a", None]]}, "null among the strings"),
        (7, "give a mapping"),
        (["x"], "names are for data frames and files"),
    ):
        with pytest.raises((OptionError, ShapeError), match=message):
            vecstore.write(tmp_path / "a.vecs", vectors(1), codec="f32", columns=columns)


def test_shards_of_other_columns_and_types(tmp_path: Path) -> None:
    for name, beside in (
        ("a.vecs", {"s": ["x", "y"] * 100, "n": np.arange(200)}),
        ("b.vecs", {"s": [f"own {i}" for i in range(200)], "n": np.arange(200) / 2, "more": [True] * 200}),
        ("c.vecs", {"s": ["y", None] * 100}),
    ):
        vecstore.write(tmp_path / name, vectors(200), [f"{name} {i}" for i in range(200)], "sq:8", columns=beside)
    vecstore.write(
        tmp_path / "d.vecs", vectors(200), [f"d {i}" for i in range(200)], "sq:8", columns={"n": ["x"] * 200}
    )
    with vecstore.open([tmp_path / "a.vecs", tmp_path / "b.vecs", tmp_path / "c.vecs"]) as store:
        found = store.columns.to_pydict()
        assert found["s"] == ["x", "y"] * 100 + [f"own {i}" for i in range(200)] + ["y", None] * 100
        assert found["n"] == [*range(200), *(i / 2 for i in range(200)), *[None] * 200]
        assert found["more"] == [None] * 200 + [True] * 200 + [None] * 200
        assert [column["nulls"] for column in store.info()["columns"]] == [100, 200, 400]
    with vecstore.open([tmp_path / "a.vecs", tmp_path / "c.vecs"]) as store:
        assert pa.types.is_dictionary(store.columns["s"].type), "dictionaries are unified"
        assert len({tuple(chunk.dictionary.to_pylist()) for chunk in store.columns["s"].chunks}) == 1
    with (
        vecstore.open([tmp_path / "a.vecs", tmp_path / "d.vecs"]) as store,
        pytest.raises(OptionError, match="other types"),
    ):
        _ = store.columns
