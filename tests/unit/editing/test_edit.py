"""Edits: what the block does is there afterwards, all of it; what fails leaves the store as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.editing.lock import Lock
from vecstore.errors import (
    BusyError,
    ClosedError,
    CodecError,
    CommitUncertainError,
    ConflictError,
    CorruptError,
    DuplicateKeyError,
    KeyNotFoundError,
    OptionError,
    ShapeError,
)
from vecstore.measure.drift import DriftWarning
from vecstore.store.manifest import Manifest

ROWS, MORE = 400, 90
X = np.random.default_rng(0).normal(size=(ROWS + MORE, 16)).astype(np.float32)
KEYS = {
    "str": [f"key {i}" for i in range(ROWS + MORE)],
    "bytes": [b"key\0%d" % i for i in range(ROWS + MORE)],
    "int64": [(-1) ** i * i**5 for i in range(ROWS + MORE)],
}
SPECS = ["f32", "sq:8", "tcq:8", "pq:4x4", "bin/sq:8", "cells:4,sq:8", "pca:8,f16", "sq:8,zstd"]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def made(spec: str = "sq:8", kind: str | None = "str", **options: Any) -> Path:
        path = tmp_path / "items.vecs"
        vecstore.write(path, X[:ROWS], kind and KEYS[kind][:ROWS], spec, **options)
        with vecstore.edit(path, to_directory=True):
            pass
        assert path.is_dir() and vecstore.open(path).generation == 0
        return path

    return made


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ["str", "bytes", "int64"])
def test_rows_come_and_go(make: Any, spec: str, kind: str) -> None:
    path = make(spec, kind, keep_norms=spec == "sq:8")
    old, keys = vecstore.open(path), KEYS[kind]
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[ROWS:], keys[ROWS:])
        e.upsert(X[:2] + 1, [keys[7], keys[ROWS]])
        assert e.delete([keys[3], keys[ROWS + 1], keys[3]]) == 2
    assert e.generation == 1 and len(old) == ROWS
    new = vecstore.open(path)
    assert len(new) == ROWS + MORE - 2 and keys[3] not in new and keys[ROWS + 1] not in new
    kept = [i for i in range(ROWS + MORE) if i not in (3, 7, ROWS, ROWS + 1)]
    assert list(new) == [*(keys[i] for i in kept), keys[7], keys[ROWS]]
    codec = old.codec
    assert new.codec is new._snapshot.shards[0].codec and len(new._snapshot.prepared.sections) == 1
    if spec != "sq:8":
        expected = codec.decode(codec.encode(np.concatenate([X[kept], X[:2] + 1])))
        np.testing.assert_allclose(new[list(new)], expected, atol=1e-5)
    assert np.array_equal(new[[keys[i] for i in kept if i < ROWS]], old[[keys[i] for i in kept if i < ROWS]])
    assert new.search(new[keys[ROWS + 5]], 1, rescore=0 if "/" in spec else "auto").keys == [keys[ROWS + 5]]
    assert keys[3] not in new.search(old[keys[3]], 5).keys
    new.verify(deep=True)
    assert old.refresh() and list(old) == list(new)


def test_rows_without_keys(make: Any) -> None:
    path = make("sq:8", None)
    with vecstore.edit(path) as e:
        e.append(X[ROWS:])
        assert e.delete_rows([0, 5, 5]) == 2
        with pytest.raises(IndexError, match="deleted"):
            e.delete_rows([5])
        with pytest.raises(OptionError, match="no keys"):
            e.upsert(X[:1], ["a"])
    store = vecstore.open(path)
    assert len(store) == ROWS + MORE - 2 and list(store)[:3] == [1, 2, 3] and 5 not in store
    about = store.info()
    assert (about["rows"], about["deleted"]) == (len(store), 2) and f"{len(store)} x" in repr(store)
    np.testing.assert_allclose(store.vectors[[1, ROWS, ROWS + MORE - 1]], X[[1, ROWS, ROWS + MORE - 1]], atol=0.05)
    with vecstore.edit(path) as e:
        e.delete_rows(np.isin(np.arange(ROWS + MORE), [1, 2]))
        assert e.delete([3, 1, 10_000]) == 1
    assert list(vecstore.open(path))[:2] == [4, 6]


def test_the_last_value_in_an_edit_counts(make: Any) -> None:
    path = make()
    with vecstore.edit(path) as e:
        e.upsert(X[:3], ["a", "b", "a"])
        e.upsert(X[3:4], ["b"])
        e.delete(["a"])
        e.append(X[4:5], ["a"])
        with pytest.raises(DuplicateKeyError, match=r"lives: 'a'; upsert replaces"):
            e.append(X[4:5], ["a"])
        with pytest.raises(DuplicateKeyError, match="comes twice: 'c'"):
            e.append(X[4:6], ["c", "c"])
        e.upsert(X[9:10], ["key 0"])
        e.delete(["key 0", "key 1"])
    store = vecstore.open(path)
    np.testing.assert_allclose(store[["b", "a"]], X[[3, 4]], atol=0.05)
    assert len(store) == ROWS and list(store)[-2:] == ["b", "a"] and "key 0" not in store and "c" not in store


def test_large_edits_are_written_piece_by_piece(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    monkeypatch.setattr("vecstore.editing.edit.FLUSH_BYTES", 64 * 30)
    with vecstore.edit(path) as e:
        e.append(X[ROWS:], KEYS["str"][ROWS:])
        e.upsert(X[:40], KEYS["str"][ROWS : ROWS + 40])
        e.delete(KEYS["str"][ROWS + 35 : ROWS + 50])
        with pytest.raises(DuplicateKeyError):
            e.append(X[:1], KEYS["str"][ROWS + 3 : ROWS + 4])
    store = vecstore.open(path)
    assert len(store) == ROWS + MORE - 15
    np.testing.assert_allclose(store[KEYS["str"][ROWS : ROWS + 35]], X[:35], atol=0.05)
    np.testing.assert_allclose(store[KEYS["str"][ROWS + 50 :]], X[ROWS + 50 :], atol=0.05)
    store.verify()


def test_all_rows_can_go(make: Any) -> None:
    path = make()
    with vecstore.edit(path) as e:
        e.append(X[ROWS:], KEYS["str"][ROWS:])
        assert e.delete(KEYS["str"]) == ROWS + MORE
    store = vecstore.open(path)
    assert len(store) == 0 and list(store) == [] and len(store.search(X[0], 3).rows) == 0
    with vecstore.edit(path) as e:
        e.append(X[:1], ["key 3"])
    assert list(vecstore.open(path)) == ["key 3"] and vecstore.open(path).search(X[0], 3).keys == ["key 3"]


def test_an_exception_changes_nothing(make: Any) -> None:
    path = make()
    before = sorted(os.listdir(path))
    with pytest.raises(RuntimeError), vecstore.edit(path) as e:
        e.append(X[ROWS:], KEYS["str"][ROWS:])
        e.delete(["key 3"])
        raise RuntimeError
    with vecstore.edit(path) as e:
        e.delete(["nobody"])
    assert e.generation is None and vecstore.open(path).generation == 0 and sorted(os.listdir(path)) == before
    for wrong, error in (
        (lambda e: e.append(X[:1, :3], ["a"]), ShapeError),
        (lambda e: e.append(X[:2], ["a"]), ShapeError),
        (lambda e: e.append(X[:1]), OptionError),
        (lambda e: e.append(X[:1], [3]), OptionError),
        (lambda e: e.append(np.full((1, 16), np.nan), ["a"]), ShapeError),
        (lambda e: e.delete("key 3"), OptionError),
        (lambda e: e.delete(["key 3", "nobody"], missing="error"), KeyNotFoundError),
        (lambda e: e.delete(["key 3"], missing="no"), OptionError),
        (lambda e: e.delete_rows([ROWS]), OptionError),
        (lambda e: e.append(X[:1], ["long" * 20_000]), None),
    ):
        with pytest.raises(error or OptionError), vecstore.edit(path) as e:
            wrong(e)
    with pytest.raises(ClosedError):
        e.append(X[:1], ["a"])
    with pytest.raises(OptionError, match="on_drift"):
        vecstore.edit(path, on_drift="no")  # type: ignore[arg-type]
    assert vecstore.open(path).generation == 0 and sorted(os.listdir(path)) == before


def test_one_writer_at_a_time(make: Any) -> None:
    path = make()
    with vecstore.edit(path):
        with pytest.raises(BusyError, match="another process"), vecstore.edit(path):
            pass
        with pytest.raises(BusyError):
            vecstore.edit(path, wait=0.05).__enter__()
    vecstore.write(path.with_name("other"), X, shard_bytes=1 << 20)
    with Lock(path.with_name("other")), pytest.raises(BusyError):
        vecstore.write(path.with_name("other"), X, shard_bytes=1 << 20, force=True)


def test_one_file_is_made_a_directory_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "items.vecs"
    vecstore.write(path, X, KEYS["str"])
    old = vecstore.open(path)
    with pytest.raises(OptionError, match="to_directory=True"), vecstore.edit(path):
        pass
    with vecstore.edit(path, to_directory=True) as e:
        e.delete(["key 3"])
    assert len(old) == ROWS + MORE and "key 3" not in vecstore.open(path) and os.listdir(tmp_path) == ["items.vecs"]
    assert old.refresh() and len(old) == ROWS + MORE - 1
    with pytest.raises(FileNotFoundError), vecstore.edit(tmp_path / "nothing"):
        pass


def test_a_directory_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    path = tmp_path / "items.vecs"
    vecstore.write(path, X, KEYS["str"])
    with vecstore.edit(path, to_directory=True) as e:
        e.delete(["key 3"])
    assert len(vecstore.open(path)) == ROWS + MORE - 1 and os.listdir(tmp_path) == ["items.vecs"]


def test_another_manifest_in_between(make: Any) -> None:
    path = make()
    with pytest.raises(ConflictError, match="came in between"), vecstore.edit(path) as e:
        e.delete(["key 3"])
        manifest = Manifest.read(path)
        Manifest(5, manifest.shards).write(path)  # by somebody who knows no lock
    assert len(vecstore.open(path)) == ROWS and not [name for name in os.listdir(path) if name.startswith("dead")]


def test_a_commit_that_the_disk_does_not_confirm(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = make(), []

    def failing(directory: Path) -> None:
        calls.append(directory)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("vecstore.editing.commit.fsync_directory", failing)
    with pytest.raises(CommitUncertainError, match="generation 1 is in force") as error, vecstore.edit(path) as e:
        e.delete(["key 3"])
    assert error.value.generation == 1 and "key 3" not in vecstore.open(path)


@pytest.mark.parametrize("spec", ["hash:90", "mixed"])
def test_codecs_that_take_no_rows(tmp_path: Path, spec: str) -> None:
    path = tmp_path / "items.vecs"
    vecstore.write(path, X, KEYS["str"], "f16@40+sq:8" if spec == "mixed" else spec, accept_dominated=True)
    with pytest.raises(CodecError, match="convert the dump again"), vecstore.edit(path, to_directory=True) as e:
        e.append(X[:1], ["new"])
    with vecstore.edit(path, to_directory=True) as e:
        e.delete(["key 3"])
    assert len(vecstore.open(path)) == ROWS + MORE - 1


def test_rows_that_do_not_suit_the_codec(tmp_path: Path) -> None:
    path, scales = tmp_path / "items.vecs", np.geomspace(10, 0.01, 16, dtype=np.float32)
    vecstore.write(path, X * scales, KEYS["str"], "pca:4,sq:8", shard_bytes=1 << 20)
    strange = X[:200] * scales[::-1]
    with pytest.warns(DriftWarning, match="these vectors decode"), vecstore.edit(path) as e:
        e.append(strange, [f"a {i}" for i in range(200)])
    with pytest.raises(CodecError, match="on_drift="), vecstore.edit(path, on_drift="error") as e:
        e.append(strange, [f"b {i}" for i in range(200)])
    with vecstore.edit(path, on_drift="refit") as e:
        e.append(strange, [f"c {i}" for i in range(200)])
    with vecstore.edit(path, on_drift="error") as e:
        e.append(strange, [f"d {i}" for i in range(200)])  # by the codec that was trained on such rows
    store = vecstore.open(path)
    errors = [np.square(store[[f"{name} {i}" for i in range(200)]] - strange).sum() for name in "acd"]
    assert errors[1] < 0.5 * errors[0] and errors[1] == errors[2]
    first, a, c, d = store._snapshot.shards
    assert a.codec is first.codec and c.codec is d.codec is not a.codec
    assert a.description["appended"]["rows"] == 200 and a.description["appended"]["drift"]["r2"] < 0.9
    assert store.search(strange[5], 2).keys == ["c 5", "d 5"]
    with pytest.raises(OptionError, match="2 codecs"):
        _ = store.codec


def test_edits_that_follow_restore_no_codec_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make("tcq:8")
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[ROWS : ROWS + 40], KEYS["str"][ROWS : ROWS + 40])
    with monkeypatch.context() as patched:
        patched.setattr("vecstore.codecs.codec.Codec.restore", None)
        with vecstore.edit(path, on_drift="ignore") as e:
            e.append(X[ROWS + 40 :], KEYS["str"][ROWS + 40 :])
    assert len(vecstore.open(path)) == ROWS + MORE


def test_a_file_that_was_lost_between_edits_is_missed(make: Any) -> None:
    path = make()
    with vecstore.edit(path) as e:
        e.append(X[ROWS:], KEYS["str"][ROWS:])
    (path / "shard-00000.vecs").rename(path.parent / "gone")
    with pytest.raises(CorruptError, match="missing"), vecstore.edit(path) as e:
        e.delete(["key 3"])
