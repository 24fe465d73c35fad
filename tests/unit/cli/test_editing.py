"""The commands that change a store."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vecstore as library

X = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(120)]


@pytest.fixture
def store(tmp_path, vecstore):
    """Return the path of a store of one file, and of a dump with more rows."""
    np.save(tmp_path / "more.npy", X[100:])
    (tmp_path / "more.txt").write_text("\n".join(KEYS[100:]))
    library.write(tmp_path / "items.vecs", X[:100], KEYS[:100])
    return tmp_path / "items.vecs"


def test_a_store_and_its_days(store, tmp_path, vecstore):
    more, keys = str(tmp_path / "more.npy"), str(tmp_path / "more.txt")
    result = vecstore("append", store, more, "--keys", keys)
    assert result.exit_code == 2 and "--to-directory" in result.stderr
    result = vecstore("append", store, more, "--keys", keys, "--to-directory")
    assert result.exit_code == 0 and "20 rows appended: generation 1" in result.stderr
    assert vecstore("append", store, more, "--keys", keys).exit_code == 2
    assert "generation 2" in vecstore("upsert", store, more, "--keys", keys).stderr
    assert vecstore("tag", store, "monday").exit_code == 0
    assert "2 rows deleted" in vecstore("delete", store, "key 3", "key 100", "nobody").stderr
    assert ", and 22 deleted ones" in vecstore("info", store).stdout  # those of the upsert too
    (tmp_path / "gone.txt").write_text("key 5\nkey 6\n")
    assert "generation 4" in vecstore("delete", store, "--file", tmp_path / "gone.txt").stderr
    assert vecstore("delete", store, "nobody", "--missing", "error").exit_code == 2
    assert vecstore("delete", store).exit_code == 2
    found = json.loads(vecstore("versions", store, "--json").stdout)
    assert [(each["generation"], each["rows"], each["tags"]) for each in found] == [
        (0, 100, []),
        (1, 120, []),
        (2, 120, ["monday"]),
        (3, 118, []),
        (4, 116, []),
    ]
    assert "monday" in vecstore("versions", store).stdout
    assert "deleted rows left out" in vecstore("compact", store).stderr
    assert "nothing to do" in vecstore("compact", store).stderr
    assert "generation 6" in vecstore("restore", store, "monday").stderr and len(library.open(store)) == 120
    assert "generation 7" in vecstore("restore", store, "4").stderr and len(library.open(store)) == 116
    assert "0 generations" in vecstore("clean", store).stderr
    assert "removed" in vecstore("clean", store, "--older-than", "0s", "--keep", "1").stderr
    assert vecstore("tag", store, "monday", "--remove").exit_code == 0
    assert vecstore("export", store, tmp_path / "out.npy").exit_code == 0
    assert np.load(tmp_path / "out.npy").shape == (116, 8)


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_columns_of_a_dump_come_along(tmp_path, vecstore, ending):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    sizes, path, dump = pa.array(range(120)), tmp_path / "items.vecs", tmp_path / f"more.{ending}"
    library.write(path, X[:100], KEYS[:100], columns={"size": sizes[:100]}, shard_bytes=1 << 20)
    rows = [{"id": KEYS[i], "vector": X[i].tolist(), "size": i, "other": "x"} for i in range(100, 120)]
    if ending == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), dump)
    elif ending == "jsonl":
        dump.write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = [f'{row["id"]},"{row["vector"]}",{row["size"]},x' for row in rows]
        dump.write_text("\n".join(["id,vector,size,other", *lines]))
    result = vecstore("append", path, dump, "--key-column", "id", "--vector-column", "vector", "--on-drift", "ignore")
    assert result.exit_code == 0, result.stderr
    assert vecstore("upsert", path, dump, "--key-column", "id", "--vector-column", "vector").exit_code == 0
    with library.open(path) as store:
        assert store.lookup(KEYS, columns=["size"]).columns["size"].to_pylist() == list(range(120))
        assert store.columns.column_names == ["size"]


def test_a_certificate_again(store, tmp_path, vecstore):
    more, keys = str(tmp_path / "more.npy"), str(tmp_path / "more.txt")
    result = vecstore("certify", store)
    assert result.exit_code == 2 and "one file" in result.stderr and result.stderr.count("\n") == 1
    vecstore("append", store, more, "--keys", keys, "--to-directory")
    assert "vecstore certify measures again" in vecstore("info", store).stdout
    result = vecstore("certify", store)
    assert result.exit_code == 0 and "by their codes alone" in result.stdout
    assert "stale" not in vecstore("info", store).stdout
    np.save(tmp_path / "all.npy", X)
    (tmp_path / "all.txt").write_text("\n".join(KEYS))
    result = vecstore("certify", store, tmp_path / "all.npy", "--keys", tmp_path / "all.txt")
    assert result.exit_code == 0 and "120 that lived" in result.stdout
    assert "generation 2, measured again" in " ".join(vecstore("info", store).stdout.split())
    found = json.loads(vecstore("certify", store, more, "--keys", keys, "--json", "--queries", more).stdout or "{}")
    assert found == {}  # that dump has no more than 20 of the rows
    result = vecstore("verify", store, "--certificate", tmp_path / "all.npy", "--keys", tmp_path / "all.txt")
    assert result.exit_code == 2 and "certify" in result.stderr
