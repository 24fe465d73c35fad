"""Ask stores at random from four threads of two processes, for minutes, and compare each answer with numpy's.

``python -m vecstore.bench.scripts.soak --minutes 5``. Threads share the handles of their process. Some open stores
anew, pickle them or replace their files meanwhile. No answer may differ, and neither memory nor descriptors may grow.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vecstore
from vecstore.codecs.base import Floats

__all__ = ["Soaked", "soak"]

ROWS, DIMENSIONS, K = 6000, 32, 10
STORES: dict[str, dict[str, Any]] = {
    "f32": {"codec": "f32"},
    "norms": {"codec": "sq:8", "keep_norms": True, "keys": "int64"},
    "shards": {"codec": "sq:8", "shard_bytes": 180_000},
    "pq": {"codec": "pq:8", "keys": None},
    "zstd": {"codec": "f16,zstd", "keys": "bytes"},
    "layers": {"codec": "bin/sq:8"},
    "cells": {"codec": "cells:40,sq:8"},
    "tcq": {"codec": "cells:40,tcq:16/f16"},
    "hash": {"codec": "hash:900:2:word&ngrams2-3"},
}
EXACT = ("f32", "norms", "shards", "pq", "zstd", "hash")  # whose scans find the best rows of what they decode to
CLOSE = 2e-4  # of scores, between float32 summed in one order and in another
GROWTH_BYTES = 12 << 20  # that an allocator may take without a leak
GROWTH_FILES = 4  # that threads happen to have open


@dataclass
class Soaked:
    """What a process did: operations by name, differences, and private bytes and descriptors over time."""

    operations: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    sizes: list[tuple[float, int, int]] = field(default_factory=list)  # share of the time, bytes, descriptors

    @property
    def growth(self) -> tuple[int, int]:
        """Bytes and descriptors that the last third of the time has more than the second third (medians)."""
        second, last = (
            np.median([(size, files) for at, size, files in self.sizes if low <= at < low + 1 / 3], axis=0)
            for low in (1 / 3, 2 / 3)
        )
        return int(last[0] - second[0]), int(last[1] - second[1])

    @property
    def sound(self) -> bool:
        """Whether no answer differed, and nothing grew."""
        size, files = self.growth
        return not self.differences and size <= GROWTH_BYTES and files <= GROWTH_FILES


class Known:
    """A store, and what numpy makes of it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        kind = STORES[name].get("keys", "str")
        self.keys: list[Any] = [*range(ROWS)] if kind is None else _keys(kind)
        self.handle = vecstore.open(path)
        self.vectors: Floats = np.array(self.handle.vectors)
        self.units = self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-30)

    def scores(self, query: Floats) -> Floats:
        """Return the cosines of a query: (rows,)."""
        return np.asarray(self.units @ (query / np.linalg.norm(query)), np.float32)


def soak(seconds: float, *, processes: int = 2, threads: int = 4, number: int = 0) -> list[Soaked]:
    """Ask for so long, by a seed, and return what each process did."""
    with tempfile.TemporaryDirectory() as folder:
        x = np.random.default_rng(1).normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
        for name, given in STORES.items():
            options = dict(given)
            kind = options.pop("keys", "str")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                keys = None if kind is None else _keys(kind)
                vecstore.write(Path(folder) / f"{name}.vecs", x, keys, accept_dominated=True, **options)
        context = multiprocessing.get_context("spawn")
        with context.Pool(processes) as pool:
            jobs = [(Path(folder), seconds, threads, 1000 * number + 100 * process) for process in range(processes)]
            return pool.starmap(_soak_process, jobs)


def _soak_process(folder: Path, seconds: float, threads: int, number: int) -> Soaked:
    soaked = Soaked()
    stores = [Known(name, folder / f"{name}.vecs") for name in STORES]
    x = np.random.default_rng(1).normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    if not np.array_equal(stores[0].vectors, x):
        soaked.differences.append("f32: other vectors than were written")
    begun = time.monotonic()

    def ask(thread: int) -> None:
        rng = np.random.default_rng(number + thread)
        while time.monotonic() < begun + seconds and not soaked.differences:
            known = stores[int(rng.integers(len(stores)))]
            operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
            try:
                operation(known, rng)
            except Exception:
                soaked.differences.append(f"{known.name}, {operation.__name__}: {traceback.format_exc()}")
            soaked.operations[operation.__name__] += 1

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask, thread) for thread in range(threads)]
        while not all(thread.done() for thread in asked):
            time.sleep(min(1.0, seconds / 100))
            at = (time.monotonic() - begun) / seconds
            soaked.sizes.append((at, _private_bytes(), len(os.listdir("/proc/self/fd"))))
    return soaked


def get_one(known: Known, rng: np.random.Generator) -> None:
    row = int(rng.integers(ROWS))
    _same(known.handle[known.keys[row]], known.vectors[row])


def get_many(known: Known, rng: np.random.Generator) -> None:
    rows = rng.integers(ROWS, size=int(rng.integers(1, 900)))
    _same(known.handle[[known.keys[row] for row in rows]], known.vectors[rows])


def get_missing(known: Known, rng: np.random.Generator) -> None:
    absent: Any = {str: "no such key", bytes: b"no such key", int: ROWS + 10**6}[type(known.keys[0])]
    row = int(rng.integers(ROWS))
    found = known.handle.rows_of([absent, known.keys[row]])
    _same(found, [-1, row])
    assert absent not in known.handle


def slice_vectors(known: Known, rng: np.random.Generator) -> None:
    low, high = np.sort(rng.integers(ROWS, size=2))
    chosen = slice(int(low), int(high), int(rng.integers(1, 50)))
    _same(known.handle.vectors[chosen], known.vectors[chosen])


def read_keys(known: Known, rng: np.random.Generator) -> None:
    rows = rng.integers(ROWS, size=40)
    if known.handle.key_type is not None:
        assert [known.handle.key_of(int(row)) for row in rows] == [known.keys[row] for row in rows]


def search_one(known: Known, rng: np.random.Generator) -> None:
    query = rng.normal(size=DIMENSIONS).astype(np.float32)
    _as_good(known, query, known.handle.search(query, k=K), np.arange(ROWS))


def search_batch(known: Known, rng: np.random.Generator) -> None:
    queries = rng.normal(size=(int(rng.integers(2, 20)), DIMENSIONS)).astype(np.float32)
    for query, found in zip(queries, known.handle.search(queries, k=K).each(), strict=True):
        _as_good(known, query, found, np.arange(ROWS))


def search_some_rows(known: Known, rng: np.random.Generator) -> None:
    query = rng.normal(size=DIMENSIONS).astype(np.float32)
    rows = np.flatnonzero(rng.random(ROWS) < rng.choice([0.003, 0.1, 0.9]))
    if len(rows) > K:
        _as_good(known, query, known.handle.search(query, k=K, rows=rows), rows)


def search_without(known: Known, rng: np.random.Generator) -> None:
    query, left_out = rng.normal(size=DIMENSIONS).astype(np.float32), rng.integers(ROWS, size=5)
    rows = np.setdiff1d(np.arange(ROWS), left_out)
    _as_good(known, query, known.handle.search(query, k=K, exclude=left_out), rows)


def search_range(known: Known, rng: np.random.Generator) -> None:
    query, least = rng.normal(size=DIMENSIONS).astype(np.float32), float(rng.uniform(0.3, 0.6))
    (found,) = known.handle.range_search(query[None], min_score=least)
    scores = known.scores(query)
    assert (np.abs(scores[found.rows] - found.scores) < CLOSE).all()
    assert (scores[found.rows] > least - CLOSE).all()
    if known.name in EXACT:
        assert np.isin(np.flatnonzero(scores > least + CLOSE), found.rows).all()


def score_rows(known: Known, rng: np.random.Generator) -> None:
    query, rows = rng.normal(size=DIMENSIONS).astype(np.float32), rng.integers(ROWS, size=50)
    np.testing.assert_allclose(known.handle.scores(query, rows=rows), known.scores(query)[rows], atol=CLOSE)


def open_again(known: Known, rng: np.random.Generator) -> None:
    row = int(rng.integers(ROWS))
    with vecstore.open(known.path, safe=bool(rng.random() < 0.2)) as store:
        _same(store[known.keys[row]], known.vectors[row])
        store.search(known.vectors[row], k=1)


def pickled(known: Known, rng: np.random.Generator) -> None:
    row = int(rng.integers(ROWS))
    with pickle.loads(pickle.dumps(known.handle)) as store:
        _same(store[known.keys[row]], known.vectors[row])


def replace_file(known: Known, rng: np.random.Generator) -> None:
    if known.path.is_file():
        copy = known.path.with_name(f".{known.name}.{os.getpid()}.{rng.integers(1 << 40)}")
        shutil.copyfile(known.path, copy)
        copy.replace(known.path)


def verify(known: Known, rng: np.random.Generator) -> None:
    if rng.random() < 0.1:
        known.handle.verify(deep=bool(rng.random() < 0.1))


OPERATIONS: list[Callable[[Known, np.random.Generator], None]] = [
    *(get_one, get_many, get_missing, slice_vectors, read_keys),
    *(search_one, search_batch, search_some_rows, search_without, search_range, score_rows),
    *(open_again, pickled, replace_file, verify),
]


def _same(found: Any, expected: Any) -> None:
    assert np.array_equal(found, expected), f"{found!r:.200} is not {expected!r:.200}"


def _as_good(known: Known, query: Floats, found: Any, rows: NDArray[np.int64]) -> None:
    """Assert that a search found rows among these, with the scores that they have, and no worse than the best."""
    scores = known.scores(query)
    assert len(found.rows) == K and np.isin(found.rows, rows).all() and len(set(found.rows.tolist())) == K
    np.testing.assert_allclose(found.scores, scores[found.rows], atol=CLOSE)
    if known.name in EXACT:
        np.testing.assert_allclose(found.scores, np.sort(scores[rows])[::-1][:K], atol=CLOSE)


def _keys(kind: str) -> list[Any]:
    if kind == "int64":
        return [(i - 300) * 10**12 for i in range(ROWS)]
    made = [f"key {i} {'é' * (i % 7)}" for i in range(ROWS)]
    return made if kind == "str" else [key.encode() for key in made]


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> int:
    """Run the command line; return 1 when an answer differs or something grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    chosen = parser.parse_args()
    soaks = soak(60 * chosen.minutes, number=chosen.seed)
    for soaked in soaks:
        size, files = soaked.growth
        print(f"{soaked.operations.total():,} operations, {len(soaked.differences)} differences,", end=" ")
        print(f"{size / 2**20:+.1f} MiB and {files:+d} descriptors (of {soaked.sizes[-1][1] / 2**20:.0f} MiB)")
        print(*soaked.differences[:3], sep="\n", end="")
    return int(not all(soaked.sound for soaked in soaks))


if __name__ == "__main__":
    raise SystemExit(main())
