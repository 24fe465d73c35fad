"""Plan the runs of a bench, and make each in processes of its own under a time limit; keep what finished."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.budget import ALWAYS, always_bytes, parse_budgets, specs_for
from vecstore.bench.observation import geometry, own_neighbours
from vecstore.bench.peers.peer import missing, peer_class, peer_names
from vecstore.bench.run import RECORDS, Record, Run, write_table
from vecstore.bench.split import Split
from vecstore.bench.timing import machine

from vecstore.distributed.crew import Crew
from vecstore.errors import ExistsError
from vecstore.parallel import thread_count
from vecstore.progress import Listener, Step

__all__ = ["DEFAULT_BUDGETS", "Plan", "plan", "run_all"]

DEFAULT_BUDGETS = "8,16,32,64,128,256"
LIMIT_S = 600.0


@dataclass(frozen=True)
class Plan:
    """What a bench measures.

    Attributes
    ----------
    runs : tuple of Run
    budgets : tuple of int
        Bytes a vector.
    absent : dict
        Peer -> what to install, for those that are not installed.
    """

    runs: tuple[Run, ...]
    budgets: tuple[int, ...]
    absent: dict[str, str]


def plan(
    dimensions: int,
    *,
    budgets: str | Sequence[int] = DEFAULT_BUDGETS,
    codecs: str = "default",
    peers: str = "all",
    seeds: Sequence[int] = (0,),
    search_s: float = 0.5,
    quick: bool = False,
) -> Plan:
    """Return the runs of a bench: every codec and every peer's settings at every budget, once a seed.

    Of the sizes of the codecs that are always measured, peers bring what takes seconds.
    """
    sizes = parse_budgets(budgets, dimensions)
    specs = specs_for(sizes, dimensions, codecs, quick=quick)
    always = always_bytes(dimensions) if set(ALWAYS) <= set(specs) else []
    found = [Run("codec", spec, seed=seed, search_s=search_s) for spec in specs for seed in seeds]
    absent = {}
    for name in peer_names(peers):
        why = missing(name)
        if why is not None:
            absent[name] = why
            continue
        peer = peer_class(name)
        every = [
            *(own for size in sizes for own in (peer.quick if quick else peer.configurations)(size, dimensions)),
            *(own for size in always for own in peer.quick(size, dimensions)),
        ]
        settings = {json.dumps(own, sort_keys=True): own for own in every}
        found += [Run("peer", name, own, seed, search_s) for own in settings.values() for seed in seeds]
    return Plan(tuple(found), tuple(sorted({*sizes, *always})), absent)


def run_all(
    split: Split,
    planned: Plan,
    out: Path,
    *,
    limit_s: float = LIMIT_S,
    retry: bool = False,
    executor: Executor | None = None,
    report: Listener = lambda step: None,
) -> list[Record]:
    """Make all runs that have no record yet, and return the records of all, in the order of the plan.

    Parameters
    ----------
    split : Split
    planned : Plan
    out : Path
        A folder, new or of an earlier run over the same data, which is then gone on with.
    limit_s : float
        A run that takes longer is killed and recorded as failed.
    retry : bool
        Measure those again that failed.
    executor : concurrent.futures.Executor, optional
        Whose workers make runs side by side; they see `out` under the same path. Times are noted as such, and measured
        again without one.
    report : callable
        Called with a `Step` before each run, and when all are made.

    Raises
    ------
    ExistsError
        `out` holds a bench of other data.
    """
    crew, out = Crew(executor), out.absolute()
    _prepare(split, planned, out)
    keys = [run.key(split.about["fingerprint"]) for run in planned.runs]
    records = {key: record for key in keys if (record := Record.read(out / RECORDS, key)) is not None}
    for key, record in list(records.items()):
        if (retry and not record.done) or (executor is None and record.beside):
            del records[key]
    with tempfile.TemporaryDirectory(prefix="run-", dir=out) as scratch:  # with what killed workers leave in it
        works = [
            _Work(run, key, out, Path(scratch), limit_s, executor is not None, _threads())
            for key, run in dict(zip(keys, planned.runs, strict=True)).items()
            if key not in records
        ]
        results = crew.each(_made, works, report)
        for work in works:
            at_work = work.run.label if executor is None else ""
            report(Step("measuring", len(records), len(keys), "settings", at_work))
            _, record = next(results)
            records[record.key] = record
    report(Step("measuring", len(keys), len(keys), "settings"))
    return [records[key] for key in keys]


def _prepare(split: Split, planned: Plan, out: Path) -> None:
    about = out / "bench.json"
    fingerprint = split.about["fingerprint"]
    if about.exists():
        before = json.loads(about.read_text())
        if before["split"]["fingerprint"] != fingerprint:
            name = before["split"]["name"]
            raise ExistsError(f"{out}: holds a bench of other data, queries or split ({name}); choose another out=")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExistsError(f"{out}: exists and holds no bench; choose another out=")
    if not (out / "data" / "about.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        base = np.asarray(split.base)
        split.save(out / "data")
        write_table(out / "data" / "neighbours.parquet", {"neighbours": own_neighbours(base)})
        (out / "data" / "geometry.json").write_text(json.dumps(geometry(base)))
    facts = {
        "split": split.about | {"keys": split.keys is not None},
        "budgets": planned.budgets,
        "cells": [run.key(fingerprint) for run in planned.runs],
        "absent": planned.absent,
        "machine": machine(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    about.write_text(json.dumps(facts, indent=1))


@dataclass(frozen=True)
class _Work:
    """What makes a run: the data are in `out`."""

    run: Run
    key: str
    out: Path
    scratch: Path
    limit_s: float
    beside: bool
    threads: dict[str, str]  # the environment of its processes


def _threads() -> dict[str, str]:
    """Return how many threads a run has, whoever makes it: products of matrices differ in the last digits by that."""
    found = {name: os.environ.get(name) or str(thread_count()) for name in ("VECSTORE_THREADS", "OMP_NUM_THREADS")}
    return found | {"OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS") or found["OMP_NUM_THREADS"]}


def _made(work: _Work, report: Listener) -> Record:
    start, cpu_before = time.monotonic(), _cpu_s()
    run, key, out = work.run, work.key, work.out
    with tempfile.TemporaryDirectory(dir=work.scratch) as scratch:
        job = Path(scratch) / "job.json"
        job.write_text(json.dumps({"run": run.to_dict(), "key": key, "scratch": scratch}))
        why = None
        for step in ("measure",) if run.kind == "peer" else ("build", "measure"):
            left = work.limit_s - (time.monotonic() - start)
            why = why or _step([step, str(out), str(job)], left, work)
    record = Record.read(out / RECORDS, key) if why is None else None
    if record is None:
        about: dict[str, Any] = {"cell": run.to_dict(), "status": "failed", "error": why or "left no record"}
        record = Record(key, about, out / RECORDS)
    taken = {"wall_s": round(time.monotonic() - start, 2), "cpu_s": round(_cpu_s() - cpu_before, 2)}
    record.facts.update(taken, beside=work.beside)
    record.write()
    return record


def _cpu_s() -> float:
    """Return the processor time of the processes waited for so far: what load by others hardly changes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _step(arguments: list[str], left: float, work: _Work) -> str | None:
    """Run the worker; return None, or why it failed, in a line."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as words:
        with subprocess.Popen(
            [sys.executable, "-m", "vecstore.bench.worker", *arguments],
            stdin=subprocess.PIPE,  # ends with this process, and the run with it
            stdout=words,
            stderr=subprocess.STDOUT,
            env=os.environ | work.threads | ({"OMP_WAIT_POLICY": "PASSIVE"} if work.beside else {}),
            start_new_session=True,
        ) as child:
            try:
                status = child.wait(max(left, 0.1))
            except subprocess.TimeoutExpired:
                status = None
            finally:
                if child.poll() is None:  # also when interrupted: the run and what it forked go together
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        if status is None:
            return f"took longer than {work.limit_s:g} s, the limit"
        if status == 0:
            return None
        words.seek(0)
        lines = [line.strip() for line in words.read().splitlines() if line.strip()]
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ending}: {lines[-1] if lines else 'no message'}"
