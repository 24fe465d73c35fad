"""What a later version may add: this one ignores what it may ignore, refuses the rest, and reads appended shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import independent_reader as independent
import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal, reseal_manifest

import vecstore
from vecstore.container.container import Container, ContainerWriter
from vecstore.errors import CodecError, FormatError, UnsupportedVersionError
from vecstore.store.manifest import Manifest

ROWS = 3000
SHARD_BYTES = 131_200


def vectors(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, 8)).astype(np.float32)


def keys(batch: int = 0) -> list[str]:
    return [f"key {batch} {i}" for i in range(ROWS)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    vecstore.write(tmp_path / "a.vecs", vectors(), keys(), "f32")
    return tmp_path / "a.vecs"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    vecstore.write(tmp_path / "d.vecs", vectors(), keys(), "f32", shard_bytes=SHARD_BYTES)
    return tmp_path / "d.vecs"


def works(path: Path) -> None:
    with vecstore.open(path) as store:
        store.verify()
        np.testing.assert_array_equal(store[keys()], vectors())
        assert store.search(vectors()[5], 1).keys == ["key 0 5"]
        assert store.info()["rows"] == ROWS


def change_description(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    description = Container(path).description
    change(description)
    reseal(path, description)


def change_manifest(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads((path / "manifest.json").read_bytes())
    change(document)
    reseal_manifest(path / "manifest.json", document)


def test_unknown_members_are_ignored(file: Path, directory: Path) -> None:
    change_description(file, lambda d: d.update(certificate={"recall@10": 0.98}, notes=[{"name": "x"}]))
    works(file)
    change_manifest(directory, lambda d: d.update(zones=[{"xxh3": "0" * 16}], author=None))
    change_manifest(directory, lambda d: d["shards"][0].update(columns=["a"]))
    works(directory)


def test_unknown_parts_are_ignored_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = ContainerWriter.close

    def close_with_more(container: ContainerWriter, description: dict[str, Any]) -> None:
        container.put_array("fields.year", np.arange(ROWS, dtype="<u2"))
        container.put_array("items.starts", np.array([0, 10, ROWS], "<u8"))
        container.declare("fields.title", "|u1", (ROWS,), encoding="front-coded", order="?")
        container.put_block("fields.title", b"whatever")
        close(container, description)

    monkeypatch.setattr(ContainerWriter, "close", close_with_more)
    path = tmp_path / "a.vecs"
    vecstore.write(path, vectors(), keys(), "f32")
    works(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"whatever")] ^= 1
    path.write_bytes(data)
    with vecstore.open(path) as store:
        np.testing.assert_array_equal(store[keys()], vectors())
        with pytest.raises(FormatError, match=r"fields\.title"):
            store.verify()


def test_a_later_minor_version_is_read(tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("vecstore.container.container.FORMAT_VERSION", (1, 7))
        vecstore.write(tmp_path / "a.vecs", vectors(), keys(), "f32")
    works(tmp_path / "a.vecs")
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.info()["format"] == "1.7"
    change_manifest(directory, lambda d: d.update(version=[1, 7]))
    works(directory)


def test_a_later_major_version_is_refused(file: Path, directory: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.rindex(b"VECSTORE\x01\x00\x03\x00") + 8] = 2
    file.write_bytes(data)
    with pytest.raises(UnsupportedVersionError, match="upgrade"):
        vecstore.open(file)
    change_manifest(directory, lambda d: d.update(version=[2, 0]))
    with pytest.raises(UnsupportedVersionError, match="upgrade"):
        vecstore.open(directory)


def test_unknown_features_are_refused(file: Path, directory: Path) -> None:
    change_description(file, lambda d: d.update(features=["ragged"]))
    with pytest.raises(UnsupportedVersionError, match="ragged"):
        vecstore.open(file)
    change_manifest(directory, lambda d: d.update(features=["ragged"]))
    with pytest.raises(UnsupportedVersionError, match="ragged"):
        vecstore.open(directory)


def test_unknown_features_of_a_key_map_are_refused(directory: Path) -> None:
    entry = Manifest.read(directory).key_maps[0]
    change_description(directory / entry["file"], lambda d: d.update(features=["ribbon"]))
    fingerprint = Container(directory / entry["file"]).fingerprint
    change_manifest(directory, lambda d: d["key_maps"][0].update(fingerprint=fingerprint))
    with pytest.raises(UnsupportedVersionError, match="ribbon"):
        vecstore.open(directory)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda d: d.update(kind="sparse-shard"), FormatError),
        (lambda d: d["keys"].update(type="uuid"), UnsupportedVersionError),
        (lambda d: d.update(codec=[[{"name": "lattice", "configuration": {"bits": 2}}]]), CodecError),
        (lambda d: d.update(codec=[[{"name": "f32", "configuration": {"order": "zigzag"}}]]), CodecError),
        (lambda d: d.update(codec=[d["codec"][0]] * 3), CodecError),
    ],
    ids=["kind", "key type", "codec", "configuration", "three layers"],
)
def test_unknown_names_are_refused(file: Path, change: Callable[[dict[str, Any]], Any], error: type) -> None:
    change_description(file, change)
    with pytest.raises(error):
        vecstore.open(file).vectors[:1]


def test_an_unknown_metric_is_not_scored_by(file: Path) -> None:
    change_description(file, lambda d: d.update(metric="hamming"))
    with vecstore.open(file) as store:
        np.testing.assert_array_equal(store[keys()], vectors())
        with pytest.raises(vecstore.VecstoreError, match="hamming"):
            store.search(vectors()[0])


@pytest.mark.parametrize("maps", ["one a batch", "of the first batch", "none"])
def test_appended_shards_are_read(directory: Path, tmp_path: Path, maps: str) -> None:
    """A later version appends by adding to two lists of the manifest; this one finds every key."""
    other = tmp_path / "e.vecs"
    vecstore.write(other, vectors(1), keys(1), "f16", shard_bytes=SHARD_BYTES)
    first, second = Manifest.read(directory), Manifest.read(other)
    second = second.renumbered(first)
    for entry, old in zip(second.entries, Manifest.read(other).entries, strict=True):
        shutil.copy(other / old["file"], directory / entry["file"])
    count = len(first.shards)
    assert count > 1
    moved = [{**entry, "shards": [edge + count for edge in entry["shards"]]} for entry in second.key_maps]
    key_maps = {"one a batch": [*first.key_maps, *moved], "of the first batch": list(first.key_maps), "none": []}[maps]
    change_manifest(directory, lambda d: d.update(shards=[*first.shards, *second.shards], key_maps=key_maps))
    every = keys() + keys(1)
    with vecstore.open(directory) as store:
        assert store.rows_of(every).tolist() == [store.rows_of([key])[0] for key in every] == list(range(2 * ROWS))
        assert "absent" not in store and store.rows_of(["absent"] * 300).max() == -1
        np.testing.assert_allclose(store[every], np.concatenate([vectors(), vectors(1)]), atol=1e-2)
        store.verify()
    reader = independent.Store(directory)
    assert [reader.find(key) for key in every[::50]] == list(range(0, 2 * ROWS, 50))
