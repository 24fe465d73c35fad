"""Stores in S3 (moto's server), through a proxy that does what networks and servers do: never a wrong vector."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_server import FAULTS, Asked, Plan, Proxy
from vecstore.formats import write_dump

import vecstore
from vecstore.conversion import conversion
from vecstore.editing import bucket
from vecstore.editing.bucket import upload
from vecstore.errors import (
    CommitUncertainError,
    ConflictError,
    CorruptError,
    OptionError,
    RemoteError,
    VecstoreError,
)
from vecstore.remote.libraries import objects_at
from vecstore.remote.objects import translated

ROWS = 2000
X = np.random.default_rng(0).normal(size=(ROWS, 48)).astype(np.float32)
KEYS = [f"key {i}" for i in range(ROWS)]
ON_THE_WAY = ("delay", "cut", "twice", "lost", "drop", "busy", "broken")  # what TLS lets happen


def now_and_then(seed: int, share: float, faults: tuple[str, ...] = FAULTS) -> Plan:
    """Return a plan with faults for a share of all requests, of a seed."""
    return lambda asked: (
        random.Random(seed * 10_000 + asked.number).choice(faults)
        if random.Random(-1 - seed * 10_000 - asked.number).random() < share
        else None
    )


def once(fault: str, method: str, ending: str) -> Plan:
    """Return a plan with a fault at the first request of this kind."""
    seen: list[int] = []

    def plan(asked: Asked) -> str | None:
        if asked.method == method and asked.path.partition("?")[0].endswith(ending):
            seen.append(1)
            return fault if len(seen) == 1 else None
        return None

    return plan


def test_a_store_in_s3_from_a_dump_to_an_edit(s3: str, tmp_path: Path, requests: type) -> None:
    write_dump(tmp_path / "x.npy", [(KEYS, X)], dimensions=48, rows=ROWS, key_type="str")
    for name in ("x.npy", "x.keys.txt"):
        objects_at(s3).put(name, tmp_path / name)
    report = vecstore.convert(f"{s3}/x.npy", f"{s3}/x.vecs", "sq:8", keys=tmp_path / "x.keys.txt")
    assert report.rows == ROWS
    local = tmp_path / "local.vecs"
    vecstore.write(local, X, KEYS, "sq:8")
    with requests() as cold, vecstore.open(f"{s3}/x.vecs") as store, vecstore.open(local) as same:
        np.testing.assert_array_equal(store["key 1500"], same["key 1500"])
        assert cold.__exit__() is None and cold.count <= 5
        assert repr(store.search(X[:3], k=5)) == repr(same.search(X[:3], k=5))
    with vecstore.edit(f"{s3}/x.vecs") as e:
        e.upsert(-X[:1], ["key 0"])
        e.delete(["key 1"])
    with vecstore.open(f"{s3}/x.vecs", cache=tmp_path / "another") as store:
        assert store.generation == 1 and "key 1" not in store and store.verify()
        assert [version.generation for version in store.versions()] == [0, 1]
        assert store.search(-X[0], k=1).keys == ["key 0"]


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_in_each_request_of_a_lookup(fault: str, s3: str, proxy: Proxy, tmp_path: Path) -> None:
    url, path = f"{s3}/x.vecs", tmp_path / "x.vecs"
    vecstore.write(path, X[:1500], KEYS[:1500], "f32")
    upload(path, url)
    right = X[1234]
    first = len(proxy.asked)
    vecstore.open(url, cache=tmp_path / "cold")["key 1234"]
    count = len(proxy.asked) - first
    for number in range(count):
        at = len(proxy.asked) + number
        proxy.plan = lambda asked, at=at: fault if asked.number == at else None
        try:
            found = vecstore.open(url, cache=tmp_path / f"cache {number}")["key 1234"]
        except VecstoreError as error:
            assert "\n" not in str(error)
            assert fault in ("short", "long", "flip", "stale", "whole")
        else:
            np.testing.assert_array_equal(found, right)
        proxy.plan = lambda asked: None
        np.testing.assert_array_equal(vecstore.open(url, cache=tmp_path / f"cache {number}")["key 1234"], right)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two stores of several shards and 6,000 rows."""
    folder = tmp_path_factory.mktemp("stores")
    x, keys = np.concatenate([X, -X, X + 1]), [f"key {i}" for i in range(3 * ROWS)]
    for number, codec in enumerate(("sq:8", "cells:4,sq:8")):
        vecstore.write(folder / f"{number}.vecs", x, keys, codec, shard_bytes=200_000)
    return folder


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 30))])
def test_faults_never_give_a_wrong_vector(seed: int, local: Path, s3: str, proxy: Proxy) -> None:
    path = local / f"{seed % 2}.vecs"
    upload(path, f"{s3}/x.vecs")
    chosen = np.random.default_rng(seed).integers(0, 3 * ROWS, 8)
    with vecstore.open(path) as same:
        vectors, best = same[[f"key {i}" for i in chosen]], repr(same.search(X[seed], k=5))
    proxy.plan, failed = now_and_then(seed, 0.15), 0
    for _ in range(4):
        try:
            with vecstore.open(f"{s3}/x.vecs") as store:
                for at, i in enumerate(chosen.tolist()):
                    np.testing.assert_array_equal(store[f"key {i}"], vectors[at])
                assert repr(store.search(X[seed], k=5)) == best
        except VecstoreError as error:
            failed += 1
            assert "\n" not in str(error)
    proxy.plan = lambda asked: None
    with vecstore.open(f"{s3}/x.vecs") as store:  # nothing wrong has stayed in the cache
        assert store.verify()
        np.testing.assert_array_equal(store[[f"key {i}" for i in chosen]], vectors)


@pytest.mark.parametrize("fault", ["lost", "twice", "broken", "drop", "busy", "cut"])
def test_a_doubtful_answer_to_a_commit_is_read_back(fault: str, s3: str, proxy: Proxy) -> None:
    vecstore.write(f"{s3}/x.vecs", X, KEYS, "f32")
    proxy.plan = once(fault, "PUT", "/x.vecs/manifest.json")
    with vecstore.edit(f"{s3}/x.vecs") as e:
        e.append(X[:1], ["new"])
    assert e.generation == 1
    store = vecstore.open(f"{s3}/x.vecs")
    assert store.generation == 1 and "new" in store
    proxy.plan = once(fault, "PUT", "/y.vecs/manifest.json")
    vecstore.write(f"{s3}/y.vecs", X, KEYS, "f32")
    assert len(vecstore.open(f"{s3}/y.vecs")) == ROWS


def test_a_commit_that_nobody_confirms_is_uncertain(s3: str, proxy: Proxy) -> None:
    vecstore.write(f"{s3}/x.vecs", X, KEYS, "f32")
    proxy.plan = lambda asked: "lost" if asked.method == "PUT" and "manifest.json" in asked.path else None
    with vecstore.edit(f"{s3}/x.vecs") as e:  # it was read back
        e.append(X[:1], ["new"])
    down = threading.Event()

    def plan(asked: Asked) -> str | None:
        if asked.method == "PUT" and "manifest.json" in asked.path:
            down.set()
        return "drop" if down.is_set() else None

    proxy.plan = plan
    uncertain = pytest.raises(CommitUncertainError, match="does not say whether generation 2 is in force")
    with uncertain, vecstore.edit(f"{s3}/x.vecs") as e:
        e.append(X[:1], ["newer"])
    proxy.plan = lambda asked: None
    assert "newer" not in vecstore.open(f"{s3}/x.vecs")


@pytest.mark.parametrize("fault", ON_THE_WAY)
def test_an_answer_about_an_old_manifest_that_is_spoiled_is_asked_for_again(s3: str, proxy: Proxy, fault: str) -> None:
    vecstore.write(f"{s3}/x.vecs", X, KEYS, "f32")
    first = threading.Lock()
    proxy.plan = lambda asked: (
        fault if asked.method == "PUT" and "/manifest-" in asked.path and first.acquire(blocking=False) else None
    )
    with vecstore.edit(f"{s3}/x.vecs") as e:
        e.append(X[:1], ["new"])
    assert first.locked()
    assert "new" in vecstore.open(f"{s3}/x.vecs") and "new" not in vecstore.open(f"{s3}/x.vecs", generation=0)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_two_writers_on_a_bad_network_lose_nothing(seed: int, s3: str, proxy: Proxy, tmp_path: Path) -> None:
    vecstore.write(f"{s3}/x.vecs", X, KEYS, "f32")
    proxy.plan, each = now_and_then(seed, 0.08, ON_THE_WAY), 3
    errors: list[BaseException] = []

    def work(writer: int) -> None:
        number = 0
        while number < each:
            try:
                with vecstore.edit(f"{s3}/x.vecs", cache=tmp_path / f"machine {writer}") as e:
                    e.append(X[:1] + writer + number, [f"{writer}-{number}"])
            except ConflictError:
                continue
            except BaseException as error:
                errors.append(error)
                return
            number += 1

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proxy.plan = lambda asked: None
    assert not errors
    store = vecstore.open(f"{s3}/x.vecs")
    assert len(store) == ROWS + 2 * each and store.generation == 2 * each
    for writer in range(2):
        for number in range(each):
            np.testing.assert_array_equal(store[f"{writer}-{number}"], X[0] + writer + number)
    assert store.verify()


def test_another_file_in_the_place_of_one_is_not_kept(s3: str, proxy: Proxy, tmp_path: Path) -> None:
    """Its own checksums are right: only the manifest tells that it is another one."""
    for name, x in (("a", X), ("b", -X)):
        vecstore.write(f"{s3}/{name}.vecs", x[:1500], KEYS[:1500], "f32")
    names = [
        next(each for each in objects_at(s3).names(f"{name}.vecs/") if each.endswith(".vecs")) for name in ("a", "b")
    ]
    proxy.plan = lambda asked: "drop" if asked.path.endswith(".head") else None
    right, wrong = (objects_at(s3).get(name).data for name in names)
    objects_at(s3).put(names[0], wrong)
    for act in (lambda: vecstore.open(f"{s3}/a.vecs"), lambda: vecstore.compact(f"{s3}/a.vecs")):
        with pytest.raises(CorruptError, match="is not the file that the manifest means"):
            act()
    objects_at(s3).put(names[0], right)
    np.testing.assert_array_equal(vecstore.open(f"{s3}/a.vecs")[KEYS[:1500]], X[:1500])


def test_what_cannot_be_written_is_said_before_anything_is_done(s3: str, tmp_path: Path, monkeypatch: Any) -> None:
    vecstore.write(tmp_path / "x.vecs", np.ones((3, 2)), codec="f32")
    nobody = f"s3://nobody-{tmp_path.name.replace('_', '-')}/x.vecs"
    monkeypatch.setattr(bucket, "_publish", None)
    monkeypatch.setattr(conversion, "build", None)
    for write in (lambda: upload(tmp_path / "x.vecs", nobody), lambda: vecstore.write(nobody, np.ones((3, 2)))):
        with pytest.raises(RemoteError, match="there is no such bucket; create it, or check the URL"):
            write()
    with pytest.raises(RemoteError, match="stores are written to buckets, not to web servers"):
        upload(tmp_path / "x.vecs", f"{os.environ['AWS_ENDPOINT_URL']}/tests/x.vecs")
    with pytest.raises(OptionError, match="upload is for stores on the disk"):
        upload(f"{s3}/x.vecs", f"{s3}/y.vecs")
    for url in ("s3:///x.vecs", "nowhere://x/x.vecs"):
        with pytest.raises(RemoteError, match="; check the URL"):
            vecstore.open(url)


def test_a_panic_of_the_library_is_an_error_in_one_line(s3: str, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(RemoteError, match="that of the endpoint in the environment"):
        vecstore.open(f"{s3}/x.vecs")
    capfd.readouterr()


def test_a_full_disk_is_none_of_the_bucket() -> None:
    with pytest.raises(OSError, match="No space left"), translated("s3://bucket/x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
