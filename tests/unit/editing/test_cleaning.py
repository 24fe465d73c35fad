"""Generations: which stay, which go, and going back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.editing.cleaning import seconds
from vecstore.errors import OptionError

X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(60)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store of five generations, from which a key is deleted in each, and another one is added."""
    path = tmp_path / "items.vecs"
    vecstore.write(path, X[:50], KEYS[:50], shard_bytes=1 << 20)
    for i in range(4):
        with vecstore.edit(path) as e:
            e.delete(KEYS[i : i + 1])
            e.append(X[50 + i : 51 + i], KEYS[50 + i : 51 + i])
    return path


def keys_of(path: Path, generation: int | str | None = None) -> list[str]:
    with vecstore.open(path, generation=generation) as store:
        store.verify(deep=True)
        return list(store)


def test_every_generation_opens(path: Path) -> None:
    assert [version.generation for version in vecstore.open(path).versions()] == [0, 1, 2, 3, 4]
    for i in range(5):
        assert keys_of(path, i) == KEYS[i : 50 + i]


def test_cleaning_spares_tags_and_what_is_new(path: Path) -> None:
    assert vecstore.tag(path, "first", 0) == 0 and vecstore.tag(path, "now") == 4 and vecstore.tag(path, "two", 2) == 2
    assert vecstore.clean(path).generations == 0  # all are young
    cleaned = vecstore.clean(path, older_than=0, keep=1)
    assert (cleaned.generations, cleaned.files) == (4, 2) and cleaned.bytes > 0  # tombstones of 1 and 3
    assert [(v.generation, v.tags) for v in vecstore.open(path).versions()] == [
        (0, ("first",)),
        (2, ("two",)),
        (4, ("now",)),
    ]
    assert keys_of(path, "first") == KEYS[:50] and keys_of(path, 2) == KEYS[2:52] and keys_of(path) == KEYS[4:54]
    with pytest.raises(OptionError, match="cleaned away"):
        vecstore.open(path, generation=3)
    vecstore.untag(path, "two")
    vecstore.tag(path, "first")  # moves
    assert vecstore.clean(path, older_than="0s").files > 0
    assert vecstore.clean(path, older_than="0s").files == 0
    assert [v.generation for v in vecstore.open(path).versions()] == [4] and keys_of(path, "first") == KEYS[4:54]
    assert not [name for name in os.listdir(path) if "partial" in name or name.startswith("manifest-")]


def test_open_handles_outlive_cleaning(path: Path) -> None:
    with vecstore.open(path, generation=1) as store:
        vecstore.clean(path, older_than=0, keep=1)
        assert len(store[list(store)]) == 50 and store.search(X[1], 1).keys == ["key 1"]


def test_going_back(path: Path) -> None:
    vecstore.tag(path, "monday", 1)
    assert vecstore.restore(path, 3) == 5 and keys_of(path) == KEYS[3:53]
    assert vecstore.restore(path, "monday") == 6 and keys_of(path) == KEYS[1:51]
    with vecstore.edit(path) as e:
        e.append(X[:1], ["key 0"])
    assert e.generation == 7 and len(keys_of(path)) == 51 and keys_of(path, 4) == KEYS[4:54]


def test_converting_again_begins_anew_but_for_tags(path: Path) -> None:
    vecstore.tag(path, "old", 2)
    vecstore.write(path, X[:5], KEYS[:5], shard_bytes=1 << 20, force=True)
    assert keys_of(path) == KEYS[:5] and keys_of(path, "old") == KEYS[2:52]
    assert [v.generation for v in vecstore.open(path).versions()] == [2, 5]


def test_arguments(path: Path, tmp_path: Path) -> None:
    assert [seconds(age) for age in ("1d", "1.5h", "2 m", 7)] == [86400, 5400, 120, 7]
    vecstore.write(tmp_path / "one.vecs", X)
    for wrong in (
        lambda: vecstore.clean(path, older_than="tuesday"),
        lambda: vecstore.clean(path, older_than=-1),
        lambda: vecstore.clean(path, keep=0),
        lambda: vecstore.tag(path, "7"),
        lambda: vecstore.tag(path, "../x"),
        lambda: vecstore.tag(path, "x", 99),
        lambda: vecstore.untag(path, "x"),
        lambda: vecstore.restore(path, 99),
        lambda: vecstore.clean(tmp_path / "one.vecs"),
    ):
        with pytest.raises(OptionError):
            wrong()
