"""Snapshots of a store that changes: deleted rows, earlier generations, tags, and handles that are refreshed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.container.container import Container
from vecstore.errors import CorruptError, KeyNotFoundError, OptionError
from vecstore.shard.sizes import bytes_beside
from vecstore.store.history import kept_name, tag_name
from vecstore.store.manifest import MANIFEST_NAME, Manifest
from vecstore.store.tombstones import write_tombstones

ROWS, DEAD = 600, [3, 250, 251, 599]
X = np.random.default_rng(0).normal(size=(ROWS, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(ROWS)]
LIVING = np.setdiff1d(np.arange(ROWS), DEAD)


def bury(path: Path, rows: list[int]) -> None:
    """Make the next generation of a store, without some of its rows."""
    manifest, first, shards = Manifest.read(path), 0, []
    os.link(path / MANIFEST_NAME, path / kept_name(manifest.generation))
    for i, entry in enumerate(manifest.shards):
        own = np.array([row - first for row in rows if first <= row < first + entry["rows"]])
        first += entry["rows"]
        if len(own):
            file = path / f"dead-{manifest.generation + 1}-{i}.vecs"
            write_tombstones(file, own)
            about = {"file": file.name, "rows": len(own), "bytes": file.stat().st_size}
            entry = entry | {"tombstones": about | {"fingerprint": Container(file).fingerprint}}
        shards.append(entry)
    replace(manifest, generation=manifest.generation + 1, shards=tuple(shards)).write(path)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setattr("vecstore.conversion.shards.cutting.FIXED_BYTES", 0)  # lets shards be as small as this

    def made(spec: str = "sq:8", keys: Any = KEYS) -> Path:
        path, codec = tmp_path / "items.vecs", vecstore.codec(spec).fit(X, rows=200)
        row = codec.code_bytes + ceil(bytes_beside(codec, keep_norms=False, keep_order=True))
        vecstore.write(path, X, keys, codec, shard_bytes=200 * row)
        assert len(Manifest.read(path).shards) > 1
        return path

    return made


@pytest.mark.parametrize("spec", ["f32", "tcq:8", "bin/sq:8", "pq:4x4", "cells:4,sq:8"])
@pytest.mark.parametrize("keyed", [True, False])
def test_deleted_rows_are_not_found(make: Callable[..., Path], spec: str, keyed: bool) -> None:
    path = make(spec, KEYS if keyed else None)
    whole = vecstore.open(path)
    bury(path, DEAD)
    store = vecstore.open(path)
    names = KEYS if keyed else list(range(ROWS))
    assert len(store) == len(store.keys) == ROWS - len(DEAD) and store.generation == 1
    assert list(store) == list(store.keys) == [names[row] for row in LIVING]
    assert np.array_equal(store.living_rows, LIVING)
    for vectors in (store.vectors[store.living_rows], np.stack(list(store.vectors))):
        np.testing.assert_allclose(vectors, whole.vectors[LIVING], atol=1e-6)  # decoded in other batches
    assert np.array_equal(store.rows_of(names), np.where(np.isin(np.arange(ROWS), DEAD), -1, np.arange(ROWS)))
    assert names[3] not in store and names[4] in store and store.get(names[3]) is None
    for read in (store.__getitem__, lambda key: store[[key]]):
        with pytest.raises(KeyNotFoundError):
            read(names[3])
    for number in (
        lambda: store.vectors[3],
        lambda: store.vectors[:10],
        lambda: store.vectors[[1, 3]],
        lambda: np.asarray(store.vectors),
        lambda: store.keys[3],
        lambda: store.keys[-1],
        lambda: store.key_of(250),
    ):
        with pytest.raises(IndexError, match=r"deleted: row .*living_rows"):
            number()
    asked = X[[3, 4, 250]]
    for options in ({}, {"metric": "l2"}, {"rescore": 0}, {"rows": np.arange(300)}, {"exclude": np.arange(0, 600, 7)}):
        found = store.search(asked, 7, **options)
        assert not np.isin(found.rows, DEAD).any() and (found.rows >= 0).all()
    everything = store.search(X[3], ROWS)
    assert sorted(everything.rows.tolist()) == LIVING.tolist() and len(everything.keys) == len(LIVING)
    if spec != "tcq:8":
        expected = whole.search(X[3], ROWS).rows
        assert everything.rows.tolist() == expected[~np.isin(expected, DEAD)].tolist()
    assert sorted(store.range_search(X[3], min_score=-1).rows.tolist()) == LIVING.tolist()
    assert np.isneginf(store.scores(X[0])[DEAD]).all() and np.isneginf(store.scores(X[0], [2, 3])[1])
    store.verify(deep=True)


def test_handles_keep_their_generation(make: Callable[..., Path]) -> None:
    path = make()
    old = vecstore.open(path)
    bury(path, DEAD)
    os.link(path / MANIFEST_NAME, path / tag_name("monday"))
    new = vecstore.open(path)
    bury(path, sorted([5, *DEAD]))
    assert [len(store) for store in (old, new, vecstore.open(path))] == [600, 596, 595]
    assert [len(pickle.loads(pickle.dumps(store))) for store in (old, new)] == [600, 596]
    assert [(v.generation, v.rows, v.tags) for v in old.versions()] == [
        (0, 600, ()),
        (1, 596, ("monday",)),
        (2, 595, ()),
    ]
    pinned = vecstore.open(path, generation="monday")
    assert len(pinned) == 596 and not pinned.refresh() and len(pinned.truncated(8)) == 596
    assert len(vecstore.open(path, generation=0)) == 600
    (path / kept_name(1)).unlink()
    assert len(vecstore.open(path, generation=1)) == 596  # by its tag
    views = old.keys, old.vectors
    kept = old._snapshot.shards[0]
    assert old.refresh() and not old.refresh() and old.generation == 2 and len(old) == 595
    assert old._snapshot.shards[0] is kept and views[1].shape == old.vectors.shape and "key 5" in views[0]
    assert "key 5" not in old.keys and len(views[0]) == 600
    for generation in (7, "tuesday", "mondays"):
        with pytest.raises(OptionError, match=r"generation 7 is not there|no tag"):
            vecstore.open(path, generation=generation)


def test_one_file_has_no_generations(tmp_path: Path) -> None:
    path = tmp_path / "items.vecs"
    vecstore.write(path, X, KEYS)
    with pytest.raises(OptionError, match="no generations"):
        vecstore.open(path, generation=0)
    store = vecstore.open(path)
    assert store.generation == 0 and store.versions() == [] and not store.refresh()
    vecstore.write(path, X[:10], KEYS[:10], force=True)
    assert store.refresh() and len(store) == 10


def test_several_stores_as_one(make: Callable[..., Path], tmp_path: Path) -> None:
    path = make()
    vecstore.write(tmp_path / "more.vecs", X, [f"more {i}" for i in range(ROWS)])
    bury(path, DEAD)
    store = vecstore.open([tmp_path / "more.vecs", path])
    assert len(store) == 2 * ROWS - len(DEAD)
    assert "key 3" not in store and store.rows_of(["key 4"]) == [604]
    assert not np.isin(store.search(X[3], 1000).rows, np.add(DEAD, ROWS)).any()
    bury(path, sorted([5, *DEAD]))
    assert store.refresh() and "key 5" not in store


@pytest.mark.parametrize("rows", [[5, 3], [3, 3], [600]])
def test_malformed_tombstones_are_refused(make: Callable[..., Path], rows: list[int]) -> None:
    path = make()
    bury(path, DEAD)
    (entry, *others) = (manifest := Manifest.read(path)).shards
    write_tombstones(path / entry["tombstones"]["file"], np.array(rows))
    told = {"rows": len(rows), "fingerprint": Container(path / entry["tombstones"]["file"]).fingerprint}
    shards = (entry | {"tombstones": entry["tombstones"] | told}, *others)
    replace(manifest, shards=shards).write(path)
    with pytest.raises(CorruptError, match="do not rise"):
        vecstore.open(path)
