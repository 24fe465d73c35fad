"""What workers cost beside one process: ``python -m vecstore.bench.scripts.cluster --vectors docs_f16.npy``.

Parquet files are converted by one process and by clusters of Dask on this machine, each in a process of its own, in
turn, and searched by one process and by four workers, in as many parts as there are processors and in four. CPU
seconds are those of driver and workers together, from the first task to the last, one thread each; stores are compared
byte by byte. What processes take from each other's caches is no cost of an engine: so many conversions or searches by
one process each, at the same time, tell it. Prints the tables as Markdown.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.scripts.scan import clustered, repeated
from vecstore.bench.timing import add_page, machine, show, table

import vecstore
from vecstore.distributed import Processes, Searcher
from vecstore.errors import require
from vecstore.parallel import processor_count

FILES, DIMENSIONS = 16, 128
ROWS = 4_000_000, 20_000  # the second of each pair for --quick
WORKERS = 2, 4
SHARDS, SEARCH_WORKERS, QUERIES = 16, 4, 64
SEARCHES, TOGETHER = (20, 2), 5  # rounds, and searches of each that are measured together
SEARCHED = ("sq:8", "tcq:48"), ("sq:8",)
CONVERSIONS = 3, 1
MEMORY_LIMIT = "1GB"  # of a worker
DASK = {  # what its workers do beside their tasks: docs/cluster.md says why these
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1},
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
ONE_THREAD = {"VECSTORE_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.cluster", description=__doc__)
    parser.add_argument("--vectors", type=Path, metavar="NPY", help="repeat these, with noise; else clustered ones")
    parser.add_argument("--rows", type=int, help="of all files together")
    parser.add_argument("--codec", default="sq:8")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--folder", type=Path, help="for the files, which are large; the temporary folder by default")
    parser.add_argument("--quick", action="store_true", help="few rows: to see that it works")
    parser.add_argument("--drive", nargs=4, help=argparse.SUPPRESS)  # folder, store, codec, workers
    add_page(parser)
    arguments = parser.parse_args()
    if arguments.drive:
        print(json.dumps(driven(*arguments.drive)))
        return
    show(run(arguments), "cluster", page=arguments.write)


def run(arguments: argparse.Namespace) -> str:
    """Return the tables as Markdown."""
    quick = arguments.quick
    rows = arguments.rows or ROWS[quick]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        x = vectors(rows, arguments.vectors)
        write_files(folder, x)
        parts = [converted(folder, rows, arguments.codec, arguments.workers)]
        for codec in SEARCHED[quick]:
            parts.append(searched(folder / f"{codec.replace(':', '-')}.vecs", x[: rows // 4], codec, SEARCHES[quick]))
    return "\n\n".join([*parts, machine()])


def vectors(rows: int, given: Path | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return vectors of so many rows."""
    if given is None:
        return clustered(rows, DIMENSIONS)[0]
    return np.ascontiguousarray(repeated(given, rows)[0][:, :DIMENSIONS])


def write_files(folder: Path, x: np.ndarray[Any, Any]) -> None:
    """Write vectors and keys as Parquet files of equal size."""
    pa, pq = require("pyarrow", purpose="Parquet"), require("pyarrow.parquet", purpose="Parquet")
    for number, part in enumerate(np.array_split(np.arange(len(x)), FILES)):
        flat = pa.array(x[part[0] : part[-1] + 1].ravel())
        keys = [f"document {row:09d}" for row in part.tolist()]
        columns = {"key": keys, "vector": pa.FixedSizeListArray.from_arrays(flat, x.shape[1])}
        pq.write_table(pa.table(columns), folder / f"part-{number:02d}.parquet", row_group_size=1 << 15)


# Conversions


def converted(folder: Path, rows: int, codec: str, workers: tuple[int, ...]) -> str:
    """Return what conversions cost: each kind in turn, some times."""
    kinds = {"one process": ["0"]}
    for count in workers:
        kinds[f"{count} workers of Dask"] = [str(count)]
        kinds[f"{count} of one process at the same time, each"] = ["0"] * count
    rounds = [_round(folder, codec, kinds) for _ in range(CONVERSIONS[rows <= ROWS[1]])]
    lines = []
    for name in kinds:
        runs = [own for found in rounds for own in found[name]]
        cpu_s = [np.mean([own["cpu_s"] for own in found[name]]) for found in rounds]
        beside = [own_s / found["one process"][0]["cpu_s"] for own_s, found in zip(cpu_s, rounds, strict=True)]
        workers_bytes = [size for own in runs for size in own["worker_bytes"]]
        lines.append(
            [
                name,
                f"{np.median(cpu_s):.1f}",
                f"{np.median(beside):.2f}",
                f"{np.median([own['elapsed_s'] for own in runs]):.1f}",
                f"{max(own['driver_bytes'] for own in runs) / 1e6:.0f}",
                f"{max(workers_bytes) / 1e6:.0f}" if workers_bytes else "",
                "yes" if all(own["same"] for own in runs) else "NO",
            ]
        )
    header = ["", "CPU s", "beside one", "s", "driver, MB", "largest worker, MB", "same bytes"]
    about = f"{rows:,} rows x {DIMENSIONS} in {FILES} Parquet files to {codec}, medians of {len(rounds)}"
    return f"{about}:\n\n{table(header, lines)}"


def _round(folder: Path, codec: str, kinds: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Return what each kind of conversion cost, and whether its store is that of one process."""
    found = {name: _drives(folder, codec, workers) for name, workers in kinds.items()}
    runs = [own for each in found.values() for own in each]
    for own in runs:
        own["same"] = alike(runs[0]["store"], own["store"])
    for own in runs:
        shutil.rmtree(own["store"])
    return found


def _drives(folder: Path, codec: str, workers: list[str]) -> list[dict[str, Any]]:
    """Return what conversions at the same time cost, by so many workers each, and where their stores are."""
    running = []
    for count in workers:
        store = tempfile.mkdtemp(dir=folder, prefix="by-") + "/store.vecs"
        command = [sys.executable, "-m", __spec__.name, "--drive", str(folder), store, codec, count]
        environment = os.environ | ONE_THREAD
        running.append((store, subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)))
    found = []
    for store, process in running:
        told = process.communicate()[0]
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        found.append(json.loads(told.splitlines()[-1]) | {"store": Path(store)})
    return found


def alike(one: Path, other: Path) -> bool:
    """Return whether two stores have the same files, byte by byte."""
    names = sorted(os.listdir(one))
    return names == sorted(os.listdir(other)) and filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def driven(folder: str, store: str, codec: str, workers: str) -> dict[str, Any]:
    """Convert in this process, or by workers of Dask; return what it cost."""
    source, rows_bytes = (
        Path(folder, "part-*.parquet"),
        sum(file.stat().st_size for file in Path(folder).glob("part-*")),
    )
    options: dict[str, Any] = {"codec": codec, "shard_bytes": max(rows_bytes // (4 * SHARDS), 400_000)}
    if not int(workers):
        return _costs(lambda: vecstore.convert(source, store, **options), list)
    dask: Any = import_module("distributed")
    import_module("dask").config.set(DASK)
    warnings.simplefilter("ignore")
    size = {"n_workers": int(workers), "threads_per_worker": 1, "memory_limit": MEMORY_LIMIT}
    with dask.LocalCluster(**size, dashboard_address=None) as cluster, dask.Client(cluster) as client:
        executor = client.get_executor()
        return _costs(
            lambda: vecstore.convert(source, store, executor=executor, **options),
            lambda: list(client.run(usage).values()),
        )


def _costs(do: Callable[[], object], workers: Callable[[], list[tuple[float, int]]]) -> dict[str, Any]:
    before, others, start = usage(), workers(), time.perf_counter()
    do()
    elapsed, after, others_after = time.perf_counter() - start, usage(), workers()
    spent = [late[0] - early[0] for early, late in zip(others, others_after, strict=True)]
    memory = {"driver_bytes": after[1], "worker_bytes": [peak for _, peak in others_after]}
    return {"cpu_s": after[0] - before[0] + sum(spent), "elapsed_s": elapsed, **memory}


def usage() -> tuple[float, int]:
    """Return CPU seconds and the most memory that this process has used, in bytes."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    peak = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())  # ru_maxrss tells of parents, too
    return found.ru_utime + found.ru_stime, int(peak[0]) * 1024


# Searches


def searched(path: Path, x: np.ndarray[Any, Any], codec: str, rounds: int) -> str:
    """Return what searches of a batch cost."""
    from vecstore.parallel import thread_count

    os.environ["VECSTORE_THREADS"] = "1"
    assert thread_count() == 1
    vecstore.write(path, x, codec=codec, shard_bytes=max(len(x) * (int(codec.split(":")[1]) + 90) // SHARDS, 600_000))
    queries = x[np.random.default_rng(1).choice(len(x), QUERIES, replace=False)] + np.float32(0.01)
    parts = sorted({min(SEARCH_WORKERS, processor_count()), SEARCH_WORKERS})
    with vecstore.open(path) as store, Processes(SEARCH_WORKERS) as workers, ExitStack() as stack:
        shards, expected = len(store._snapshot.shards), store.search(queries).rows
        searchers = [stack.enter_context(Searcher(path, workers, parts=count)) for count in parts]
        equal = all((searcher.search(queries).rows == expected).all() for searcher in searchers)
        for searcher in searchers * 3:  # so that every worker has opened the store
            searcher.search(queries)

        def apart() -> float:
            each = [workers.submit(_alone, str(path), queries) for _ in range(SEARCH_WORKERS)]
            return sum(one.result() for one in each) / len(each)

        def together(searcher: Searcher) -> float:
            return _spent(lambda: searcher.search(queries), [os.getpid(), *workers.pids])

        def alone() -> float:
            return _spent(lambda: store.search(queries), [os.getpid()])

        each = [[alone(), apart(), *map(together, searchers)] for _ in range(rounds)]
        spent = np.median(each, axis=0).tolist()
    names = ["one process", f"{SEARCH_WORKERS} processes at the same time, each alone"]
    names += [f"{SEARCH_WORKERS} workers and the driver, {count} parts" for count in parts]
    lines = [
        [name, f"{own * 1e3:.1f}", f"{own / max(spent[0], 1e-3):.2f}", f"{own / max(spent[1], 1e-3):.2f}"]
        for name, own in zip(names, spent, strict=True)
    ]
    about = f"A batch of {QUERIES} queries over {len(x):,} rows of {codec} in {shards} shards, k = 10"
    found = "results are equal" if equal else "results DIFFER"
    return f"{about}, {found}:\n\n{table(['', 'CPU ms', 'beside one', 'beside each alone'], lines)}"


def _alone(path: str, queries: np.ndarray[Any, Any]) -> float:
    """Search in this process; return the CPU seconds of a search."""
    store = _opened(path)
    store.search(queries)
    return _spent(lambda: store.search(queries), [os.getpid()])


@lru_cache(maxsize=1)
def _opened(path: str) -> vecstore.Store:
    return vecstore.open(path)


def _spent(do: Callable[[], object], pids: list[int]) -> float:
    """Return the CPU seconds of processes for each of some searches."""
    before = sum(map(_cpu_s, pids))
    for _ in range(TOGETHER):
        do()
    return (sum(map(_cpu_s, pids)) - before) / TOGETHER


def _cpu_s(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int(Path(thread, "schedstat").read_text().split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    main()
