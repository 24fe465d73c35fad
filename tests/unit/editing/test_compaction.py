"""Compaction: fewer shards with the same rows, whatever is edited meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.codecs import axes
from vecstore.codecs.product import opq
from vecstore.editing import compaction
from vecstore.editing.lock import COMPACTION_LOCK, Lock
from vecstore.errors import BusyError, ConflictError, OptionError
from vecstore.store.manifest import Manifest

X = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(2000)]
FIRST, STEP = 600, 20
SPECS = ["f32", "sq:8", "tcq:8", "pq:4x4", "bin/sq:8", "cells:4,sq:8", "cells:4,bin/sq:8", "sq:8,zstd", "pca:8,f16"]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a store of several shards, of which nothing was merged yet."""

    def made(spec: str = "sq:8", *, keyed: bool = True, edits: int = 5, **options: Any) -> Path:
        path = tmp_path / "items.vecs"
        vecstore.write(path, X[:FIRST], KEYS[:FIRST] if keyed else None, spec, shard_bytes=1 << 24, **options)
        with Lock(path, name=COMPACTION_LOCK):
            for start in range(FIRST, FIRST + edits * STEP, STEP):
                own = slice(start, start + STEP)
                with vecstore.edit(path, on_drift="ignore") as e:
                    e.append(X[own], KEYS[own] if keyed else None)
        assert len(Manifest.read(path).shards) == 1 + edits
        return path

    return made


def one_by_one(store: Any, keys: list[Any]) -> Any:
    """Return vectors whose bits do not depend on how many are decoded together: sums of products do."""
    return np.stack([store[key] for key in keys])


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("options", [{}, {"keep_norms": True}, {"keyed": False}, {"keep_order": False}], ids=str)
def test_rows_stay_as_they_are(make: Any, spec: str, options: dict[str, Any]) -> None:
    path = make(spec, **options)
    keyed, gone = options.get("keyed", True), [3, 5, 610, 611, 640]
    if keyed:
        with vecstore.edit(path) as e:
            assert e.delete([KEYS[i] for i in gone]) == 5
    before = vecstore.open(path)
    keys, vectors = list(before), one_by_one(before, list(before))
    found = compaction.compact(path)
    after = vecstore.open(path)
    assert (found.after, found.dropped) == (1, 5 if keyed else 0) and len(after._snapshot.shards) == 1
    assert after.generation == found.generation == before.generation + 1
    if not after.renumbered or not spec.startswith("cells"):
        assert list(after) == keys
    assert sorted(after, key=str) == sorted(keys, key=str)
    assert np.array_equal(one_by_one(after, keys), vectors) and np.array_equal(one_by_one(before, keys), vectors)
    np.testing.assert_allclose(after[keys], vectors, atol=1e-5)
    exactly = {"exact": True} if "tcq" in spec or "/" in spec else {}
    assert after.search(X[9], 8, **exactly).keys == before.search(X[9], 8, **exactly).keys
    after.verify(deep=True)
    assert compaction.compact(path).generation is None
    assert after.codec.spec == before.codec.spec


def test_edits_merge_by_tiers(make: Any) -> None:
    path = make("f32", edits=0)
    for i in range(80):
        with vecstore.edit(path, on_drift="ignore") as e:
            e.append(X[FIRST + i : FIRST + i + 1], KEYS[FIRST + i : FIRST + i + 1])
    store = vecstore.open(path)
    assert [shard.rows for shard in store._snapshot.shards] == [600, 64, 8, 8]
    assert list(store) == KEYS[: FIRST + 80] and not store.renumbered
    np.testing.assert_allclose(store[KEYS[: FIRST + 80]], X[: FIRST + 80], atol=0.05)


def test_unknown_members_are_kept_while_shards_stay_in_their_places(make: Any) -> None:
    path, more = make(edits=6), {"future": {"of shard": 2}}
    old = Manifest.read(path)
    Manifest(old.generation, old.shards, old.key_maps, old.collisions, old.models, more=more).write(path)
    with Lock(path, name=COMPACTION_LOCK), vecstore.edit(path) as e:
        e.append(X[1000:1020], KEYS[1000:1020])
    assert Manifest.read(path).more == more
    with vecstore.edit(path) as e:  # merges eight shards
        e.append(X[1020:1040], KEYS[1020:1040])
    assert len(Manifest.read(path).shards) < 8 and Manifest.read(path).more == {}


def test_shards_that_are_mostly_dead_are_rewritten(make: Any) -> None:
    path = make(edits=1)
    with vecstore.edit(path) as e:
        e.delete(KEYS[:50])
    assert [entry["rows"] for entry in Manifest.read(path).shards] == [600, 20]
    with vecstore.edit(path) as e:
        e.delete(KEYS[50:70])
    store = vecstore.open(path)
    assert [shard.rows for shard in store._snapshot.shards] == [530, 20] and not store._snapshot.dead
    assert store.renumbered and list(store) == KEYS[70 : FIRST + STEP]
    with pytest.raises(OptionError, match="left out"):
        store.search(X[0], rows=[0])


def test_many_shards_get_a_key_map(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecstore.editing.edit.MOST_UNMAPPED", 4)
    path = make(edits=9)
    assert [entry["shards"] for entry in Manifest.read(path).key_maps] == [[0, 5], [5, 10]]
    with vecstore.edit(path) as e:
        e.upsert(X[:1], KEYS[700:701])
        e.delete([KEYS[3]])
    store = vecstore.open(path)
    kept = [key for i, key in enumerate(KEYS[: FIRST + 9 * STEP]) if i != 3]
    assert sorted(store) == sorted(kept) and (store.rows_of(kept) >= 0).all() and KEYS[3] not in store
    assert all(key in store for key in kept)
    np.testing.assert_allclose(store[KEYS[700]], X[0], atol=0.05)
    store.verify()


@pytest.mark.parametrize("spec", ["f32", "cells:4,f16"])
@pytest.mark.parametrize("keyed", [True, False])
def test_edits_meanwhile(make: Any, spec: str, keyed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path, names = make(spec, keyed=keyed, keep_order=not keyed), KEYS if keyed else list(range(2000))
    with vecstore.edit(path) as e:
        e.delete([names[3], names[605]])
    real = compaction.open_snapshot

    def edited(*arguments: Any, **options: Any) -> Any:
        if "known" in options:  # all is built, and the lock is held
            return real(*arguments, **options)
        found = real(*arguments, **options)
        with vecstore.edit(path, on_drift="ignore") as e:
            e.delete([names[7], names[4], names[606], names[690]])
            e.append(X[1000:1010], KEYS[1000:1010] if keyed else None)
            if keyed:
                e.upsert(X[:1], [names[650]])
        return found

    monkeypatch.setattr(compaction, "open_snapshot", edited)
    compaction.compact(path)
    store = vecstore.open(path)
    gone = {3, 605, 7, 4, 606, 690}
    if keyed:
        expected = [*(KEYS[i] for i in range(700) if i not in gone), *KEYS[1000:1010]]
        assert sorted(store) == sorted(expected)
        np.testing.assert_allclose(store[KEYS[650]], X[0], atol=0.05)
    order = [i for i in range(700) if i not in gone and not (keyed and i == 650)] + list(range(1000, 1010))
    rows = store[[KEYS[i] for i in order]] if keyed else store.vectors[store.living_rows]
    np.testing.assert_allclose(rows, X[order], atol=0.05)
    assert len(store._snapshot.shards) == 2
    store.verify()


def test_a_store_that_went_back_meanwhile(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    monkeypatch.setattr(compaction, "write_map", lambda *_: pytest.fail("one shard needs no map"))
    real = compaction.merge

    def merge(*arguments: Any) -> Any:
        vecstore.restore(path, 2)
        return real(*arguments)

    monkeypatch.setattr(compaction, "merge", merge)
    with pytest.raises(ConflictError, match="do it again"):
        compaction.compact(path)
    assert len(vecstore.open(path)) == FIRST + 2 * STEP


def test_one_compaction_at_a_time(make: Any, tmp_path: Path) -> None:
    path = make()
    with Lock(path, name=COMPACTION_LOCK), pytest.raises(BusyError):
        vecstore.compact(path)
    vecstore.write(tmp_path / "one.vecs", X)
    with pytest.raises(OptionError, match="one file"):
        vecstore.compact(tmp_path / "one.vecs")


@pytest.mark.parametrize("spec", ["tcq:8", "vaq:4x4", "opq:4x4"])
def test_axes_are_not_made(make: Any, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their products keep the threads of a BLAS turning, beside those who read."""
    path = make(spec)
    for name in ("_in_order", "orthonormal"):
        monkeypatch.setattr(axes, name, lambda *_: pytest.fail("axes are made"))
    monkeypatch.setattr(opq, "orthonormal", lambda _: pytest.fail("a rotation is made"))
    compaction.compact(path)
