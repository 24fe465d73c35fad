"""What a store costs to run: opening, lookups, queries a second, memory of one process and of four."""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vecstore

__all__ = ["lookups", "memory", "opening", "queries_a_second"]

Floats = NDArray[np.float32]
K = 10
LOOKUPS = 2_000
PROCESSES = 4
PATIENCE_S = 120


def opening(path: Path, key: Any) -> dict[str, float]:
    """Return seconds to open a store and read one vector: ``cold_s`` after its pages were dropped, ``warm_s`` after."""

    def once() -> float:
        start = time.perf_counter()
        with vecstore.open(path) as store:
            store[key]
        return time.perf_counter() - start

    once()  # what is imported at first use is not the store's
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    cold = once()
    return {"cold_s": cold, "warm_s": min(once() for _ in range(5))}


def lookups(store: vecstore.Store, keys: list[Any] | None, *, seed: int) -> list[float]:
    """Return the seconds of single lookups of random rows, each after a first pass has warmed the pages."""
    rows = np.random.default_rng(seed).integers(0, len(store), LOOKUPS).tolist()
    asked = rows if keys is None else [keys[row] for row in rows]
    for key in asked:
        store[key]
    found = []
    for key in asked:
        start = time.perf_counter()
        store[key]
        found.append(time.perf_counter() - start)
    return found


def queries_a_second(
    search: Callable[[Floats, int], object], queries: Floats, *, batch: int, limit_s: float, runs: int = 200
) -> list[float]:
    """Return seconds of searches of `batch` queries, new ones each time, until the time or the runs are over."""
    tiled = np.resize(queries, (max(batch, len(queries)), queries.shape[1]))
    search(tiled[:batch], K)
    found: list[float] = []
    begin = time.perf_counter()
    while len(found) < 3 or (len(found) < runs and time.perf_counter() - begin < limit_s):
        first = len(found) * batch % (len(tiled) - batch + 1)
        start = time.perf_counter()
        search(tiled[first : first + batch], K)
        found.append(time.perf_counter() - start)
    return found


def memory(path: Path, query: Floats) -> dict[str, Any]:
    """Return what opening and searching a store adds to a process, in bytes: alone, and with three others beside it.

    Call it before anything in this process has started threads: the processes are forked, with the kernels loaded,
    so that what grows is the store's. ``rss`` is the resident memory of one, ``pss`` the sum over the processes of
    what each holds, with shared pages divided among them. All of them search in one thread.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        return {}
    found: dict[str, Any] = {}
    before = os.environ.get("VECSTORE_THREADS")
    os.environ["VECSTORE_THREADS"] = "1"
    try:
        with vecstore.open(path) as store:
            store.search(query, K)
        for count in (1, PROCESSES):
            found |= _weigh_together(path, query, count)
    finally:
        del os.environ["VECSTORE_THREADS"]
        if before is not None:
            os.environ["VECSTORE_THREADS"] = before
    return found


def _weigh_together(path: Path, query: Floats, count: int) -> dict[str, int]:
    fork = multiprocessing.get_context("fork")
    barrier, queue = fork.Barrier(count), fork.Queue()
    children = [fork.Process(target=_weigh, args=(str(path), query, barrier, queue)) for _ in range(count)]
    for child in children:
        child.start()
    weights = [queue.get(timeout=PATIENCE_S) for _ in children]
    for child in children:
        child.join()
    return {f"rss_{count}": max(w["Rss"] for w in weights), f"pss_{count}": sum(w["Pss"] for w in weights)}


def _weigh(path: str, query: Floats, barrier: Any, queue: Any) -> None:
    before = _rollup()
    store = vecstore.open(path)
    store.search(query, K)
    barrier.wait(PATIENCE_S)
    after = _rollup()
    barrier.wait(PATIENCE_S)  # all are weighed while all hold the store
    queue.put({name: max(after[name] - before[name], 0) for name in after})


def _rollup() -> dict[str, int]:
    text = Path("/proc/self/smaps_rollup").read_text()
    return {name: 1024 * int(re.findall(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[0]) for name in ("Rss", "Pss")}
