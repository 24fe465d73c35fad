"""Columns on the command line: kept, told, filtered by, shown and written back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vecstore

ROWS = 300


@pytest.fixture
def store(tmp_path: Path, good) -> Path:
    x = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    table = {
        "key": [f"key {i}" for i in range(ROWS)],
        "vector": list(x),
        "section": [("net", "python")[i % 2] for i in range(ROWS)],
        "size": pa.array([None if i == 9 else i for i in range(ROWS)]),
        "tags": [["free", "large"][: i % 3] for i in range(ROWS)],
        "made": pa.array(range(ROWS), pa.timestamp("s")),
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    good(
        "convert", tmp_path / "a.parquet", tmp_path / "a.vecs", "--columns", "section,size, tags,made", "--codec", "f32"
    )
    return tmp_path / "a.vecs"


def test_columns_from_a_dump_and_back(store: Path, good, fails, tmp_path: Path) -> None:
    told = good("info", store).stdout
    assert "list of strings" in told and "int64, 1 null" in told
    for name, read in (("b.parquet", pq.read_table), ("b.arrow", lambda path: pa.ipc.open_file(path).read_all())):
        good("export", store, tmp_path / name, "--columns", "tags,size,section")
        found, given = read(tmp_path / name), pq.read_table(tmp_path / "a.parquet")
        assert found.column_names == ["key", "vector", "tags", "size", "section"]
        for column in ("tags", "size", "section"):
            assert found[column].to_pylist() == given[column].to_pylist()
    assert "npy holds keys and vectors alone" in fails("export", store, tmp_path / "b.npy", "--columns", "size")
    assert "did you mean 'size'" in fails("export", store, tmp_path / "c.parquet", "--columns", "sizes")
    assert "did you mean 'size'" in fails("convert", tmp_path / "a.parquet", tmp_path / "c.vecs", "--columns", "sizes")


def test_where(store: Path, good, fails) -> None:
    where = ("--where", "section = 'net' and size < 100 and list_contains(tags, 'large')")
    found = json.loads(
        good("search", store, "--key", "key 8", "-k", "3", *where, "--columns", "size,made", "--json").stdout
    )
    assert found["plan"]["selected"] == 17
    for neighbour in found["results"][0]["neighbours"]:
        assert neighbour["row"] == neighbour["size"] and neighbour["size"] % 6 == 2 and neighbour["size"] != 8
        assert neighbour["made"].startswith("1970-01-01 00:0")
    shown = good("search", store, "--key", "key 8", "-k", "2", *where, "--columns", "section").stdout
    assert "section" in shown and shown.count("net") == 2
    near = good("search", store, "--key", "key 8", "--min-score", "-1", "--all", *where, "--json").stdout
    assert len(json.loads(near)["results"][0]["neighbours"]) == 16
    assert "no column 'secton' (did you mean 'section'?)" in fails(
        "search", store, "--key", "key 8", "--where", "secton = 1"
    )


def test_get(store: Path, good) -> None:
    assert (
        json.loads(good("get", store, "key 9", "key 4", "--columns", "size,tags", "--json").stdout)[0]["size"] is None
    )
    assert "free" in good("get", store, "key 4", "--columns", "tags,size").stdout


def test_columns_of_text_files(good, fails, tmp_path: Path) -> None:
    rows = [
        {"id": f"k{i}", "vector": [i, 1, 2], "n": i if i < 300 else i + 0.5, "tags": ["a"] * (i % 2)}
        | {"s": "x" if i % 3 else None}
        for i in range(400)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [f"{row['id']},{row['n']},{row['s'] or ''},{i},1,2" for i, row in enumerate(rows)]
    (tmp_path / "a.csv").write_text("id,n,s,x,y,z\n" + "\n".join(lines) + "\n")
    for name, columns in (("a.jsonl", "n,tags,s"), ("a.csv", "n,s")):
        good("convert", tmp_path / name, tmp_path / "a.vecs", "--columns", columns, "--codec", "f32", "--force")
        with vecstore.open(tmp_path / "a.vecs") as store:
            assert store.dimensions == 3
            for column in columns.split(","):
                assert store.columns[column].to_pylist() == [row[column] for row in rows]
        assert "did you mean 'n'" in fails("convert", tmp_path / name, tmp_path / "b.vecs", "--columns", "nn")
