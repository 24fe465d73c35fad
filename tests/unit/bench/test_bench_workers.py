"""Runs of a bench that the workers of an executor make: what one process finds, but for the times, which are marked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from vecstore.bench.plan import Plan, run_all
from vecstore.bench.report import report
from vecstore.bench.run import Record, Run
from vecstore.bench.running import bench
from vecstore.bench.summary import BESIDE

from vecstore.distributed import Processes
from vecstore.errors import OptionError

SPECS = ["tcq:48", "pca:900,sq:8", "sq:8", "bin/sq:8", "cells:8,tcq:16"]


def test_results_are_those_of_one_process_also_where_a_worker_dies(done, split, tmp_path):
    alone = {record.run.label: record for record in Record.read_all(done.out / "cells")}
    planned = Plan(tuple(Run("codec", spec, search_s=0.05) for spec in SPECS), (48,), {})
    told = []

    def kill(step):
        told.append(str(step))
        if len(told) == 2:
            os.kill(processes.pids[0], signal.SIGKILL)

    with Processes(2) as processes:
        found = run_all(split, planned, tmp_path / "out", limit_s=200, executor=processes, report=kill)
    assert told == ["measuring: 5 settings", *(f"measuring: {n} of 5 settings" for n in range(1, 5)), told[0]]
    assert [record.run.label for record in found] == SPECS
    assert [record.done for record in found] == [spec != "pca:900,sq:8" for spec in SPECS]
    assert all(record.beside for record in found)
    for record in found:
        if record.done:
            one = alone[record.run.label]
            assert all(record.facts[name] == one.facts[name] for name in ("bytes", "audit"))
            assert all(_plain(record.table(name)) == _plain(one.table(name)) for name in ("queries", "rows", "asked"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bench.json", "data", "cells"}
    report(tmp_path / "out")
    assert "`sq:8‡` | 384 " in (tmp_path / "out/table.md").read_text()


def _plain(columns):
    return {name: [np.asarray(value).tolist() for value in values] for name, values in columns.items()}


def test_times_are_measured_again_without_workers(split, tmp_path):
    planned = Plan((Run("codec", "opq:48x4", search_s=0.02),), (24,), {})
    recalls = set()
    for beside in (True, True, False, False):
        with Processes(1) as processes:
            (record,) = run_all(split, planned, tmp_path, executor=processes if beside else None)
        assert record.beside == beside
        summary = json.loads(json.dumps(report(tmp_path).to_dict()))
        recalls.add(record.table("queries")["found_scores"].tobytes())
        assert summary["lines"][0]["beside"] == beside and summary["about"]["notes"] == [BESIDE] * beside
        for page in ("table.md", "index.html", "speed.svg"):
            assert (BESIDE.lstrip("‡ ") in (tmp_path / page).read_text()) == beside
    assert len(recalls) == 1  # products of matrices, made by as many threads


def test_what_is_no_executor_is_refused_at_once(tmp_path):
    with pytest.raises(OptionError, match=r"executor= is a concurrent.futures.Executor, found int"):
        bench("nowhere.npy", tmp_path, executor=2)


def test_a_run_ends_with_who_asked_for_it(tmp_path):
    os.mkfifo(tmp_path / "job.json")  # it would wait for ever
    command = [sys.executable, "-m", "vecstore.bench.worker", "build", str(tmp_path), str(tmp_path / "job.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        child.stdin.close()
        assert child.wait(60) == 1
