"""A store among threads, forks and other processes, and on media that nobody may write."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import vecstore

# Python warns of a fork while threads exist (BLAS has some); a store has to bear it all the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

LAYOUTS = {"file": {}, "shards": {"shard_bytes": 183_000}}


@pytest.fixture(params=LAYOUTS)
def path(request, make_store):
    return make_store("sq:8", **LAYOUTS[request.param])


def answers(store):
    """Return what a store says, in all the ways one can ask it."""
    keys = list(store)
    return (
        store["the"].tolist(),
        store[keys[::-1]].tobytes(),
        store.vectors[[5, 3, 1999]].tobytes(),
        store.search(store["king"], k=5).keys,
        store.most_similar("king", 3)[0][0],
        len(store),
        "no such word" in store,
    )


def answers_of(path_or_store):
    return answers(vecstore.open(path_or_store) if isinstance(path_or_store, (str, Path)) else path_or_store)


def test_threads_share_a_handle(path):
    expected = answers_of(path)
    store = vecstore.open(path)  # nothing of it has been touched: all threads are first
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: answers(store), range(40)))


def test_threads_close_and_open(path):
    expected = answers_of(path)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(answers_of, [path] * 24))


def test_packed_blocks_are_shared_by_threads(make_store, words):
    store = vecstore.open(make_store("f32,zstd", rows=4900))
    rows = np.random.default_rng(0).integers(0, 4900, (200, 5))
    with ThreadPoolExecutor(8) as pool:
        for asked, found in zip(rows, pool.map(lambda asked: store.vectors[asked], rows), strict=True):
            np.testing.assert_array_equal(found, words[asked])


@pytest.mark.parametrize("touched", [True, False])
def test_a_handle_is_used_in_a_child_after_fork(path, touched):
    store = vecstore.open(path)
    expected = answers_of(path)
    if touched:
        assert answers(store) == expected
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, pickle.dumps(answers(store) == expected))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pickle.load(pipe) is True
    os.waitpid(child, 0)
    assert answers(store) == expected


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_handle_is_sent_to_other_processes(path, method):
    store = vecstore.open(path)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(len, [store] * 3) == [2000] * 3
        found = pool.map(store.__getitem__, ["the", "king"])
    np.testing.assert_array_equal(found, store[["the", "king"]])


def test_a_handle_travels_as_its_path(path):
    store = vecstore.open(path, check=False)
    assert len(pickle.dumps(store)) < 500
    again = pickle.loads(pickle.dumps(store))
    assert again.path == store.path and answers(again) == answers(store)
    short = pickle.loads(pickle.dumps(store.truncated(7)))
    np.testing.assert_array_equal(short.vectors, store.truncated(7).vectors)


def test_a_pickled_handle_whose_store_is_gone(tmp_path, path):
    copy = tmp_path / "copy.vecs"
    (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    pickled = pickle.dumps(vecstore.open(copy))
    shutil.rmtree(copy) if copy.is_dir() else copy.unlink()
    with pytest.raises((FileNotFoundError, vecstore.VecstoreError)):
        pickle.loads(pickled)


@pytest.fixture
def read_only(path):
    """Copy a store to where nobody may write, below a directory that everybody may enter."""
    place = Path(tempfile.mkdtemp())
    copy = place / "words.vecs"
    (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    everything = [*place.rglob("*"), place]
    for entry in everything:
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    yield copy
    for entry in reversed(everything):
        entry.chmod(0o755)
    shutil.rmtree(place)


def test_read_only_media(read_only, path):
    """Root may write everywhere, so the asking is done by a child that has given up its rights."""
    expected = answers_of(path)
    before = {entry: entry.stat().st_mtime_ns for entry in read_only.parent.rglob("*")}
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
            assert not os.access(read_only, os.W_OK) and not os.access(read_only.parent, os.W_OK)
            code = 0 if answers_of(read_only) == expected and vecstore.open(read_only).verify() > 0 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {entry: entry.stat().st_mtime_ns for entry in read_only.parent.rglob("*")} == before
    assert not stat.S_IMODE(read_only.stat().st_mode) & 0o222
