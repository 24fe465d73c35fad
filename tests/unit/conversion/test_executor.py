"""Conversions by the workers of an executor: the store is the same, bit for bit, whoever did what how often."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vecstore.formats import open_dump

import vecstore
from vecstore.conversion.shards import encoding, shards
from vecstore.conversion.shards.key_ranges import segment_ranges
from vecstore.conversion.survey.part_survey import PartWork, survey_part
from vecstore.conversion.tasks.rows import FilePart, Rows
from vecstore.distributed import Processes
from vecstore.distributed.crew import silent
from vecstore.errors import DuplicateKeyError, FormatError, OptionError
from vecstore.keys.map import segment_bits_of, write_key_map

ROWS, PARTS, DIMENSIONS = 6000, 5, 24
SETTINGS = {"codec": "sq:8", "shard_bytes": 200_000, "on_bad": "skip", "on_duplicate": "last"}
SETTINGS |= {"columns": ["price"], "ground_truth": 70}


@pytest.fixture(scope="module")
def processes():
    with Processes(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return a pattern of Parquet files, of several lengths, with bad rows and with keys that come twice."""
    folder, rng = tmp_path_factory.mktemp("parts"), np.random.default_rng(7)
    x = (rng.normal(size=(ROWS, DIMENSIONS)) * rng.gamma(2, size=(ROWS, 1))).astype(np.float32)
    x[[3, 2500, 5999]] = np.nan
    keys = [f"item {number}" * (1 + number % 3) for number in range(ROWS)]
    for row in (100, 1700, 4000):
        keys[row] = keys[row - 90]
    edges = [0, 1, 1500, 1900, 4400, ROWS]
    for number, (start, stop) in enumerate(pairwise(edges)):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x[start:stop].ravel()), DIMENSIONS)
        table = pa.table({"key": keys[start:stop], "vector": vectors, "price": np.arange(start, stop)})
        pq.write_table(table, folder / f"part-{number}.parquet", row_group_size=700)
    return folder / "part-*.parquet"


def files(path: Path) -> dict[str, bytes]:
    """Return the files of a store, by name."""
    assert [file.name for file in path.parent.glob(".*")] == []
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture(scope="module")
def expected(parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "a.vecs"
    report = vecstore.convert(parts, path, **SETTINGS)
    assert (report.rows, report.bad, report.duplicates) == (ROWS - 6, 3, 3)
    return files(path)


def test_sampled_vectors_of_a_part_come_in_a_file(parts, tmp_path):
    """In what workers send back they would be copied by the engine, several times."""
    part = FilePart(parts.with_name("part-3.parquet"), {})
    about = {"several": True, "on_bad": "skip", "seed": 0, "limit": 1 << 63, "sized": False, "directory": tmp_path}
    work = PartWork(3, part, **about, apart=True)
    whole, found = (survey_part(own, silent) for own in (PartWork(3, part, **about), work))
    assert len(pickle.dumps(found)) < len(pickle.dumps(whole)) / 3
    assert np.array_equal(found.gathered(work).sample[:], whole.sample[:]) and len(whole.sample) > 1000


def test_files_are_the_same(processes, parts, expected, tmp_path):
    steps = []
    report = vecstore.convert(parts, tmp_path / "a.vecs", executor=processes, progress=steps.append, **SETTINGS)
    assert len(expected) > 4 and files(tmp_path / "a.vecs") == expected
    assert [step.done for step in steps if step.stage == "encoding"][-1] == report.rows == ROWS - 6
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.info()["rows"] == ROWS - 6


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "tcq:8", "shard_bytes": 240_000},
        {"codec": "cells:8,sq:8", "shard_bytes": 200_000, "keep_norms": True, "metric": "dot"},
        {"codec": "bin/sq:8", "shard_bytes": 300_000},
        {"codec": "sq:8@2000+sq:4", "shard_bytes": 200_000},
        {"codec": "hash:16", "shard_bytes": 1_000_000, "accept_dominated": True},
        {"budget": 20, "shard_bytes": 200_000},
    ],
    ids=lambda options: options.get("codec", "tuned"),
)
@pytest.mark.slow
def test_every_kind_of_codec(processes, parts, tmp_path, options):
    options = {"on_bad": "zero", "on_duplicate": "first", **options}
    vecstore.convert(parts, tmp_path / "a.vecs", **options)
    vecstore.convert(parts, tmp_path / "b.vecs", executor=processes, **options)
    assert files(tmp_path / "a.vecs") == files(tmp_path / "b.vecs")


def test_arrays_without_keys_in_threads(tmp_path):
    x = np.random.default_rng(1).normal(size=(3000, 32)).astype(np.float32)
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", x[1000 * number : 1000 * (number + 1)])
    vecstore.convert(tmp_path / "*.npy", tmp_path / "a.vecs", shard_bytes=140_000)
    with ThreadPoolExecutor(3) as executor:
        vecstore.convert(tmp_path / "*.npy", tmp_path / "b.vecs", shard_bytes=140_000, executor=executor)
        vecstore.convert(x, tmp_path / "c.vecs", codec="f32", shard_bytes=200_000, executor=executor)
    assert files(tmp_path / "a.vecs") == files(tmp_path / "b.vecs")
    np.testing.assert_array_equal(vecstore.open(tmp_path / "c.vecs").vectors[:], x)


def test_errors_of_workers_are_told(processes, parts, tmp_path):
    options = SETTINGS | {"executor": processes}
    with pytest.raises(FormatError, match=r"part-\d.parquet: row \d+: NaN or infinity; leave such rows out"):
        vecstore.convert(parts, tmp_path / "a.vecs", **options | {"on_bad": "error"})
    with pytest.raises(DuplicateKeyError, match=r"rows \d+ and \d+ have the same key"):
        vecstore.convert(parts, tmp_path / "a.vecs", **options | {"on_duplicate": "error"})
    with pytest.raises(OptionError, match="executor= needs shard_bytes=, such as 1GiB: each shard is a task"):
        vecstore.convert(parts, tmp_path / "a.vecs", **options | {"shard_bytes": None, "ground_truth": 0})
    with pytest.raises(OptionError, match="importance= moves rows, which one process does: leave executor= away"):
        vecstore.convert(parts, tmp_path / "a.vecs", **options | {"importance": [1.0]})
    with pytest.raises(OptionError, match=r"executor= is a concurrent.futures.Executor, found int"):
        vecstore.convert(parts, tmp_path / "a.vecs", **options | {"executor": 4})
    assert list(tmp_path.iterdir()) == []


class Dying(Processes):
    """Processes that die, a few times each, of tasks of one kind: half way, and when all is done."""

    def __init__(self, times: int, kind: str, folder: Path) -> None:
        super().__init__(2)
        self.times, self.kind, self.folder = times, kind, folder

    def submit(self, task, /, *arguments, **options):
        return super().submit(_dying, self.times, self.kind, self.folder, task, *arguments, **options)


def _dying(times, kind, folder, task, *arguments):
    if task.__name__ == kind:
        for number in range(times):
            try:
                (folder / f"death-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            if number % 2:
                task(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
    return task(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["survey_part", "fit_elsewhere", "encode_shard", "map_keys"])
def test_workers_that_die(parts, expected, tmp_path, kind):
    (tmp_path / "deaths").mkdir()
    with Dying(2, kind, tmp_path / "deaths") as executor:
        vecstore.convert(parts, tmp_path / "a.vecs", executor=executor, **SETTINGS)
    assert files(tmp_path / "a.vecs") == expected
    assert len(list((tmp_path / "deaths").iterdir())) == 2


def test_a_key_map_of_many_ranges(processes, parts, expected, tmp_path, monkeypatch):
    """Each range of hashes is a task; the map is the one that is made of all keys at once."""
    monkeypatch.setattr("vecstore.keys.map.SEGMENT_KEYS", 300)
    vecstore.convert(parts, tmp_path / "a.vecs", executor=processes, **SETTINGS)
    (name,) = (name for name in expected if name.startswith("keys"))
    with vecstore.open(tmp_path / "a.vecs") as store:
        hashes = [
            np.concatenate([page.hashes() for page in shard.keys.packed_pages()]) for shard in store._snapshot.shards
        ]
        assert (store.rows_of(list(store)) == np.arange(len(store))).all()
    assert write_key_map(tmp_path / "b.vecs", hashes) == {}
    assert (tmp_path / "b.vecs").read_bytes() == (tmp_path / "a.vecs" / name).read_bytes() != expected[name]


@pytest.mark.parametrize(("keys", "tasks"), [(0, 1), (1, 1), (4_000_000, 4), (10**7, 16), (10**8, 32), (10**9, 256)])
def test_ranges_are_work_for_several_workers(keys, tasks):
    """Each segment is made once; so many at a time as there is work for sixteen, up to four."""
    ranges = segment_ranges(keys)
    assert len(ranges) == tasks and max(map(len, ranges)) <= 4
    assert [number for own in ranges for number in own] == list(range(1 << segment_bits_of(keys)))


def test_a_worker_goes_on_where_its_last_task_stopped(parts, monkeypatch):
    """Parquet has no way to a row but past all others of its row group."""
    opened = []
    monkeypatch.setattr(FilePart, "open", lambda part: opened.append(part) or open_dump(part.path))
    path = parts.with_name("part-3.parquet")
    sent, other = (pickle.dumps(Rows([FilePart(path, {})], [2500])) for _ in range(2))

    def read(sent, first, stop):
        vectors = [batch.vectors for _, batch in pickle.loads(sent).batches(first, stop)]
        np.testing.assert_array_equal(np.concatenate(vectors), whole[first:stop])
        return len(opened)

    whole = np.concatenate([batch.vectors for batch in open_dump(path).batches()])
    assert [read(sent, 0, 300), read(sent, 300, 800), read(sent, 1000, 1100), read(sent, 1100, 2500)] == [1, 1, 2, 2]
    assert [read(other, 800, 900), read(sent, 900, 1000), read(other, 900, 1000)] == [3, 4, 5]  # of one dump at a time


class Twice(ThreadPoolExecutor):
    """Does every task twice, at the same time."""

    def submit(self, task, /, *arguments, **options):
        super().submit(task, *arguments, **options)
        return super().submit(task, *arguments, **options)


def test_tasks_that_are_done_twice(parts, expected, tmp_path):
    with Twice(4) as executor:
        vecstore.convert(parts, tmp_path / "a.vecs", executor=executor, **SETTINGS)
    (tmp_path / "a.vecs").rename(tmp_path / "b.vecs")  # what came too late is of no account
    assert {file.name: file.read_bytes() for file in (tmp_path / "b.vecs").iterdir()} == expected


class Stopped(BaseException):
    """The driver is killed."""


@pytest.mark.parametrize("stage", ["reading", "encoding", "publishing"])
def test_a_driver_that_is_killed_goes_on(parts, expected, tmp_path, monkeypatch, stage):
    """What was done is not done again, and the store is the same."""
    path, encoded = tmp_path / "a.vecs", []

    def stop(step):
        if step.stage == stage and 0 < step.done > 3000:
            raise Stopped

    def counted(work, report, encode=encoding.encode_shard):
        encoded.append(work.name)
        return encode(work, report)

    monkeypatch.setattr(shards, "encode_shard", counted)
    with ThreadPoolExecutor(1) as executor:
        options = SETTINGS | {"executor": executor, "resume": True}
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            if stage == "publishing":
                patch.setattr("vecstore.conversion.shards.shards.write_keys", lambda *_: stop_now())
            vecstore.convert(parts, path, progress=stop, **options)
        assert not path.exists()
        vecstore.convert(parts, path, **options)
    assert files(path) == expected
    assert len(encoded) <= len(set(encoded)) + 1  # one may have been under way


def stop_now(*arguments):
    raise Stopped


def test_what_was_read_in_another_way_is_not_gone_on_with(tmp_path, monkeypatch):
    """A changed option, or a changed file of keys, leaves the files of the dump as they are."""
    rng, rows = np.random.default_rng(1), 3000
    a, b = rng.normal(size=(2, rows, 16)).astype(np.float32)
    one, other = (pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 16) for x in (a, b))
    pq.write_table(pa.table({"key": range(rows), "a": one, "b": other, "c": rng.random(rows)}), tmp_path / "x.parquet")
    np.save(tmp_path / "x.npy", a)
    keys = tmp_path / "keys.txt"

    def stopped_and_resumed(first, second, *, source="x.parquet", codec="f32", change=lambda: None):
        path, options = tmp_path / "s.vecs", {"codec": codec, "shard_bytes": 150_000, "resume": True, "force": True}
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            patch.setattr("vecstore.conversion.shards.shards.write_keys", stop_now)
            vecstore.convert(tmp_path / source, path, **options | first)
        change()
        vecstore.convert(tmp_path / source, path, **options | second)
        return vecstore.open(path)

    for codec in ("f32", "sq:8"):
        store = stopped_and_resumed({"vector_column": "a"}, {"vector_column": "b"}, codec=codec)
        assert np.abs(store.vectors[:] - b).mean() < 0.02
    both = {"vector_column": "a"}
    store = stopped_and_resumed(both, both | {"importance": np.arange(rows)})
    np.testing.assert_array_equal(store.vectors[:], a[::-1])
    keys.write_text("\n".join(f"key {row}" for row in range(rows)))
    changed = "\n".join(f"KEY {row}" for row in range(rows))
    opened = {"source": "x.npy", "change": lambda: keys.write_text(changed)}
    store = stopped_and_resumed({"keys": keys}, {"keys": keys}, **opened)
    assert list(store)[-1] == "KEY 2999" and store.rows_of(["KEY 7", "key 7"]).tolist() == [7, -1]


DRIVER = """
import os, signal, sys
import vecstore
from vecstore.distributed import Processes

seen = 0

def stop(step):
    global seen
    seen += 1
    if seen == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with Processes(1) as executor:
        options = dict(codec="sq:8", shard_bytes=200_000, on_bad="skip", on_duplicate="last")
        options |= dict(columns=["price"], ground_truth=70)
        vecstore.convert(sys.argv[1], sys.argv[2], executor=executor, resume=True, progress=stop, **options)
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_again_and_again(parts, expected, tmp_path):
    """Each attempt gets a few steps further; the store is whole or not there. Its processes end with it."""
    (tmp_path / "driver.py").write_text(DRIVER)
    path, attempts = tmp_path / "a.vecs", 0
    while not path.exists():
        command = [sys.executable, tmp_path / "driver.py", parts, path, str(2 * attempts + 2)]
        code = subprocess.run(command, capture_output=True, timeout=120).returncode
        attempts += 1
        assert code == (0 if path.exists() else -signal.SIGKILL) and attempts < 15
    assert files(path) == expected and attempts > 3
