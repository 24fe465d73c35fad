"""What a shell offers for the word that is being typed."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecstore.cli.completion import codec_specs, columns, dump_formats, export_formats, files


@pytest.mark.parametrize(
    ("incomplete", "offered"),
    [
        ("tc", ["tcq"]),
        ("pca:128,s", ["pca:128,sq", "pca:128,subspace"]),
        ("bin/sq:8,zs", ["bin/sq:8,zstd"]),
        ("mi", ["mixed"]),
        ("sq:8,mi", []),
        ("sq:", []),
    ],
)
def test_codecs(incomplete, offered):
    assert codec_specs(incomplete) == offered


def test_formats():
    assert [name for name, _ in dump_formats("word")] == ["word2vec", "word2vec-binary"]
    assert {"npy", "word2vec", "parquet"} < {name for name, _ in export_formats("")}


def test_columns(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0]], "idle": [1]}), tmp_path / "x.parquet")
    assert columns(SimpleNamespace(params={"source": tmp_path / "x.parquet"}), "id") == ["id", "idle"]
    assert columns(SimpleNamespace(params={"source": "nowhere"}), "") == []
    assert columns(SimpleNamespace(params={}), "") == []


def test_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    for name in ("keys.txt", "keys.json", "x.NPY", ".hidden.txt", "keys/more.txt"):
        (tmp_path / name).touch()
    offered = files(".txt", ".npy")
    assert offered("") == ["keys/", "keys.txt", "x.NPY"]
    assert offered("keys/") == offered("keys/m") == ["keys/more.txt"]
    assert offered("keys") == ["keys/", "keys.txt"] and files(".txt")("k") == ["keys/", "keys.txt"]
    assert files(".csv")("k") == ["keys/"] and files(".npy", "more.txt")("k") == ["keys/", "keys/more.txt"]
    assert offered(f"{tmp_path}/x") == [f"{tmp_path}/x.NPY"]
    assert offered(".h") == [".hidden.txt"]
    assert offered("nowhere/") == []


def test_bash():
    """As a shell asks: an environment variable, and the words so far."""
    asked = {"_VECSTORE_COMPLETE": "complete_bash", "COMP_WORDS": "vecstore convert --from parq", "COMP_CWORD": "3"}
    program = "from vecstore.cli.app import app; app(prog_name='vecstore')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | asked)
    assert run.stdout.split() == ["parquet"]
