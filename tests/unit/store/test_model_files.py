"""Shards of a store share the file of a model: it is written once, goes where they go, and no other one passes."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.container.container import Container
from vecstore.editing import compaction
from vecstore.editing.directory import make_directory
from vecstore.editing.lock import COMPACTION_LOCK, Lock
from vecstore.errors import CorruptError, OptionError, VecstoreError
from vecstore.store.manifest import Manifest, _sealed

X = np.random.default_rng(0).normal(size=(900, 12)).astype(np.float32)
KEYS = [f"key {i}" for i in range(900)]


def models(path: Path) -> list[str]:
    return sorted(file.name for file in path.glob("model-*.vecs"))


def sharded(path: Path, rows: slice = slice(0, 600), spec: str = "tcq:4") -> Path:
    vecstore.write(path, X[rows], KEYS[rows], spec, shard_bytes=1 << 20, seed=rows.start)
    return path


def append(path: Path, *parts: slice, **options: Any) -> None:
    """Append rows, each part as a shard of its own."""
    with Lock(path, name=COMPACTION_LOCK):
        for part in parts:
            with vecstore.edit(path, **{"on_drift": "ignore", **options}) as e:
                e.append(X[part], KEYS[part])


def test_shards_share_a_file(tmp_path: Path) -> None:
    path = sharded(tmp_path / "a.vecs")
    append(path, slice(600, 700), slice(700, 900))
    manifest = Manifest.read(path)
    assert models(path) == [entry["file"] for entry in manifest.models] and len(models(path)) == 1
    held = [Container(path / entry["file"]) for entry in manifest.shards]
    assert len(held) == 3 and not any(file.names("model.") for file in held)
    with vecstore.open(path) as store:
        assert str(store.codec.spec) == "tcq:4"
        assert store.verify() == sum(file.size_bytes for file in [*held, Container(path / models(path)[0])])
        assert store.info()["bytes"]["parts"]["model"] > 0
        files = [path / "manifest.json", *path.glob("*.vecs")]
        assert store.info()["bytes"]["stored"] == sum(file.stat().st_size for file in files)
        expected = store[KEYS[650]]
    with vecstore.open(path / manifest.shards[1]["file"]) as alone:
        assert np.array_equal(alone[KEYS[650]], expected)


def test_what_has_no_arrays_has_no_file(tmp_path: Path) -> None:
    path = sharded(tmp_path / "a.vecs", spec="f16")
    append(path, slice(600, 700))
    assert not models(path) and Manifest.read(path).features == []


def test_a_store_of_one_file_gets_one_when_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, X[:600], KEYS[:600], "sq:8")
    make_directory(path)
    append(path, slice(600, 700))
    append(path, slice(700, 800))
    first, second, third = (Container(path / entry["file"]) for entry in Manifest.read(path).shards)
    assert first.names("model.") and second.description["model"] == third.description["model"]
    with vecstore.open(path) as store:
        assert len({id(shard.codec) for shard in store._snapshot.shards}) == 1
    assert compaction.compact(path).after == 1
    assert vecstore.clean(path, older_than=0, keep=1).files > 0
    assert len(models(path)) == 1 and len(vecstore.open(path)) == 800


def test_codecs_that_were_trained_apart_stay_apart(tmp_path: Path) -> None:
    path = sharded(tmp_path / "a.vecs")
    moved = X[600:] * np.linspace(9, 0.1, 12, dtype=np.float32) + 5
    with vecstore.edit(path, on_drift="refit") as e:
        e.append(moved, KEYS[600:])
    assert len(models(path)) == 2
    with vecstore.open(path) as store:
        with pytest.raises(OptionError, match=r"has 2 codecs, .*all tcq:4, trained on other vectors"):
            _ = store.codec
        found = store[KEYS[600:]]
        assert ((found - moved) ** 2).sum() < 0.5 * ((moved - moved.mean(axis=0)) ** 2).sum()
    assert compaction.compact(path).generation is None, "they are not merged"
    vecstore.restore(path, 0)
    vecstore.clean(path, older_than=0, keep=1)
    assert len(models(path)) == 1


def test_a_reader_keeps_the_model_that_is_cleaned_away(tmp_path: Path) -> None:
    path = sharded(tmp_path / "a.vecs")
    with vecstore.open(path) as store:
        sharded(tmp_path / "b.vecs", slice(1, 600))
        vecstore.write(path, X[1:600], KEYS[1:600], "tcq:4", shard_bytes=1 << 20, seed=1, force=True)
        assert models(path) == models(tmp_path / "b.vecs")
        assert store.search(X[5], 1).keys == [KEYS[5]]
        assert store.refresh() and store.search(X[5], 1).keys == [KEYS[5]] and KEYS[0] not in store


def test_other_models_are_refused(tmp_path: Path) -> None:
    path = sharded(tmp_path / "a.vecs")
    other = sharded(tmp_path / "b.vecs", slice(100, 600))
    name = models(path)[0]
    shutil.copy(other / models(other)[0], path / name)
    with pytest.raises(CorruptError, match="another model than its name says"):
        vecstore.open(path)
    shutil.copy(path / Manifest.read(path).shards[0]["file"], path / name)
    with pytest.raises(VecstoreError, match="no model of a store"):
        vecstore.open(path)
    (path / name).unlink()
    with pytest.raises(CorruptError, match="missing"):
        vecstore.open(path)
    with pytest.raises(CorruptError, match=f"bring {name} back"):
        vecstore.open(path / Manifest.read(path).shards[0]["file"])


@pytest.mark.parametrize("change", ["no feature", "no entry", "another name", "twice"])
def test_manifests_that_do_not_agree(tmp_path: Path, change: str) -> None:
    path = sharded(tmp_path / "a.vecs")
    manifest = Manifest.read(path)
    document = json.loads(manifest.to_bytes())
    if change == "no feature":
        document["features"] = []
    elif change == "no entry":
        del document["models"]
        document["features"] = []
    elif change == "another name":
        document["models"][0]["file"] = "shard-00007.vecs"
    else:
        document["models"] *= 2
    text = json.dumps({name: value for name, value in document.items() if name != "xxh3"}, indent=1)
    (path / "manifest.json").write_bytes(_sealed((text[:-2] + ',\n "xxh3": "0000000000000000"\n}\n').encode()))
    with pytest.raises(CorruptError):
        vecstore.open(path)


def test_models_of_workers_are_those_of_one_process(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.tile(X, (4, 1)))
    for name, executor in (("a", None), ("b", ThreadPoolExecutor(2))):
        vecstore.convert(tmp_path / "x.npy", tmp_path / name, "tcq:4", shard_bytes=135_000, executor=executor)
    files = [{file.name: file.read_bytes() for file in (tmp_path / name).glob("*.*")} for name in "ab"]
    assert files[0] == files[1] and len(models(tmp_path / "a")) == 1
