"""The cache of files of buckets: full, damaged, cut off, shared by processes; and servers that give no parts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from faulty_server import Proxy, folder_server

import vecstore
from vecstore.editing.bucket import upload
from vecstore.errors import RemoteError
from vecstore.remote import fsspec_objects, libraries, path
from vecstore.remote.cache import Cache
from vecstore.remote.heads import HEAD_SUFFIX
from vecstore.remote.libraries import objects_at

ROWS = 3000
X = np.random.default_rng(0).normal(size=(ROWS, 64)).astype(np.float32)
KEYS = [f"key {i}" for i in range(ROWS)]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exact store of one file, 800 kB."""
    path = tmp_path_factory.mktemp("local") / "x.vecs"
    vecstore.write(path, X, KEYS, "f32")
    return path


@pytest.fixture
def url(bucket: str, local: Path) -> str:
    upload(local, f"{bucket}/x.vecs")
    return f"{bucket}/x.vecs"


@pytest.fixture
def cache(tmp_path: Path, url: str) -> Path:
    """Return a cache folder that holds all of the store."""
    with vecstore.open(url) as store:
        store.warm()
    return tmp_path / "cache"


def spoil(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        for at in range(100, len(data), 1000):
            data[at] ^= 0xFF
    elif how == "zeros":  # as a machine leaves it that goes down before pages are on the disk
        data = bytearray(len(data))
        data[-(len(data) // 4097) :] = b"\1" * (len(data) // 4097)
    else:
        del data[{"cut": len(data) // 2, "empty": 0}[how] :]
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["flipped", "zeros", "cut", "empty"])
@pytest.mark.parametrize("suffix", [".pieces", ".head"])
def test_a_damaged_cache_is_mended(how: str, suffix: str, url: str, cache: Path, requests: Any) -> None:
    (file,) = cache.glob(f"*{suffix}")
    spoil(file, how)
    with vecstore.open(url) as store:
        np.testing.assert_array_equal(store[KEYS], X)
        assert store.verify()
    with requests() as again, vecstore.open(url) as store:
        np.testing.assert_array_equal(store[KEYS], X)
    assert again.count == 1  # the manifest: what was mended stays


def test_a_head_of_another_file_is_passed_over(url: str, bucket: str, tmp_path: Path, requests: Any) -> None:
    """As after copying a store over an older one, file by file, without its heads."""
    vecstore.write(f"{bucket}/other.vecs", -X, KEYS, "f32")
    at = objects_at(bucket)
    old, new = (next(n for n in at.names(s) if n.endswith(HEAD_SUFFIX)) for s in ("x.vecs/", "other.vecs/"))
    at.put(old, at.get(new).data)
    np.testing.assert_array_equal(vecstore.open(url)[KEYS], X)
    with requests() as again:
        vecstore.open(url)
    assert again.count == 1
    at.put(old, b"no head")
    np.testing.assert_array_equal(vecstore.open(url, cache=tmp_path / "new")[KEYS], X)


def test_the_least_recently_used_files_go(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECSTORE_STORE_CACHE_BYTES", "2000000")
    cache = tmp_path / "cache"
    for i in range(6):
        vecstore.write(f"{bucket}/{i}.vecs", X + i, KEYS, "f32")
        with vecstore.open(f"{bucket}/{i}.vecs") as store:
            store.warm()
        for file in cache.glob("*s"):  # so that the clock tells them apart
            about = file.stat()
            os.utime(file, (about.st_atime - 100, about.st_mtime - 100))
    vecstore.open(f"{bucket}/0.vecs").close()
    used = [512 * file.stat().st_blocks for file in cache.iterdir()]
    assert sum(used) <= 2_000_000 + 900_000  # the limit holds when a file is opened, and while it is filled
    for i in (0, 5):
        np.testing.assert_array_equal(vecstore.open(f"{bucket}/{i}.vecs")[KEYS], X + i)


def test_files_in_use_are_not_dropped(tmp_path: Path, url: str, bucket: str) -> None:
    cache = tmp_path / "cache"
    store = vecstore.open(url)
    store.warm()
    small = Cache(cache, limit_bytes=0)
    small.make_room()
    assert list(cache.glob("*.pieces"))
    store.close()
    small.make_room()
    assert not [file for file in cache.iterdir() if not file.name.startswith(".")]
    np.testing.assert_array_equal(vecstore.open(url)[KEYS[:3]], X[:3])


def test_a_folder_that_is_removed_or_not_writable(tmp_path: Path, url: str, cache: Path) -> None:
    store = vecstore.open(url, cache=tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    np.testing.assert_array_equal(store[KEYS], X)  # the file has no name any more, and is there
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RemoteError, match="the cache cannot be used"):
        vecstore.open(url, cache=tmp_path / "file")


def test_a_folder_that_is_cleared_while_a_store_is_open(tmp_path: Path, url: str) -> None:
    cache = tmp_path / "gone"
    vecstore.write(f"{url}-sharded", X, KEYS, "f32", shard_bytes=300_000)
    store = vecstore.open(f"{url}-sharded", cache=cache)  # its other shards are opened later
    shutil.rmtree(cache)
    np.testing.assert_array_equal(store[KEYS], X)
    made = Cache(cache)
    shutil.rmtree(cache)
    assert made.whole("0123456789abcdef.whole", lambda file: file.write_bytes(b"x")).read_bytes() == b"x"
    shutil.rmtree(cache)
    cache.touch()
    made.forget("0123456789abcdef.whole")  # nothing to remove
    assert made.read("0123456789abcdef.whole") is None


def test_files_of_others_in_the_folder_stay(tmp_path: Path, local: Path, url: str) -> None:
    cache = tmp_path / "own"
    cache.mkdir(exist_ok=True)
    others = {"words.vecs", "notes.head", ".words.vecs.partial", "my-copy.whole"}
    for name in others:
        shutil.copy(local, cache / name)
        os.utime(cache / name, (0, 0))
    with vecstore.open(url, cache=cache) as store:
        store.warm()
    Cache(cache, limit_bytes=0).make_room()
    assert {file.name for file in cache.iterdir()} - {".lock"} == others


def test_no_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "cache"))
    assert Cache("").folder == tmp_path / "cache"


READER = """
import sys, numpy as np, vecstore
url, seed = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(seed)
x = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
for _ in range(6):
    with vecstore.open(url) as store:
        rows = rng.integers(0, 3000, 40)
        for at in rows.tolist():
            assert (store[f"key {at}"] == x[at]).all()
        assert store.verify()
"""


@pytest.mark.parametrize("processes", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_share_a_cache(processes: int, local: Path, s3: str, proxy: Proxy) -> None:
    """Its limit is less than the store, so that they drop what the others fetch; one dies in the middle."""
    upload(local, f"{s3}/x.vecs")
    environment = {**os.environ, "VECSTORE_STORE_CACHE_BYTES": "300000"}
    command = [sys.executable, "-c", READER, f"{s3}/x.vecs"]
    readers = [
        subprocess.Popen([*command, str(seed)], env=environment, stderr=subprocess.PIPE) for seed in range(processes)
    ]
    readers.append(subprocess.Popen([*command, "9"], env=environment, stderr=subprocess.DEVNULL))
    readers[-1].kill()
    for reader in readers[:-1]:
        _, told = reader.communicate(timeout=120)
        assert not reader.returncode, told.decode()
    readers[-1].wait()


@pytest.fixture
def served(tmp_path: Path, url: str, bucket: str) -> Path:
    """Return a folder with a store as it lies in a bucket, with heads, and one as it lies on a disk."""
    folder = tmp_path / "served"
    for name in objects_at(bucket).names("x.vecs/"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(objects_at(bucket).get(name).data)
    return folder


@pytest.mark.parametrize("library", ["obstore", "fsspec"])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("alone", [True, False], ids=["file", "directory"])
def test_web_servers(
    library: str, ranges: bool, alone: bool, served: Path, local: Path, tmp_path: Path, requests: Any, monkeypatch: Any
) -> None:
    shutil.copy(local, served / "alone.vecs")
    if library == "fsspec":
        monkeypatch.setattr(path, "objects_at", fsspec_objects.FsspecObjects)
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "web"))
    with folder_server(served, ranges=ranges) as url:
        name = "alone.vecs" if alone else "x.vecs"
        with requests() as cold, vecstore.open(f"{url}/{name}") as store:
            np.testing.assert_array_equal(store["key 1234"], X[1234])
        assert cold.count <= 9
        assert alone or not ranges or (cold.count <= 5 and cold.received_bytes < 500_000)
        with requests() as warm, vecstore.open(f"{url}/{name}") as store:
            np.testing.assert_array_equal(store["key 1234"], X[1234])
            assert store.search(X[7], k=1).keys == ["key 7"]
            assert store.verify()
        assert ranges or (alone and library == "fsspec") or warm.received_bytes < 100_000
        assert repr(vecstore.open(f"{url}/{name}")[["key 5"]]) == repr(X[[5]])


def test_a_web_server_with_another_file_in_the_place_of_one(local: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Without ranges a copy is kept; once the object is another one, another copy is."""
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "web"))
    (tmp_path / "served").mkdir()
    shutil.copy(local, tmp_path / "served" / "x.vecs")
    with folder_server(tmp_path / "served", ranges=False) as url:
        store = vecstore.open(f"{url}/x.vecs")
        np.testing.assert_array_equal(store["key 7"], X[7])
        vecstore.write(tmp_path / "served" / "x.vecs", -X, KEYS, "f32", force=True)
        np.testing.assert_array_equal(store[KEYS[:9]], X[:9])
        np.testing.assert_array_equal(vecstore.open(f"{url}/x.vecs")["key 7"], -X[7])
        with pytest.raises(FileNotFoundError):
            vecstore.open(f"{url}/nothing.vecs")


def test_file_systems_that_fsspec_alone_knows(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requests: Any
) -> None:
    """They are read, and not written to: no commit would be safe."""
    monkeypatch.setattr(libraries, "OBSTORE_SCHEMES", frozenset())
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "another"))
    memory = fsspec.filesystem("memory")
    for file in (served / "x.vecs").iterdir():
        memory.pipe_file(f"/bench-{tmp_path.name}/x.vecs/{file.name}", file.read_bytes())
    url = f"memory://bench-{tmp_path.name}/x.vecs"
    with requests() as cold, vecstore.open(url) as store:
        np.testing.assert_array_equal(store["key 77"], X[77])
    assert cold.count <= 5 and cold.received_bytes < 500_000
    with pytest.raises(
        RemoteError, match="fsspec cannot write conditionally, so no commit is safe: pip install obstore"
    ):
        vecstore.tag(url, "x") if vecstore.restore(url, 0) else None
    with pytest.raises(FileNotFoundError):
        vecstore.open(f"{url[:-6]}/nothing.vecs")
