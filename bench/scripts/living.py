"""Measure a store that lives: many appends, searches and bytes afterwards, reading during compaction, beside Lance.

``python -m vecstore.bench.scripts.living VECTORS.npy QUERIES.npy`` prints what docs/benchmarks.md shows. Each library
gets the same rows, batch by batch, each batch committed. Rows are taken again, a little moved, where there are too few.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import require

__all__ = ["main"]

CODEC, FIRST, K = "tcq:48", 20_000, 10
SEARCHES, LOOKUPS, LOOKED_UP, REFRESHES = 100, 2000, 64, 2000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.living", description=__doc__)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--appends", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1000, help="of each append")
    parser.add_argument("--only", choices=tuple(PEERS))
    given = parser.parse_args(arguments)
    source, queries = (unit(np.load(path).astype(np.float32)) for path in (given.vectors, given.queries))
    warnings.simplefilter("ignore")
    for name, peer in PEERS.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                lines = peer(Path(folder), _Rows(source, given.rows), queries, given.appends)
            print(f"{name}: " + "; ".join(lines), flush=True)


class _Rows:
    """Batches of rows, by their numbers."""

    def __init__(self, source: Floats, rows: int) -> None:
        self._source, self.rows = source, rows

    def first(self) -> tuple[Floats, list[str]]:
        return self._some(0, FIRST)

    def batch(self, number: int) -> tuple[Floats, list[str]]:
        start = FIRST + number * self.rows
        return self._some(start, start + self.rows)

    def _some(self, start: int, stop: int) -> tuple[Floats, list[str]]:
        own = self._source[np.arange(start, stop) % len(self._source)]
        moved = np.random.default_rng(start).normal(scale=0.02, size=own.shape).astype(np.float32)
        return unit(own + moved), [f"document {row}" for row in range(start, stop)]


def of_vecstore(folder: Path, rows: _Rows, queries: Floats, appends: int) -> list[str]:
    """Append to a store, and compare it with one conversion of the same rows."""
    x, keys = rows.first()
    codec, path, whole = vecstore.codec(CODEC).fit(x), folder / "grown.vecs", folder / "whole.vecs"
    vecstore.write(path, x, keys, codec, shard_bytes=1 << 30)

    def append(number: int) -> None:
        with vecstore.edit(path) as e:
            e.append(*rows.batch(number))

    lines = _appended(append, appends)
    with vecstore.Writer(whole, codec) as writer:
        writer.add(x, keys)
        for number in range(appends):
            writer.add(*rows.batch(number))
    stores = [vecstore.open(each) for each in (path, whole)]
    grown_s, whole_s = _alternated([partial(store.search, k=K) for store in stores], queries)
    lines.append(f"search {1e3 * grown_s:.2f} ms, {grown_s / whole_s:.2f} times one conversion's")
    live = sum((path / entry["file"]).stat().st_size for entry in stores[0]._snapshot.manifest.every)  # type: ignore[union-attr]
    lines.append(
        f"{_bytes(path) / len(stores[0]):.0f} B a row, {live / whole.stat().st_size:.2f} times one conversion's"
    )
    lines.append(f"with earlier generations {_bytes(path) / whole.stat().st_size:.2f} times")
    begun = time.perf_counter()
    for _ in range(REFRESHES):
        stores[0].refresh()
    lines.append(f"refresh {1e6 * (time.perf_counter() - begun) / REFRESHES:.0f} us")
    _, idle = (_lookups(stores[0], keys, lambda: False) for _ in range(2))  # what is touched first is checked first
    compacting = multiprocessing.get_context("spawn").Process(target=vecstore.compact, args=(path,))
    compacting.start()
    busy = _lookups(stores[0], keys, compacting.is_alive)
    compacting.join()
    return [*lines, f"p99 of {LOOKED_UP} lookups {1e3 * idle:.2f} ms, {busy / idle:.2f} times during compaction"]


def of_lance(folder: Path, rows: _Rows, queries: Floats, appends: int) -> list[str]:
    """Append to a Lance dataset, which has no index: it is searched exhaustively, in float32."""
    lance, pyarrow = (require(name, purpose="the bench") for name in ("lance", "pyarrow"))
    path = folder / "grown.lance"

    def append(number: int, mode: str = "append") -> None:
        lance.write_dataset(
            _table(pyarrow, *(rows.batch(number) if mode == "append" else rows.first())), path, mode=mode
        )

    append(0, "create")
    lines = _appended(append, appends)
    dataset = lance.dataset(path)
    searched_s = _median(lambda q: dataset.to_table(nearest={"column": "vector", "q": q, "k": K}), queries[:10])
    lines.append(f"search {1e3 * searched_s:.2f} ms, exhaustive; {_bytes(path) / dataset.count_rows():.0f} B a row")
    begun = time.perf_counter()
    dataset.optimize.compact_files()
    return [*lines, f"compaction {time.perf_counter() - begun:.1f} s"]


def of_lancedb(folder: Path, rows: _Rows, queries: Floats, appends: int) -> list[str]:
    """Append to a LanceDB table that has an IVF_PQ index of 48 bytes a row, and optimize it afterwards."""
    lancedb, pyarrow = (require(name, purpose="the bench") for name in ("lancedb", "pyarrow"))
    table = lancedb.connect(folder / "db").create_table("grown", _table(pyarrow, *rows.first()))
    table.create_index(metric="cosine", num_partitions=64, num_sub_vectors=48)
    lines = _appended(lambda number: table.add(_table(pyarrow, *rows.batch(number))), appends)
    search = lambda q: table.search(q).metric("cosine").limit(K).to_arrow()  # noqa: E731
    lines.append(f"search {1e3 * _median(search, queries[:10]):.2f} ms before optimize")
    begun = time.perf_counter()
    table.optimize()
    lines.append(
        f"optimize {time.perf_counter() - begun:.1f} s; search {1e3 * _median(search, queries[:20]):.2f} ms then"
    )
    return [*lines, f"{_bytes(folder) / table.count_rows():.0f} B a row"]


PEERS: dict[str, Callable[[Path, _Rows, Floats, int], list[str]]] = {
    "vecstore": of_vecstore,
    "lance": of_lance,
    "lancedb": of_lancedb,
}


def _table(pyarrow: Any, vectors: Floats, keys: list[str]) -> Any:
    flat = pyarrow.array(vectors.reshape(-1))
    return pyarrow.table({"key": keys, "vector": pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})


def _appended(append: Callable[[int], Any], appends: int) -> list[str]:
    times = []
    for number in range(appends):
        begun = time.perf_counter()
        append(number)
        times.append(time.perf_counter() - begun)
    tenth = max(appends // 10, 1)
    first, last = np.median(times[:tenth]), np.median(times[-tenth:])
    told = f"{appends} appends {sum(times):.1f} s, median of the first tenth {1e3 * first:.0f} ms, of the last"
    return [f"{told} {1e3 * last:.0f} ms, longest {1e3 * max(times):.0f} ms"]


def _median(search: Callable[[Floats], Any], queries: Floats) -> float:
    search(queries[0])
    return _alternated([search], queries)[0]


def _alternated(searches: Sequence[Callable[[Floats], Any]], queries: Floats) -> list[float]:
    """Return the median seconds of each search, all taking turns."""
    times: list[list[float]] = [[] for _ in searches]
    for query in queries[:SEARCHES]:
        for own, search in zip(times, searches, strict=True):
            begun = time.perf_counter()
            search(query)
            own.append(time.perf_counter() - begun)
    return [float(np.median(own)) for own in times]


def _lookups(store: vecstore.Store, keys: list[str], going: Callable[[], bool]) -> float:
    """Return the 99th percentile of the seconds that a reader's lookups take, some thousand or as long as `going`."""
    rng, times = np.random.default_rng(0), list[float]()
    while len(times) < LOOKUPS or going():
        own = [keys[at] for at in rng.integers(len(keys), size=LOOKED_UP)]
        begun = time.perf_counter()
        _ = store[own]
        times.append(time.perf_counter() - begun)
    return float(np.percentile(times, 99))


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
