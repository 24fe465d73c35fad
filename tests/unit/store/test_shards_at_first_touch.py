"""Shards are mapped when a store is opened, and read when they are touched; no descriptor is kept."""

from __future__ import annotations

import os
import resource
import shutil
import threading
from itertools import pairwise

import numpy as np
import pytest

import vecstore
from vecstore.container.mapped_file import MappedFile
from vecstore.editing.commit import entry_of
from vecstore.errors import CorruptError, FormatError
from vecstore.store.history import kept_name
from vecstore.store.manifest import Manifest

ROWS, DIMENSIONS = 4, 8
X = np.random.default_rng(3).standard_normal((ROWS, DIMENSIONS)).astype(np.float32)

linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")


def opened_files():
    return len(os.listdir("/proc/self/fd"))


def read(store):
    """Return which shards of a store were read."""
    return [number for number, file in enumerate(store._snapshot.shards.files) if file._shard is not None]


@pytest.fixture
def store_of(tmp_path):
    """Return a function that makes a store of so many shards, which are one file by many names."""

    def made(shards):
        path = tmp_path / "many.vecs"
        path.mkdir()
        vecstore.write(tmp_path / "one.vecs", X, codec="f32")
        entry = entry_of(tmp_path / "one.vecs", "", rows=ROWS)
        for number in range(shards):
            os.link(tmp_path / "one.vecs", path / f"shard-{number}.vecs")
        entries = [entry | {"file": f"shard-{number}.vecs"} for number in range(shards)]
        Manifest(1, tuple(entries)).write(path)
        return path

    return made


def test_a_shard_is_read_when_it_is_touched(store_of):
    with vecstore.open(store_of(5)) as store:
        assert len(store) == 5 * ROWS and read(store) == [0]
        np.testing.assert_array_equal(store.vectors[3 * ROWS + 1], X[1])
        assert read(store) == [0, 3]
        np.testing.assert_array_equal(store.vectors[ROWS : 2 * ROWS], X)
        assert read(store) == [0, 1, 3]
        assert store.verify() and read(store) == [0, 1, 2, 3, 4]


def test_a_damaged_shard_is_found_at_its_first_touch(store_of):
    path = store_of(3)
    os.unlink(path / "shard-2.vecs")
    shutil.copy(path / "shard-0.vecs", path / "shard-2.vecs")
    with open(path / "shard-2.vecs", "r+b") as file:
        file.truncate(os.path.getsize(path / "shard-0.vecs") // 2)
    with vecstore.open(path) as store:
        np.testing.assert_array_equal(store.vectors[0], X[0])
        for _ in range(2):
            with pytest.raises(CorruptError, match=r"shard-2\.vecs"):
                _ = store.vectors[2 * ROWS]
        for touch in (store.verify, lambda: store.search(X[0], 1), store.info):
            with pytest.raises(CorruptError, match=r"shard-2\.vecs"):
                touch()


def test_a_shard_of_another_store_is_found_at_its_first_touch(store_of, tmp_path):
    path = store_of(3)
    vecstore.write(tmp_path / "other.vecs", X[::-1], codec="f32")
    os.replace(tmp_path / "other.vecs", path / "shard-1.vecs")
    with vecstore.open(path) as store, pytest.raises(CorruptError, match="is not the file that the manifest means"):
        _ = store.vectors[ROWS]


def test_what_is_missing_is_missed_at_opening(store_of):
    path = store_of(3)
    os.unlink(path / "shard-1.vecs")
    with pytest.raises(CorruptError, match="missing from the store"):
        vecstore.open(path)


@pytest.mark.parametrize("safe", [False, True])
def test_shards_that_are_removed_are_read_all_the_same(store_of, safe):
    path = store_of(3)
    with vecstore.open(path, safe=safe) as store:
        shutil.rmtree(path)
        np.testing.assert_array_equal(store.vectors[2 * ROWS :], X)


def test_threads_read_a_shard_once(store_of):
    with vecstore.open(store_of(40)) as store:
        found = []
        threads = [threading.Thread(target=lambda: found.append(list(store._snapshot.shards))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert all(one is other for several in zip(*found, strict=True) for one, other in pairwise(several))


def test_a_refreshed_store_keeps_what_was_read(store_of):
    path = store_of(3)
    with vecstore.open(path) as store:
        _ = store.vectors[2 * ROWS]
        before = store._snapshot.shards.files
        manifest = Manifest.read(path)
        Manifest(2, manifest.shards[1:]).write(path)
        assert store.refresh() and len(store) == 2 * ROWS
        assert read(store) == [0, 1] and all(file in before for file in store._snapshot.shards.files)


@linux
def test_no_descriptor_is_kept(store_of):
    path = store_of(30)
    with vecstore.open(path) as store:
        before = opened_files()
        assert len(store.search(X[0], 5).rows) == 5
        other = vecstore.open(path)
        assert opened_files() == before
        other.close()


@pytest.fixture
def few_files():
    """Allow the process 1,024 descriptors, as most systems do."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_ten_thousand_shards_and_a_thousand_generations(store_of, few_files):
    path = store_of(10_000)
    whole = Manifest.read(path)
    with vecstore.open(path) as store:
        assert len(store) == 10_000 * ROWS and read(store) == [0]
        np.testing.assert_array_equal(store.vectors[np.arange(0, 10_000 * ROWS, ROWS)], np.tile(X[0], (10_000, 1)))
        found = store.search(X[2], 10_000)
        assert (np.sort(found.rows) == np.arange(2, 10_000 * ROWS, ROWS)).all()
    for generation in range(2, 1002):
        Manifest(generation, whole.shards[: generation % 7 + 1]).write(path)
        shutil.copy(path / "manifest.json", path / kept_name(generation))
    stores = [vecstore.open(path, generation=generation) for generation in range(2, 1002)]
    for store in stores:
        assert len(store) == (store.generation % 7 + 1) * ROWS
        np.testing.assert_array_equal(store.vectors[-1], X[-1])


@linux
def test_an_error_says_where_the_system_opens_no_more(tmp_path, few_files):
    vecstore.write(tmp_path / "a.vecs", X, codec="f32")
    files = []
    try:
        while len(files) < 2000:
            files.append(os.open(tmp_path / "a.vecs", os.O_RDONLY))
    except OSError:
        pass
    try:
        with pytest.raises(OSError, match="opens no more files for this process: close some") as caught:
            MappedFile(tmp_path / "a.vecs")
    finally:
        for file in files:
            os.close(file)
    assert caught.value.filename == str(tmp_path / "a.vecs") and "\n" not in str(caught.value)


def test_a_mapped_file_cannot_be_written_and_outlives_its_name(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(250)))
    data = MappedFile(tmp_path / "a").data
    os.unlink(tmp_path / "a")
    assert data.tobytes() == bytes(range(250)) and not data.flags.writeable
    with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
        data.flags.writeable = True
    (tmp_path / "b").touch()
    with pytest.raises(FormatError, match="empty"):
        MappedFile(tmp_path / "b")
