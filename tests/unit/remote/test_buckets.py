"""Stores in buckets: they answer as those on the disk do, and fetch what is asked for and little more."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.editing.bucket import upload
from vecstore.errors import ExistsError, FormatError, OptionError, RemoteError
from vecstore.remote import pieces
from vecstore.remote.libraries import objects_at

ROWS = 3000
X = np.random.default_rng(0).normal(size=(ROWS, 32)).astype(np.float32)
KEYS: dict[Any, Any] = {
    "str": [f"key {i}" for i in range(ROWS)],
    "int64": [(-1) ** i * i**3 for i in range(ROWS)],
    None: None,
}
LAYOUTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("f32", "str", {}),
    ("sq:8", "int64", {"metric": "dot"}),
    ("tcq:16", "str", {}),
    ("bin/sq:8", "str", {}),
    ("cells:8,sq:8", "str", {"metric": "l2"}),
    ("cells:8,pq:8", "str", {"keep_order": False}),
    ("sq:8,zstd", None, {}),
    ("f16", "str", {"keep_norms": True, "metric": "dot"}),
    ("sq:8", "str", {"shard_bytes": 160_000}),
    ("tcq:8", None, {"shard_bytes": 160_000}),
]


@pytest.fixture
def garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was not fetched be garbage, not zeros, so that nobody reads it unnoticed."""
    opened = pieces._File._opened

    def filled(path: Path, size: int) -> int:
        new = not path.exists()
        number = opened(path, size)
        if new:
            data = size // (pieces.PAGE_BYTES + 1) * pieces.PAGE_BYTES
            os.pwrite(number, b"\xa5" * data, 0)
        return number

    monkeypatch.setattr(pieces._File, "_opened", staticmethod(filled))


def copied(folder: Path, url: str) -> None:
    """Copy a store as other tools do: file by file."""
    parent, _, name = url.rpartition("/")
    objects = objects_at(parent)
    for file in folder.iterdir() if folder.is_dir() else [folder]:
        objects.put(f"{name}/{file.name}" if folder.is_dir() else name, file)


@pytest.mark.usefixtures("garbage")
@pytest.mark.parametrize("spec, kind, options", LAYOUTS, ids=lambda value: str(value))
def test_answers_are_those_of_the_local_store(spec: str, kind: Any, options: Any, tmp_path: Path, bucket: str) -> None:
    keys, path = KEYS[kind], tmp_path / "x.vecs"
    vecstore.write(path, X, keys, spec, columns={"size": np.arange(ROWS)}, **options)
    upload(path, f"{bucket}/x.vecs")
    copied(path, f"{bucket}/copied.vecs")
    local = vecstore.open(path)
    for url in (f"{bucket}/x.vecs", f"{bucket}/copied.vecs"):
        same_answers(url, local, keys, tmp_path / url[-8:])


def same_answers(url: str, local: vecstore.Store, keys: Any, caches: Path) -> None:
    some = [ROWS - 1, 5, 1717] if keys is None else [keys[i] for i in (ROWS - 1, 5, 1717)]

    np.testing.assert_array_equal(vecstore.open(url)[some[1]], local[some[1]])
    np.testing.assert_array_equal(vecstore.open(url)[some], local[some])
    store = vecstore.open(url)
    for query in (X[3], X[:3]):
        assert repr(store.search(query, k=7)) == repr(local.search(query, k=7))
    fresh = vecstore.open(url, cache=caches / "another")
    every = keys if keys is not None else list(range(ROWS))
    np.testing.assert_array_equal(fresh[every], local[every])
    np.testing.assert_array_equal(fresh.vectors[:], local.vectors[:])
    assert list(fresh) == list(local)
    found = vecstore.open(url, cache=caches / "third").search(X[9], k=5, where="size < 100")
    assert list(found) == list(local.search(X[9], k=5, where="size < 100"))
    whole = vecstore.open(url, cache=caches / "fourth")
    whole.warm()
    assert whole.verify() == local.verify()
    assert whole.info()["path"] == url


def test_a_first_lookup_takes_the_manifest_and_four_requests(tmp_path: Path, bucket: str, requests: Any) -> None:
    url = f"{bucket}/x.vecs"
    x = np.random.default_rng(0).normal(size=(60_000, 32)).astype(np.float32)
    vecstore.write(url, x, [f"key {i}" for i in range(len(x))], "tcq:16")
    with requests() as cold:
        vector = vecstore.open(url)["key 51234"]
    assert cold.count <= 5
    with requests() as warm:
        np.testing.assert_array_equal(vecstore.open(url)["key 51234"], vector)
    assert warm.count == 1  # the manifest
    with requests() as pinned:
        found = vecstore.open(url)
        copy = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(copy["key 51234"], vector)
    assert pinned.count == 2


def test_searches_fetch_in_large_requests(tmp_path: Path, bucket: str, requests: Any) -> None:
    vecstore.write(tmp_path / "x.vecs", np.tile(X, (30, 1)), codec="sq:8")
    upload(tmp_path / "x.vecs", f"{bucket}/x.vecs")
    with requests() as first, vecstore.open(f"{bucket}/x.vecs") as store:
        store.search(X[3])
    assert first.received_bytes > 2_800_000
    assert first.count <= 8
    with requests() as again, vecstore.open(f"{bucket}/x.vecs", cache=tmp_path / "new") as store:
        list(store.vectors[:10])
        assert store.verify()
    assert again.count <= 12


def test_a_file_alone_is_a_store_too(tmp_path: Path, bucket: str, requests: Any) -> None:
    x, keys = np.tile(X, (10, 1)), [f"key {i}" for i in range(10 * ROWS)]
    vecstore.write(tmp_path / "x.vecs", x, keys, "f32")
    copied(tmp_path / "x.vecs", f"{bucket}/x.vecs")
    store = vecstore.open(f"{bucket}/x.vecs")
    before = store["key 7"]
    assert store.generation == 0 and store.versions() == [] and not store.refresh()
    with requests() as warm:
        np.testing.assert_array_equal(vecstore.open(f"{bucket}/x.vecs")["key 7"], before)
    assert warm.count == 2  # no manifest is there, and the object is the same
    vecstore.write(tmp_path / "x.vecs", -x, keys, "f32", force=True)
    copied(tmp_path / "x.vecs", f"{bucket}/x.vecs")
    with pytest.raises(RemoteError, match="another object was put in its place; open the store again"):
        store.verify()
    assert store.refresh()
    np.testing.assert_array_equal(store["key 7"], -before)


def test_several_stores_are_opened_as_one(tmp_path: Path, bucket: str) -> None:
    vecstore.write(tmp_path / "a.vecs", X[:1000], KEYS["str"][:1000], "sq:8")
    vecstore.write(f"{bucket}/b.vecs", X[1000:], KEYS["str"][1000:], "sq:8")
    store = vecstore.open([str(tmp_path / "a.vecs"), f"{bucket}/b.vecs"])
    assert len(store) == ROWS
    assert store.search(X[2000], k=1).keys == ["key 2000"]
    assert not vecstore.open([f"{bucket}/b.vecs"]).refresh()


@pytest.mark.parametrize(
    "url, error, message",
    [
        ("/nothing.vecs", FileNotFoundError, "nothing is there"),
        ("/text.vecs", FormatError, "not a vecstore store"),
        ("/empty.vecs", FormatError, "the object is empty"),
    ],
)
def test_what_is_no_store(url: str, error: type[Exception], message: str, bucket: str) -> None:
    objects_at(bucket).put("text.vecs", b"some text" * 1000)
    objects_at(bucket).put("empty.vecs", b"")
    with pytest.raises(error, match=message):
        vecstore.open(bucket + url)


def test_arguments_that_are_no_good(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vecstore.write(tmp_path / "x.vecs", X, codec="sq:8")
    with pytest.raises(RemoteError, match="names no store; the URL of one is like s3://bucket/docs"):
        vecstore.open("memory://m")
    with pytest.raises(OptionError, match="upload is for URLs"):
        upload(tmp_path / "x.vecs", tmp_path / "y.vecs")
    upload(tmp_path / "x.vecs", f"{bucket}/x.vecs")
    with pytest.raises(ExistsError, match="replace it with force=True"):
        upload(tmp_path / "x.vecs", f"{bucket}/x.vecs")
    with pytest.raises(ExistsError, match="replace it with force=True"):
        vecstore.write(f"{bucket}/x.vecs", X, codec="sq:8")
    monkeypatch.setenv("VECSTORE_STORE_CACHE_BYTES", "many")
    with pytest.raises(OptionError, match="VECSTORE_STORE_CACHE_BYTES is a whole number of bytes, found 'many'"):
        vecstore.open(f"{bucket}/x.vecs")


def test_file_urls_are_paths(tmp_path: Path) -> None:
    url = (tmp_path / "a b.vecs").as_uri()
    vecstore.write(url, X[:10], codec="f32")
    assert (tmp_path / "a b.vecs").is_file()
    np.testing.assert_array_equal(vecstore.open(url)[3], X[3])


def test_rows_that_are_looked_up_bring_nothing_beside(tmp_path: Path, bucket: str, requests: Any) -> None:
    x = np.random.default_rng(0).normal(size=(40_000, 64)).astype(np.float32)
    vecstore.write(tmp_path / "x.vecs", x, codec="f32")
    upload(tmp_path / "x.vecs", f"{bucket}/x.vecs")
    rows = np.arange(100, 40_000, 4000)  # of blocks that follow each other
    with requests() as used, vecstore.open(f"{bucket}/x.vecs") as store:
        np.testing.assert_array_equal(store.vectors[rows], x[rows])
    assert used.received_bytes < 64 * 1024 * (len(rows) + 2)
