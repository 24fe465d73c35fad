"""Dumps that lie in buckets and on web servers: files, patterns and folders, and what goes wrong with them."""

from __future__ import annotations

import gzip
import shutil
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest
from faulty_server import Proxy, folder_server
from vecstore.formats import open_dump, write_dump
from vecstore.formats.remote_files import ROOM_SHARE, RemoteFiles, RemotePart

import vecstore
from vecstore.cli import main
from vecstore.errors import DuplicateKeyError, FormatError, RemoteError, VecstoreError
from vecstore.remote import obstore_objects
from vecstore.remote.libraries import objects_at
from vecstore.remote.objects import Denied

ROWS, PARTS = 240, 4
X = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
KEYS = [f"key-{i}" for i in range(ROWS)]
EACH = ROWS // PARTS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a dump in four parts, and with other files that are none."""
    folder = tmp_path / "dump"
    for kind in ("parquet", "vec"):
        for part in range(PARTS):
            rows = slice(part * EACH, (part + 1) * EACH)
            path = folder / kind / f"part-{part}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_dump(path, [(KEYS[rows], X[rows])], dimensions=8, rows=EACH, key_type="str")
            if kind == "vec":
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
    (folder / "parquet" / "_SUCCESS").write_bytes(b"")
    return folder


@pytest.fixture(params=["s3", "memory"])
def remote(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of the same folder: in S3, and in what fsspec calls memory."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    if request.param == "memory":
        url = f"memory://{uuid.uuid4().hex}"
        for file in files:
            fsspec.filesystem("memory").pipe_file(f"{url}/{file.relative_to(folder)}", file.read_bytes())
        return url
    url = request.getfixturevalue("s3")
    for file in files:
        objects_at(url).put(str(file.relative_to(folder)), file)
    return url


@pytest.mark.parametrize(
    "named", ["parquet/part-*.parquet", "parquet", "parquet/", "vec/part-?.vec.gz", "v*/*[0-3].vec.gz"]
)
def test_many_files_are_one_dump(named: str, remote: str, folder: Path, tmp_path: Path) -> None:
    report = vecstore.convert(f"{remote}/{named}", tmp_path / "x.vecs", "f32")
    assert report.rows == ROWS
    local = vecstore.convert(str(folder / named), tmp_path / "local.vecs", "f32")
    with vecstore.open(tmp_path / "x.vecs") as store, vecstore.open(tmp_path / "local.vecs") as same:
        np.testing.assert_allclose(store[KEYS], X, rtol=1e-6)
        np.testing.assert_array_equal(store.vectors[:], same.vectors[:])
        assert store.info()["provenance"]["xxh3_128"] == same.info()["provenance"]["xxh3_128"]
    assert local.dump_bytes == report.dump_bytes


def test_a_dump_larger_than_the_room_is_fetched_part_by_part(
    s3: str, folder: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(file.stat().st_size for file in folder.glob("parquet/part-*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(2.5 * size / ROOM_SHARE)))
    for file in (folder / "parquet").glob("part-*"):
        objects_at(s3).put(file.name, file)
    dump = open_dump(f"{s3}/part-*.parquet")
    part = dump.parts[0]
    assert isinstance(part, RemotePart) and len(dump.parts) == 4
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([batch.vectors for batch in dump.batches(7)]), X)
        kept = [file for file in part._files._folder.rglob("*") if file.is_file()]
        assert len(kept) == 2
    fetched = [asked.path for asked in proxy.asked if asked.method == "GET" and "part-" in asked.path]
    assert len(fetched) > 8  # each was fetched for opening, and again for reading
    first, second = dump.batches(50), dump.batches(50)  # two at a time, each with a file of its own
    np.testing.assert_array_equal(next(first).vectors, next(second).vectors)
    held = part._files._folder
    del dump, part, first, second
    assert not held.exists()


def test_commands_take_patterns(remote: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "x.vecs")
    vecstore.write(path, X[:1], ["other"], "f32")
    for arguments in (
        ["append", path, f"{remote}/parquet/part-*.parquet", "--to-directory"],
        ["peek", f"{remote}/parquet/part-*.parquet"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code, arguments
    assert "240" in capsys.readouterr().out
    np.testing.assert_array_equal(vecstore.open(path)[KEYS], X)


def test_workers_open_urls_themselves(s3: str, folder: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for file in (folder / "parquet").glob("part-*"):
        objects_at(s3).put(file.name, file)
    with ThreadPoolExecutor(2) as pool:
        options: dict[str, Any] = {"shard_bytes": 1 << 20, "executor": pool}
        vecstore.convert(f"{s3}/part-*.parquet", f"{s3}/x.vecs", "f32", **options)
    np.testing.assert_array_equal(vecstore.open(f"{s3}/x.vecs")[KEYS], X)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
def test_web_servers_of_all_kinds(ranges: bool, lengths: bool, folder: Path, tmp_path: Path) -> None:
    with folder_server(folder, ranges=ranges, lengths=lengths) as url:
        for name in ("parquet/part-1.parquet", "vec/part-1.vec.gz", "vec/part-1.vec.gz?version=2"):
            with vecstore.open(vecstore.convert(f"{url}/{name}", tmp_path / "x.vecs", "f32", force=True).path) as store:
                np.testing.assert_allclose(store.vectors[:], X[EACH : 2 * EACH], rtol=1e-6)
        with pytest.raises(FileNotFoundError, match="nothing is there"):
            open_dump(f"{url}/nothing.npy")


def test_what_is_wrong_is_said_in_one_line(s3: str, proxy: Proxy, folder: Path, monkeypatch: Any) -> None:
    for file in (folder / "parquet").glob("part-*"):
        objects_at(s3).put(file.name, file)
    objects_at(s3).put("other/part-9.npy", b"no array")
    monkeypatch.setitem(obstore_objects.RETRIES, "max_retries", 1)
    cases: list[tuple[str, str | None, type[Exception], str]] = [
        ("nothing.npy", None, FileNotFoundError, "nothing is there"),
        ("nothing-*.npy", None, FormatError, "no file matches; check the pattern, or the folder"),
        ("other/*.npy", None, FormatError, r"other/part-9\.npy.*in no known format|other/part-9\.npy"),
        ("part-1.parquet", "cut", RemoteError, "part-1"),
        ("part-*.parquet", "cut", RemoteError, "part-"),
        ("part-1.parquet", "denied", Denied, "see that credentials are there, and may do this"),
        ("part-*.parquet", "denied", Denied, "see that credentials are there, and may do this"),
    ]
    for name, fault, error, message in cases:
        proxy.plan = lambda asked, fault=fault: None if "list-type" in asked.path else fault
        with pytest.raises(error, match=message) as raised:
            open_dump(f"{s3}/{name}")
        assert "\n" not in str(raised.value) and (f"{s3}/" in str(raised.value)), name


def test_errors_within_a_part_name_its_url(remote: str, tmp_path: Path) -> None:
    bad = X.copy()
    bad[ROWS - 1] = np.nan
    write_dump(tmp_path / "bad.vec", [(KEYS, bad)], dimensions=8, rows=ROWS, key_type="str")
    text = (tmp_path / "bad.vec").read_bytes()
    for name, body in (("a.vec", text), ("b.vec", text[:-300])):
        if remote.startswith("memory"):
            fsspec.filesystem("memory").pipe_file(f"{remote}/bad/{name}", body)
        else:
            objects_at(f"{remote}/bad").put(name, body)
    with pytest.raises(VecstoreError, match=r"bad/b\.vec") as raised:
        vecstore.convert(f"{remote}/bad/*.vec", tmp_path / "x.vecs", "f32", on_bad="skip")
    assert not isinstance(raised.value, DuplicateKeyError)
    assert str(tmp_path) not in str(raised.value)


def test_pipes_and_files_are_no_patterns(folder: Path) -> None:
    with pytest.raises(FormatError, match="no file matches"):
        RemoteFiles(f"memory://{uuid.uuid4().hex}/none/", lambda url: objects_at(url))


def test_keys_at_a_url(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    np.save(tmp_path / "x.npy", X)
    for name, body in {"x.npy": (tmp_path / "x.npy").read_bytes(), "keys.txt": "\n".join(KEYS).encode()}.items():
        fsspec.filesystem("memory").pipe_file(f"{url}/{name}", body)
    for source in (tmp_path / "x.npy", f"{url}/x.npy"):
        vecstore.convert(source, tmp_path / "x.vecs", "f32", keys=f"{url}/keys.txt", force=True)
        with vecstore.open(tmp_path / "x.vecs") as store:
            np.testing.assert_allclose(store[KEYS], X, rtol=1e-6)
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        vecstore.convert(source, tmp_path / "y.vecs", "f32", keys=f"{url}/other.txt")
