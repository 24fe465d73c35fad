"""Stores in buckets are written and changed there: one of several writers wins, and lost answers are found out."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from vecstore.formats import write_dump

import vecstore
from vecstore.cli import main
from vecstore.editing import bucket as publishing
from vecstore.editing.bucket import upload
from vecstore.errors import (
    BusyError,
    CommitUncertainError,
    ConflictError,
    CorruptError,
    ExistsError,
    OptionError,
    RemoteError,
)
from vecstore.remote.libraries import objects_at
from vecstore.remote.objects import Denied
from vecstore.remote.obstore_objects import ObstoreObjects

ROWS = 500
X = np.random.default_rng(0).normal(size=(ROWS, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(ROWS)]


@pytest.fixture
def url(bucket: str) -> str:
    """Return the URL of a store of 500 rows, exact."""
    vecstore.write(f"{bucket}/x.vecs", X, KEYS, "f32")
    return f"{bucket}/x.vecs"


def command(*args: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert not ended.value.code


def test_commands_take_urls(bucket: str, tmp_path: Path, capsys: Any) -> None:
    write_dump(tmp_path / "x.parquet", [(KEYS, X)], dimensions=16, rows=ROWS, key_type="str")
    command("convert", str(tmp_path / "x.parquet"), f"{bucket}/x.vecs", "--codec", "f32")
    with vecstore.open(f"{bucket}/x.vecs") as store:
        np.testing.assert_array_equal(store[KEYS], X)
    command("export", f"{bucket}/x.vecs", f"{bucket}/back/x.npy")
    assert sorted(objects_at(bucket).names("back/")) == ["back/x.keys.txt", "back/x.npy"]
    (tmp_path / "back.npy").write_bytes(objects_at(bucket).get("back/x.npy").data)
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), X)
    with pytest.raises(ExistsError, match=r"back/x\.npy: exists"):
        write_dump(f"{bucket}/back/x.npy", [(KEYS, X)], dimensions=16, rows=ROWS, key_type="str")
    command("info", f"{bucket}/x.vecs")
    assert "500" in capsys.readouterr().out


def test_edits_are_seen_by_all_at_once(url: str) -> None:
    reader = vecstore.open(url)
    with vecstore.edit(url) as e:
        e.append(X[:3] + 1, ["a", "b", "c"])
        e.delete(["key 7"])
        e.upsert(X[:1] - 1, ["key 0"])
        assert "a" not in vecstore.open(url)
    assert e.generation == 1
    assert "a" not in reader
    assert reader.refresh() and not reader.refresh()
    np.testing.assert_array_equal(reader[["a", "key 0"]], [X[0] + 1, X[0] - 1])
    assert "key 7" not in reader
    assert [version.generation for version in reader.versions()] == [0, 1]
    assert len(vecstore.open(url, generation=0)) == ROWS
    with vecstore.edit(url) as e:
        e.delete(["not there"])
    assert e.generation is None
    with pytest.raises(ZeroDivisionError), vecstore.edit(url) as e:
        e.delete(["a"])
        1 / 0  # noqa: B018
    assert "a" in vecstore.open(url)


def test_edits_upload_what_is_new_alone(url: str, requests: Any) -> None:
    for i in range(9):
        with requests() as used, vecstore.edit(url) as e:
            e.append(X[:1], [f"new {i}"])
        assert i == 0 or used.received_bytes < 60_000  # not the first shard again
    assert len(vecstore.open(url)) == ROWS + 9
    found = vecstore.compact(url)
    assert found.after < found.before
    assert len(vecstore.open(url)) == ROWS + 9
    assert vecstore.open(url).verify()


def test_a_certificate_is_measured_again_there(url: str) -> None:
    reader = vecstore.open(url)
    with vecstore.edit(url) as e:
        e.append(X[:90] + 1, [f"new {i}" for i in range(90)])
    assert vecstore.open(url).info()["certified"]["stale"]
    vecstore.certify(url)
    assert reader.refresh() and reader.generation == 2
    assert not reader.info()["certified"]["stale"]
    np.testing.assert_array_equal(reader["new 3"], X[3] + 1)


def test_one_of_two_writers_wins(url: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConflictError, match="another writer was first; nothing has changed"),
        vecstore.edit(url) as late,
    ):
        late.append(X[:1], ["late"])
        with vecstore.edit(url, cache=tmp_path / "another machine") as first:
            first.append(X[:1], ["first"])
        assert any((tmp_path / "another machine").glob("*.vecs"))
    assert late.generation is None
    store = vecstore.open(url)
    assert store.generation == 1
    assert "first" in store and "late" not in store
    assert store.verify()
    with vecstore.edit(url) as again:
        again.append(X[:1], ["late"])
    assert again.generation == 2


def test_a_new_store_is_written_by_one_of_two(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, x in (("a", X), ("b", -X)):
        vecstore.write(tmp_path / name, x, KEYS, "f32")
    put, done = publishing._put, []

    def other_first(*args: Any) -> None:
        put(*args)
        if not done:
            done.append(1)
            upload(tmp_path / "b", f"{bucket}/x.vecs")

    monkeypatch.setattr(publishing, "_put", other_first)
    with pytest.raises(ConflictError):
        upload(tmp_path / "a", f"{bucket}/x.vecs")
    np.testing.assert_array_equal(vecstore.open(f"{bucket}/x.vecs")[KEYS], -X)


def test_force_replaces_a_store_whose_readers_go_on(url: str) -> None:
    reader = vecstore.open(url)
    vecstore.write(url, -X, KEYS, "f32", force=True)
    np.testing.assert_array_equal(reader[KEYS], X)
    assert reader.refresh()
    np.testing.assert_array_equal(reader[KEYS], -X)


class Lossy:
    """Takes manifests, or not, and loses the answer; the library then repeats, or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *plan: str) -> None:
        self.plan, replace = list(plan), ObstoreObjects.replace

        def lossy(objects: ObstoreObjects, name: str, data: bytes, mark: str) -> None:
            step = self.plan.pop(0) if self.plan else "take"
            if step == "deny":
                raise Denied("no")
            if step in ("take", "take and lose", "take twice"):
                replace(objects, name, data, mark)
            if step == "take twice":
                replace(objects, name, data, mark)
            if step.endswith("lose"):
                raise RemoteError("timed out")

        monkeypatch.setattr(ObstoreObjects, "replace", lossy)


@pytest.mark.parametrize("plan", [["take and lose"], ["lose"], ["lose", "lose"], ["take twice"]])
def test_a_lost_answer_is_found_out(url: str, plan: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Lossy(monkeypatch, *plan)
    with vecstore.edit(url) as e:
        e.append(X[:1], ["new"])
    assert e.generation == vecstore.open(url).generation == 1
    assert "new" in vecstore.open(url)


def test_a_bucket_that_never_says_leaves_the_commit_uncertain(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Lossy(monkeypatch, *["lose"] * 9)
    with pytest.raises(CommitUncertainError, match="generation 1 is in force") as caught, vecstore.edit(url) as e:
        e.append(X[:1], ["new"])
    assert caught.value.generation == 1
    Lossy(monkeypatch, "deny")
    with pytest.raises(Denied), vecstore.edit(url) as e:
        e.append(X[:1], ["new"])
    assert "new" not in vecstore.open(url)


def test_what_is_not_done_in_buckets(url: str, bucket: str, tmp_path: Path) -> None:
    vecstore.write(tmp_path / "x.vecs", X, KEYS, "f32")
    objects_at(bucket).put("alone.vecs", tmp_path / "x.vecs")
    with pytest.raises(OptionError, match="no directory of shards is there"), vecstore.edit(f"{bucket}/alone.vecs"):
        pass
    with pytest.raises(OptionError, match="resume= goes on with what lies beside a local store"):
        vecstore.convert(X, f"{bucket}/new.vecs", resume=True)
    with pytest.raises(OptionError, match="is not done in a bucket; do it on a local copy, and upload that"):
        vecstore.Writer(url, vecstore.open(url).codec)
    with pytest.raises(OptionError, match="a store of one file has one generation"):
        vecstore.clean(f"{bucket}/alone.vecs")


def test_writers_of_one_machine_wait_for_each_other(url: str) -> None:
    with vecstore.edit(url) as e:
        e.append(X[:1], ["first"])
        for busy in (lambda: append(url, "no"), lambda: vecstore.compact(url), lambda: vecstore.clean(url)):
            with pytest.raises(BusyError, match=r"x\.vecs: another process is writing it"):
                busy()
        late = Thread(target=lambda: append(url, "late", wait=60))
        late.start()
    late.join()
    assert {"first", "late"} <= set(vecstore.open(url))


def append(url: str, key: str, **options: Any) -> None:
    with vecstore.edit(url, **options) as e:
        e.append(X[:1], [key])


def test_generations_are_tagged_restored_and_cleaned(url: str) -> None:
    for key in "abcd":
        append(url, key)
    assert vecstore.tag(url, "with-a", 1) == 1
    held = vecstore.open(url, generation=2)
    assert vecstore.clean(url, older_than=0, keep=1).generations == 4
    with pytest.raises(OptionError, match="generation 2 is not there, or was cleaned away; there are 4"):
        vecstore.open(url, generation=2)
    assert "b" in held  # what was read before stays
    assert "a" in vecstore.open(url, generation="with-a") and "b" not in vecstore.open(url, generation="with-a")
    assert vecstore.restore(url, "with-a") == 5
    assert "b" not in vecstore.open(url) and vecstore.open(url).verify()
    vecstore.untag(url, "with-a")
    assert vecstore.open(url).versions()[-1].tags == ()
    with pytest.raises(OptionError, match="no tag 'with-a'"):
        vecstore.untag(url, "with-a")


def test_clean_removes_what_failed_commits_left(url: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(objects_at(bucket).names())
    Lossy(monkeypatch, "deny")
    with pytest.raises(Denied):
        append(url, "new")
    left = set(objects_at(bucket).names()) - set(before)
    assert len(left) == 3  # a shard, its head, and the manifest under the name that keeps it
    assert vecstore.clean(url).files == 0  # it may be that of a writer at work
    found = vecstore.clean(url, older_than=0)
    assert found.files == 2 and found.bytes > 0
    assert [name for name in objects_at(bucket).names() if name.endswith((".vecs", ".head"))] == [
        name for name in before if name.endswith((".vecs", ".head"))
    ]
    append(url, "new")
    assert "new" in vecstore.open(url)


def test_shards_are_opened_when_they_are_touched(bucket: str, tmp_path: Path, requests: Any) -> None:
    url = f"{bucket}/many.vecs"
    vecstore.write(url, X[:100], KEYS[:100], "f32")
    for i in range(1, 4):
        with vecstore.edit(url) as e:
            e.append(X[100 * i : 100 * i + 100], KEYS[100 * i : 100 * i + 100])
    with requests() as opened:
        store = vecstore.open(url, cache=tmp_path / "new")
    assert len(store) == 400 and opened.count == 2  # the manifest, and the head of the first shard
    with requests() as first:
        np.testing.assert_array_equal(store.vectors[5], X[5])
    assert first.count <= 2
    gone = vecstore.open(url, cache=tmp_path / "newer")
    np.testing.assert_array_equal(store.vectors[350], X[350])
    vecstore.write(url, -X, KEYS, "f32", force=True)
    vecstore.clean(url, older_than=0, keep=1)
    with pytest.raises(CorruptError, match=r"is missing: where the store was cleaned since it was opened, refresh\(\)"):
        gone.vectors[350]
    assert gone.refresh()
    np.testing.assert_array_equal(gone.vectors[350], -X[350])


def test_a_store_on_the_disk_is_uploaded_by_a_command(bucket: str, tmp_path: Path, capsys: Any) -> None:
    vecstore.write(tmp_path / "x.vecs", X, KEYS, "f32", shard_bytes=140_000)
    command("upload", str(tmp_path / "x.vecs"), f"{bucket}/x.vecs")
    command("upload", str(tmp_path / "x.vecs"), f"{bucket}/x.vecs", "--force")
    assert "generation 1" in capsys.readouterr().err
    np.testing.assert_array_equal(vecstore.open(f"{bucket}/x.vecs")[KEYS], X)
