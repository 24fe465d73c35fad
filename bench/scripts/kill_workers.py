"""Kill workers, schedulers and drivers at random: ``python -m vecstore.bench.scripts.kill_workers``.

A small dump is converted by two processes, some of which are killed; by a cluster of Dask whose scheduler is killed;
and by drivers that are killed, each of which goes on where the last one stopped. The store is there whole or not at
all, and in the end has the bytes of a store that nobody disturbed. Prints what was repeated.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.scripts.cluster import DASK, ONE_THREAD, alike
from vecstore.bench.scripts.watched import Faults, Watched, notes

import vecstore
from vecstore.distributed import Processes

PARTS, ROWS, DIMENSIONS = 8, 64_000, 32
OPTIONS: dict[str, Any] = {"codec": "sq:8", "shard_bytes": 250_000}
KILLS = {"worker": 20, "scheduler": 3, "driver": 5}
WAITS = 0.3, 1.5  # between the start, or a kill, and the next kill: times what a conversion takes that nobody disturbs
DRIVEN = "--drive"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.kill_workers", description=__doc__)
    for kind, count in KILLS.items():
        parser.add_argument(f"--{kind}s", type=int, default=count, help=f"how often a {kind} is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(DRIVEN, nargs=3, help=argparse.SUPPRESS)  # folder, where notes go, file of a scheduler or ""
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    if arguments.drive:
        driven(*arguments.drive)
        return
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = rng.standard_normal((ROWS, DIMENSIONS), np.float32)
        for part, rows in enumerate(np.split(x, PARTS)):
            np.save(folder / f"part-{part}.npy", rows)
        vecstore.convert(folder / "part-*.npy", folder / "alone.vecs", **OPTIONS)
        print(workers_killed(folder, arguments.workers, rng), flush=True)
        print(drivers_killed(folder, arguments.drivers, rng), flush=True)
        print(schedulers_killed(folder, arguments.schedulers, rng), flush=True)


def workers_killed(folder: Path, kills: int, rng: np.random.Generator) -> str:
    """Kill one of two processes again and again while they convert."""
    killed = stores = 0
    taken_s = _undisturbed_s(folder)
    while killed < kills:
        done = threading.Event()
        with Processes(2) as processes:

            def kill(done: threading.Event = done, processes: Processes = processes) -> None:
                nonlocal killed
                while not done.wait(rng.uniform(*WAITS) * taken_s) and killed < kills:
                    with suppress(ProcessLookupError, ValueError):
                        os.kill(int(rng.choice(processes.pids)), signal.SIGKILL)
                        killed += 1

            killer = threading.Thread(target=kill)
            killer.start()
            try:
                vecstore.convert(folder / "part-*.npy", folder / "by.vecs", executor=processes, **OPTIONS)
            finally:
                done.set()
                killer.join()
        stores += 1
        _require_same(folder)
        _cleared(folder)
    return f"{killed} workers killed in {stores} conversions: each store has the same bytes."


def drivers_killed(folder: Path, kills: int, rng: np.random.Generator) -> str:
    """Kill a driver again and again; it goes on, and at last comes to its end."""
    return _until_done(folder, kills, rng, "driver", "")


def schedulers_killed(folder: Path, kills: int, rng: np.random.Generator) -> str:
    """Kill the scheduler of a cluster again and again; the driver fails, and goes on with another."""
    return _until_done(folder, kills, rng, "scheduler", str(folder / "scheduler.json"))


def _until_done(folder: Path, kills: int, rng: np.random.Generator, what: str, scheduler: str) -> str:
    _cleared(folder)
    watched, killed, attempts, taken_s = folder / f"notes-{what}", 0, 0, _undisturbed_s(folder)
    watched.mkdir()
    while not (folder / "by.vecs").exists():
        cluster = _cluster(scheduler) if scheduler else []
        command = [sys.executable, "-m", __spec__.name, DRIVEN, str(folder), str(watched), scheduler]
        driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        victim = cluster[0] if cluster else driver
        if killed < kills:
            limit = rng.uniform(*WAITS) * taken_s
            with suppress(subprocess.TimeoutExpired):
                driver.wait(limit)
            if driver.poll() is None:
                victim.kill()
                killed += 1
        driver.wait()
        attempts += 1
        for process in cluster:
            process.kill()
            process.wait()
        if (folder / "by.vecs").exists():
            _require_same(folder)
            if killed < kills:  # it was too fast: once more, from the beginning
                _cleared(folder)
                for file in watched.iterdir():
                    file.unlink()
    done = [note for note in notes(watched) if note["task"] != "same_keys"]  # which is not kept
    return f"{killed} {what}s killed in {attempts} attempts, then the same bytes; {_repeated(done)}"


def _repeated(done: list[dict[str, Any]]) -> str:
    names = {(note["task"], note["name"]) for note in done}
    return f"{len(done)} tasks were done, {len(names)} of them different."


def driven(folder: str, watched: str, scheduler: str) -> None:
    """Convert in this process, by processes of its own or by the workers of a scheduler."""
    source, store, faults = Path(folder, "part-*.npy"), Path(folder, "by.vecs"), Faults(Path(watched))
    if not scheduler:
        with Processes(2) as processes:
            vecstore.convert(source, store, executor=Watched(processes, faults), resume=True, **OPTIONS)
        return
    warnings.simplefilter("ignore")
    dask: Any = import_module("distributed")
    import_module("dask").config.set(DASK | {"distributed.comm.timeouts.connect": "5s"})
    with dask.Client(scheduler_file=scheduler, timeout=30) as client:
        executor = Watched(client.get_executor(pure=False), faults)
        vecstore.convert(source, store, executor=executor, resume=True, **OPTIONS)


def _undisturbed_s(folder: Path) -> float:
    start = time.perf_counter()
    with Processes(2) as processes:
        vecstore.convert(folder / "part-*.npy", folder / "by.vecs", executor=processes, **OPTIONS)
    _cleared(folder)
    return time.perf_counter() - start


def _cluster(file: str) -> list[subprocess.Popen[bytes]]:
    """Return a scheduler of Dask and its two workers."""
    Path(file).unlink(missing_ok=True)
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    own = ["--scheduler-file", file, "--no-dashboard"]
    start = [sys.executable, "-m"]
    scheduler = subprocess.Popen([*start, "distributed.cli.dask_scheduler", "--port", "0", *own], **quiet)
    while not Path(file).exists():
        time.sleep(0.1)
    worker = [*start, "distributed.cli.dask_worker", *own, "--nthreads", "1", "--no-nanny"]
    return [scheduler, *(subprocess.Popen([*worker, "--death-timeout", "20"], **quiet) for _ in range(2))]


def _cleared(folder: Path) -> None:
    """Remove the store that is compared: one in its place would have other names of files."""
    shutil.rmtree(folder / "by.vecs", ignore_errors=True)


def _require_same(folder: Path) -> None:
    if not alike(folder / "alone.vecs", folder / "by.vecs"):
        raise SystemExit("the stores DIFFER")


if __name__ == "__main__":
    main()
