"""Conversions killed, interrupted or failing: the old store or the new one, and nothing else left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.kill import Conversion, kill_at, kill_before_step, prepare, rerun

from vecstore.conversion import rates
from vecstore.errors import BusyError

KINDS = pytest.mark.parametrize(
    ("sharded", "force"),
    [(False, False), (False, True), (True, False), (True, True)],
    ids=["file", "file replaced", "directory", "directory replaced"],
)


@KINDS
def test_killed_at_a_random_moment(sharded: bool, force: bool, tmp_path: Path) -> None:
    delay_s = float(np.random.default_rng([sharded, force]).uniform(0.05, 0.6))
    conversion = prepare(tmp_path / "stores", sharded=sharded, force=force, rows=20_000)
    found = kill_at(conversion, delay_s)
    assert found in ({"old", "new", "finished"} if force else {"none", "new", "finished"})
    rerun(conversion)


@KINDS
@pytest.mark.parametrize("step", [1, 3])
def test_killed_while_publishing(sharded: bool, force: bool, step: int, tmp_path: Path) -> None:
    conversion = prepare(tmp_path / "stores", sharded=sharded, force=force, rows=2000)
    assert kill_before_step(conversion, step) in ("old", "none", "new")
    rerun(conversion)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("sharded", [False, True], ids=["file", "directory"])
def test_interrupted(sharded: bool, number: signal.Signals, tmp_path: Path) -> None:
    conversion = prepare(tmp_path / "stores", sharded=sharded, force=False, rows=100_000)
    child = conversion.start()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.1)
    child.send_signal(number)
    assert child.wait() in (130, 128 + number)
    assert os.listdir(conversion.path.parent) == []


@pytest.mark.parametrize("resume", [False, True], ids=["", "resume"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_with_workers(number: signal.Signals, resume: bool, tmp_path: Path) -> None:
    """As a terminal does it: all processes get the signal."""
    x = np.random.default_rng(0).normal(size=(50_000, 64)).astype("f4")
    (tmp_path / "dumps").mkdir()
    for part in range(4):
        np.save(tmp_path / "dumps" / f"{part}.npy", x)
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # not as in the background
    program += "from vecstore.cli import main\nmain()"
    command = ["convert", "dumps", "x.vecs", "-c", "tcq:16", "--shard-size", "200KB", "--workers", "2", "--quiet"]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *command, *(["--resume"] if resume else [])],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".x.vecs.partial/*/*")):
        assert child.poll() is None
        time.sleep(0.01)
    os.killpg(child.pid, number)
    told = child.communicate(timeout=60)[1]
    word = "interrupted" if number == signal.SIGINT else "ended"
    kept = "what is done is kept: give the same command to go on" if resume else "nothing was written"
    assert (child.returncode, told) == (128 + number, f"vecstore: error: {word}; {kept}\n")
    assert sorted(os.listdir(tmp_path)) == [*([".x.vecs.partial"] if resume else []), "dumps"]


def test_a_plan_that_is_interrupted_ends_what_measures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun: list[subprocess.Popen[str]] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def communicate(self, *_: Any, **__: Any) -> Any:
            begun.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        rates._side_by_side(2, tmp_path, 10, 8, 16)
    assert begun[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize("call", ["replace", "rename", "fsync"])
@pytest.mark.parametrize("number", range(6))
@KINDS
def test_interrupted_while_publishing(
    sharded: bool, force: bool, call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = prepare(tmp_path / "stores", sharded=sharded, force=force, rows=2000)
    real, calls = getattr(os, call), 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number + 1:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            conversion.run()
    version = conversion.found()
    assert version in ((1, 2) if force else (None, 2))
    if version is not None:
        assert conversion.leftovers() == []
    else:
        assert os.listdir(conversion.path.parent) == []


@pytest.mark.parametrize("force", [False, True], ids=["fresh", "replaced"])
def test_a_full_disk_changes_nothing(force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = prepare(tmp_path / "stores", sharded=True, force=force, rows=2000)

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vecstore.container.container.ContainerWriter.put_block", full)
    with pytest.raises(OSError, match="No space"):
        conversion.run()
    assert conversion.found() == (1 if force else None)
    assert os.listdir(conversion.path.parent) == (["items.vecs"] if force else [])
    if force:
        assert conversion.leftovers() == []


def test_two_conversions_do_not_meet(tmp_path: Path) -> None:
    conversion = prepare(tmp_path / "stores", sharded=False, force=False, rows=100_000)
    Conversion(tmp_path / "first.vecs", rows=10, dimensions=2).run()  # what it imports and compiles takes long once
    child = conversion.start()
    with pytest.raises(BusyError, match="another process"):
        for _ in range(1000):  # until the child has taken its place
            if list(conversion.path.parent.iterdir()):
                Conversion(conversion.path, rows=10, dimensions=2).run()
            child.poll()
            if child.returncode is not None:
                pytest.fail("the other conversion ended first")
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.01)
    assert child.wait() == 0
    assert conversion.found() == conversion.version and conversion.leftovers() == []
