"""Searches by the workers of an executor find what one process finds."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.distributed import Processes, Searcher
from vecstore.distributed.searcher import divided
from vecstore.distributed.workers import WORKERS, at_once
from vecstore.errors import FormatError, OptionError
from vecstore.parallel import processor_count
from vecstore.search.options import SearchOptions
from vecstore.search.search import sampled

ROWS, DIMENSIONS = 6000, 32
RNG = np.random.default_rng(11)
CENTRES = RNG.normal(size=(60, DIMENSIONS))
X = (CENTRES[RNG.integers(60, size=ROWS)] + 0.6 * RNG.normal(size=(ROWS, DIMENSIONS))).astype(np.float32)
X[4000:4100] = X[100:200]  # ties, in other shards
QUERIES = (X[RNG.integers(ROWS, size=9)] + 0.3 * RNG.normal(size=(9, DIMENSIONS))).astype(np.float32)
CODECS = {
    "f32": ["cosine", "l2"],
    "sq:8": ["cosine", "dot", "l2"],
    "pq:8x4": ["cosine"],
    "bin": ["cosine", "hamming"],
    "bin/sq:8": ["cosine"],
    "tcq:12": ["cosine"],
    "tcq:8/sq:8": ["cosine"],
    "cells:16,sq:8": ["cosine"],
    "cells:16,tcq:8": ["cosine"],
    "sq:8@3000+sq:4": ["cosine"],
}


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.fixture(scope="module")
def store_of(tmp_path_factory):
    """Return what makes a store of several shards, once for each codec."""
    folder, made = tmp_path_factory.mktemp("stores"), {}

    def make(codec):
        if codec not in made:
            path = folder / f"{len(made)}.vecs"
            size = 400_000 if codec == "f32" else 210_000 if "sq:8" in codec else 165_000 if "tcq" in codec else 150_000
            options = {"codec": codec, "shard_bytes": size, "columns": {"price": np.arange(ROWS) % 100}}
            vecstore.write(path, X, [f"k{n}" for n in range(ROWS)], metric="cosine", **options)
            made[codec] = path
        return made[codec]

    return make


def same(found, expected, *, digits=True):
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0 if digits else 1e-6)
    assert found.keys == expected.keys


def filters():
    some = np.random.default_rng(3)
    mask = some.random(ROWS) < 0.3
    return {
        "none": {},
        "k": {"k": 300},
        "mask": {"rows": mask},
        "few": {"rows": some.choice(ROWS, 70, replace=False)},
        "exclude": {"exclude": np.flatnonzero(mask)},
        "without a few": {"exclude": [100, 4000, 5]},
        "where": {"where": "price < 30"},
        "where, few": {"where": "price = 7", "exclude": [7]},
        "min_score": {"min_score": 0.8},
    }


@pytest.mark.parametrize(("codec", "metric"), [(codec, metric) for codec, own in CODECS.items() for metric in own])
def test_results_are_the_same(threads, store_of, codec, metric):
    path = store_of(codec)
    with vecstore.open(path) as store, Searcher(path, threads, parts=4) as searcher:
        assert len(store._snapshot.shards) > 2
        for name, options in filters().items():
            if name == "min_score" and metric in ("l2", "hamming"):
                continue
            same(
                searcher.search(QUERIES, **{"metric": metric} | options),
                store.search(QUERIES, metric=metric, **options),
            )
            same(
                searcher.search(QUERIES[0], metric=metric, **options),
                store.search(QUERIES[0], metric=metric, **options),
            )


@pytest.mark.parametrize("codec", ["sq:8", "tcq:4"])
def test_what_a_sample_says_is_tried(threads, tmp_path, monkeypatch, codec):
    many = RNG.normal(size=(40_000, 8)).astype(np.float32)
    vecstore.write(tmp_path / "many.vecs", many, codec=codec, shard_bytes=160_000)
    wrong = []

    def known(prepared, queries, *asked):
        found = sampled(prepared, queries, *asked)
        for rest in found[0]:
            rest.thresholds[wrong] = np.inf
        return found

    monkeypatch.setattr("vecstore.distributed.searcher.sampled", known)
    with vecstore.open(tmp_path / "many.vecs") as store, Searcher(tmp_path / "many.vecs", threads) as searcher:
        expected = store.search(many[:70] + 0.1)
        for wrong[:] in ([], [3, 65]):  # of these, rows that are among the best are passed over at first
            found = searcher.search(many[:70] + 0.1)
            assert np.array_equal(found.rows, expected.rows)
            assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("codec", ["sq:8", "tcq:4"])
def test_rows_that_score_what_the_last_of_a_sample_does(threads, tmp_path, codec):
    alike = np.repeat(RNG.normal(size=(20, 8)), 2000, axis=0).astype(np.float32)
    vecstore.write(tmp_path / "alike.vecs", alike, codec=codec, shard_bytes=160_000)
    with vecstore.open(tmp_path / "alike.vecs") as store, Searcher(tmp_path / "alike.vecs", threads) as searcher:
        assert sampled(store._snapshot.prepared, alike[:1], 10, SearchOptions(metric="cosine"), -np.inf, []) is not None
        queries = alike[::1999] + 0.1
        found, expected = searcher.search(queries), store.search(queries)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("codec", ["sq:8", "tcq:12"])
def test_whoever_decides_finds_the_same(threads, store_of, monkeypatch, codec):
    monkeypatch.setattr("vecstore.distributed.searcher.are_here", lambda executor: False)
    with vecstore.open(store_of(codec)) as store, Searcher(store_of(codec), threads, parts=3) as searcher:
        for options in ({}, {"k": 100}, {"where": "price < 10"}):
            found, expected = searcher.search(QUERIES, **options), store.search(QUERIES, **options)
            same(found, expected)
            np.testing.assert_array_equal(found.rescored, expected.rescored)


def test_no_more_parts_than_processors(threads):
    assert at_once(threads) == min(3, processor_count())
    assert at_once(Executor()) == WORKERS


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("bin/sq:8", {"rescore": 3}),
        ("bin/sq:8", {"rescore": 0}),
        ("bin/sq:8", {"exact": True}),
        ("bin/sq:8", {"recall": 0.9}),
        ("tcq:12", {"exact": True}),
        ("tcq:12", {"rescore": 0}),
        ("tcq:12", {"calibrated": True, "min_score": 0.5}),
        ("tcq:8/sq:8", {"rescore": 2}),
        ("cells:16,sq:8", {"nprobe": 3}),
        ("cells:16,tcq:8", {"nprobe": 2}),
        ("cells:16,tcq:8", {"nprobe": 2, "where": "price < 10"}),
        ("cells:16,sq:8", {"nprobe": 1, "rows": np.arange(100, 3000, 7)}),
    ],
    ids=str,
)
def test_options(threads, store_of, codec, options):
    path = store_of(codec)
    with vecstore.open(path) as store, Searcher(path, threads, parts=3) as searcher:
        found, expected = (each.search(QUERIES, k=12, **options) for each in (searcher, store))
        same(found, expected, digits=not options.get("exact"))  # rows that are decoded are multiplied by BLAS
        if not options.get("exact"):
            np.testing.assert_array_equal(found.rescored, expected.rescored)
        else:
            assert (found.rescored >= expected.rescored).all()


def test_first_bytes_lose_no_more(threads, store_of):
    path = store_of("tcq:12")
    with vecstore.open(path) as store, Searcher(path, threads, parts=3) as searcher:
        whole, measured = store.search(QUERIES).rows, store.description["certificate"]["prefixes"]["limits"]
        size = int(min(measured, key=int))
        for options in ({"scan_bytes": size}, {"scan_bytes": size, "rescore": 0}, {"scan_bytes": size, "k": 900}):
            found, alone = (each.search(QUERIES, **options) for each in (searcher, store))
            assert found.rows.shape == alone.rows.shape and (found.rows >= 0).all()
            if options.get("k", 10) == 10 and "rescore" not in options:
                hits = [np.isin(result.rows, whole).mean() for result in (found, alone)]
                assert hits[0] >= hits[1] - 0.02


def test_deleted_rows_and_refresh(threads, tmp_path):
    path = tmp_path / "a.vecs"
    vecstore.write(path, X, [f"k{n}" for n in range(ROWS)], codec="sq:8", shard_bytes=200_000)
    with Searcher(path, threads) as searcher:
        first = searcher.search(QUERIES[0], k=3)
        with vecstore.edit(path) as edit:
            edit.delete([first.keys[0]])
            edit.append(X[:5], [f"new{n}" for n in range(5)])
        same(searcher.search(QUERIES[0], k=3), first)
        assert searcher.refresh() and first.keys[0] not in searcher.search(QUERIES[0], k=3).keys
        with vecstore.open(path) as store:
            same(searcher.search(X[:3]), store.search(X[:3]))


def test_one_file_and_several_stores(threads, tmp_path):
    for number, part in enumerate((X[:3000], X[3000:], X[:2000])):
        vecstore.write(tmp_path / f"{number}.vecs", part, codec="f16")
    several = [tmp_path / "0.vecs", tmp_path / "1.vecs"]
    for given in (several[0], several):
        with vecstore.open(given) as store, Searcher(given, threads) as searcher:
            same(searcher.search(QUERIES), store.search(QUERIES))
    with Searcher(tmp_path / "2.vecs", threads) as searcher:
        vecstore.write(tmp_path / "2.vecs", X[5:900], codec="f16", force=True)
        with pytest.raises(FormatError, match="another store is there now"):
            searcher.search(QUERIES)


class Dying(Processes):
    """Processes one of which dies at its first search."""

    def __init__(self, folder: Path) -> None:
        super().__init__(2)
        self.folder = folder

    def submit(self, task, /, *arguments, **options):
        return super().submit(_dying, self.folder, task, *arguments, **options)


def _dying(folder, task, *arguments):
    try:
        (folder / "death").touch(exist_ok=False)
    except FileExistsError:
        return task(*arguments)
    return os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies(store_of, tmp_path):
    path = store_of("tcq:12")
    with Dying(tmp_path) as processes, vecstore.open(path) as store, Searcher(path, processes) as searcher:
        assert searcher._parts == min(2, processor_count())
        some = QUERIES[:8]  # a ninth would be alone where there are two threads, and its last digits others
        same(searcher.search(some), store.search(some))
        same(searcher.search(some, where="price < 30"), store.search(some, where="price < 30"))
    assert (tmp_path / "death").exists()


def _dying_amid_its_answer(mark):
    """Die having written the beginning of an answer, the first time."""
    if mark.exists():
        return 7
    mark.touch()
    frame = sys._getframe()
    while "pipe" not in frame.f_locals:
        frame = frame.f_back
    os.write(frame.f_locals["pipe"].fileno(), struct.pack("!i", 1000) + b"half of it")
    return os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_amid_its_answer(tmp_path):
    with Processes(2) as processes:
        assert processes.submit(_dying_amid_its_answer, tmp_path / "mark").result(timeout=120) == 7


def test_no_queries_and_more_parts_than_shards(threads, store_of):
    path = store_of("sq:8")
    with vecstore.open(path) as store, Searcher(path, threads, parts=10**9) as searcher:
        for queries in (QUERIES[:0], QUERIES):
            same(searcher.search(queries), store.search(queries))


def test_bad_arguments(threads, store_of):
    path = store_of("sq:8")
    with pytest.raises(OptionError, match="without one"):
        Searcher(path, None)
    with pytest.raises(OptionError, match=r"executor= is a concurrent.futures.Executor, found int"):
        Searcher(path, 4)
    with pytest.raises(OptionError, match="parts are a positive number"):
        Searcher(path, threads, parts=0)
    with Searcher(path, threads) as searcher:
        for options in ({"nprobe": 2}, {"exact": True}, {"where": "cost < 3"}, {"rows": [ROWS]}, {"k": 0}):
            with vecstore.open(path) as store, pytest.raises(OptionError) as alone:
                store.search(QUERIES, **options)
            with pytest.raises(OptionError) as found:
                searcher.search(QUERIES, **options)
            assert str(found.value) == str(alone.value)
        with pytest.raises(OptionError, match="make one there"):
            pickle.dumps(searcher)


def test_parts_are_alike():
    assert divided([0, 10, 20, 30, 40], 2) == [(0, 20), (20, 40)]
    assert divided([0, 10, 20, 30, 40], 9) == [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert divided([0, 1, 2, 100], 2) == [(0, 2), (2, 100)] and divided([0, 0], 3) == [(0, 0)]
