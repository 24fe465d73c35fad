"""Things that are no store, and directories whose files are not those that the manifest means."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

import vecstore
from vecstore.errors import CorruptError, FormatError
from vecstore.store.manifest import Manifest


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("the 0.1 0.2 0.3\n" * 1000)


def short(path: Path) -> None:
    path.write_bytes(b"VECSTORE")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(100_000))


def ones(path: Path) -> None:
    path.write_bytes(b"\xff" * 100_000)


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(100_000))


def npy(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.eye(50))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vectors", bytes(10_000))


def lmdb_empty(path: Path) -> None:
    lmdb.open(str(path), subdir=False, lock=False).close()


def lmdb_small_values(path: Path) -> None:
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as entries:
        entries.put(b"vecstore", b"VECSTORE")
        entries.put(b"checksums", b"")


def lmdb_large_values(path: Path) -> None:
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as entries:
        for i in range(50):
            entries.put(f"image {i}".encode(), bytes(10_000))


def lmdb_wrong_description(path: Path) -> None:
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as entries:
        entries.put(b"vecstore", bytes(10_000))


def lmdb_subdatabases(path: Path) -> None:
    with lmdb.open(str(path), subdir=False, lock=False, max_dbs=2) as environment:
        inner = environment.open_db(b"inner", dupsort=True)
        with environment.begin(write=True) as entries:
            entries.put(b"a", b"b", db=inner)
            entries.put(b"x" * 500, b"y" * 5000)


def directory(path: Path) -> None:
    path.mkdir()


def directory_of_shards(path: Path) -> None:
    path.mkdir()
    vecstore.write(path / "shard-00000.vecs", np.eye(4, dtype=np.float32))


def directory_with_other_manifest(path: Path) -> None:
    path.mkdir()
    (path / "manifest.json").write_text('{"name": "app", "version": "1.2.3"}')


def directory_with_deep_manifest(path: Path) -> None:
    path.mkdir()
    (path / "manifest.json").write_text("[" * 100_000)


def directory_with_list_as_manifest(path: Path) -> None:
    path.mkdir()
    (path / "manifest.json").write_text("[1, 2]")


def directory_in_place_of_manifest(path: Path) -> None:
    (path / "manifest.json").mkdir(parents=True)


IMPOSTORS = [
    *(empty, text, short, zeros, ones, noise, npy, zipped),
    *(lmdb_empty, lmdb_small_values, lmdb_large_values, lmdb_wrong_description, lmdb_subdatabases),
    *(directory, directory_of_shards, directory_with_other_manifest, directory_with_deep_manifest),
    *(directory_with_list_as_manifest, directory_in_place_of_manifest),
]


@pytest.mark.parametrize("make", IMPOSTORS, ids=lambda make: make.__name__)
def test_it_is_refused_by_name(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    make(path)
    with pytest.raises(FormatError, match=r"a\.vecs") as raised:
        vecstore.open(path)
    assert len(str(raised.value)) > len(str(path)) + 15


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        vecstore.open(tmp_path / "a.vecs")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of shards that have equal numbers of rows and equal sizes."""
    path = tmp_path / "d.vecs"
    x = np.random.default_rng(0).normal(size=(12_000, 4)).astype(np.float32)
    vecstore.write(path, x, list(range(12_000)), "sq:8", shard_bytes=165_000)
    rows = [entry["rows"] for entry in Manifest.read(path).shards]
    assert len(rows) > 2 and rows[0] == rows[1]
    return path


@pytest.mark.parametrize("which", ["shards", "key_maps"])
def test_a_missing_file_is_named(store: Path, which: str) -> None:
    name = getattr(Manifest.read(store), which)[0]["file"]
    (store / name).unlink()
    with pytest.raises(CorruptError, match=rf"{name}.* missing"):
        vecstore.open(store)


@pytest.mark.parametrize("which", ["shards", "key_maps"])
def test_an_empty_file_is_named(store: Path, which: str) -> None:
    name = getattr(Manifest.read(store), which)[0]["file"]
    (store / name).write_bytes(b"")
    with pytest.raises(FormatError, match=name):
        vecstore.open(store)


def test_swapped_shards_are_noticed(store: Path) -> None:
    a, b = (store / entry["file"] for entry in Manifest.read(store).shards[:2])
    a.rename(store / "aside")
    b.rename(a)
    (store / "aside").rename(b)
    with pytest.raises(CorruptError, match=a.name):
        vecstore.open(store)


def test_a_shard_in_place_of_the_key_map_is_noticed(store: Path) -> None:
    manifest = Manifest.read(store)
    shutil.copy(store / manifest.shards[0]["file"], store / manifest.key_maps[0]["file"])
    with pytest.raises(FormatError, match="key map"):
        vecstore.open(store)


@pytest.mark.parametrize("of", ["shards", "key_maps"])
def test_a_file_of_another_store_is_noticed(store: Path, tmp_path: Path, of: str) -> None:
    other = tmp_path / "other.vecs"
    x = np.random.default_rng(1).normal(size=(12_000, 4)).astype(np.float32)
    vecstore.write(other, x, list(range(12_000)), "sq:8", shard_bytes=165_000)
    name = getattr(Manifest.read(store), of)[0]["file"]
    if of == "key_maps":  # the same keys in the same shards: the same map, and no harm
        assert (other / name).read_bytes() == (store / name).read_bytes()
        vecstore.write(other, x, list(range(1, 12_001)), "sq:8", shard_bytes=165_000, force=True)
        shutil.copy(other / Manifest.read(other).key_maps[0]["file"], store / name)
    else:
        shutil.copy(other / name, store / name)
    with pytest.raises(CorruptError, match=name):
        vecstore.open(store)


def test_other_files_are_ignored(store: Path) -> None:
    (store / "README.txt").write_text("mine")
    shutil.copy(store / Manifest.read(store).shards[0]["file"], store / "copy.vecs")
    with vecstore.open(store) as opened:
        assert len(opened) == 12_000
        opened.verify()


def test_a_key_map_is_no_store(store: Path) -> None:
    with pytest.raises(FormatError, match="key-map"):
        vecstore.open(store / Manifest.read(store).key_maps[0]["file"])


def test_a_name_outside_the_directory_is_refused(store: Path) -> None:
    manifest = Manifest.read(store)
    for name in ("../d.vecs/shard-00000.vecs", "/etc/passwd", "", ".vecs", "shard.vecs\0"):
        shards = ({**manifest.shards[0], "file": name}, *manifest.shards[1:])
        Manifest(manifest.generation, shards, manifest.key_maps).write(store)
        with pytest.raises(CorruptError, match="directory"):
            vecstore.open(store)
