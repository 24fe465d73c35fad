"""Kill conversions and look at what is left.

A conversion runs in a process of its own and gets SIGKILL, either at random moments or before one chosen step of its
publishing. Afterwards the old store or the new one must open and verify, never a mixture, and running the conversion
again must succeed and clear up::

    python -m vecstore.bench.scripts.kill --kills 50
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.errors import VecstoreError

__all__ = ["Conversion", "kill_at", "kill_before_step"]

STEPS = ("replace", "rename", "unlink", "rmdir", "fsync")  # calls of os that publishing and clearing up make


@dataclass(frozen=True)
class Conversion:
    """One conversion: what is converted and to where; `version` picks the data, so that stores can be told apart."""

    path: Path
    rows: int = 50_000
    dimensions: int = 64
    sharded: bool = False
    force: bool = False
    version: int = 1

    def data(self) -> tuple[np.ndarray[Any, Any], list[str]]:
        """Return vectors and keys."""
        x = np.random.default_rng(self.version).normal(size=(self.rows, self.dimensions)).astype(np.float32)
        return x, [f"key {self.version} {i}" for i in range(self.rows)]

    def run(self) -> None:
        """Convert in this process."""
        row_bytes = self.dimensions + 24
        shard_bytes = 200_000 + self.rows * row_bytes // 4 if self.sharded else None
        user = {"version": self.version}
        dump = ArrayDump(*self.data())
        vecstore.convert(dump, self.path, "sq:8", shard_bytes=shard_bytes, force=self.force, user=user)

    def start(self, *, step: int = -1) -> subprocess.Popen[str]:
        """Convert in another process; returns when that has come as far as beginning. See `kill_before_step`."""
        arguments = [str(self.path), self.rows, self.dimensions, int(self.sharded), int(self.force), self.version, step]
        command = [sys.executable, "-m", "vecstore.bench.scripts.kill", "--child", *map(str, arguments)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
        return child

    def found(self) -> int | None:
        """Return the version of the store that is there, after checking all of it; None when there is none."""
        if not self.path.exists():
            return None
        with vecstore.open(self.path) as store:
            version = int(store.info()["user"]["version"])
            store.verify()
            x, keys = Conversion(self.path, self.rows, self.dimensions, version=version).data()
            error = (store.vectors[:] - x) ** 2
            if list(store.keys) != keys or error.mean(axis=1).max() > 0.1:  # unrelated rows are 2 apart
                raise AssertionError(f"{self.path} is a mixture")
        return version

    def leftovers(self) -> list[str]:
        """Return what lies about beside the store and, in a sharded one, beside its own files."""
        beside = [name for name in os.listdir(self.path.parent) if name != self.path.name]
        if self.path.is_dir():
            from vecstore.store.manifest import MANIFEST_NAME, Manifest

            own = Manifest.read(self.path).files | {MANIFEST_NAME, ".lock"}
            beside += [f"{self.path.name}/{name}" for name in os.listdir(self.path) if name not in own]
        return beside


def kill_at(conversion: Conversion, delay_s: float, *, with_signal: signal.Signals = signal.SIGKILL) -> str:
    """Kill a conversion after `delay_s`; return what was found: "old", "new", "none" or "finished" before the kill."""
    child = conversion.start()
    try:
        finished = child.wait(delay_s) == 0
    except subprocess.TimeoutExpired:
        child.send_signal(with_signal)
        child.wait()
        finished = False
    return _look(conversion, finished)


def kill_before_step(conversion: Conversion, step: int) -> str:
    """Kill a conversion before its `step`-th rename, removal or fsync; as `kill_at`."""
    child = conversion.start(step=step)
    finished = child.wait() == 0
    return _look(conversion, finished)


def _look(conversion: Conversion, finished: bool) -> str:
    if finished:
        assert conversion.found() == conversion.version, "a finished conversion is not there"
        return "finished"
    version = conversion.found()
    return "none" if version is None else "new" if version == conversion.version else "old"


def rerun(conversion: Conversion) -> None:
    """Convert again after a kill, replacing what is there; the store must be whole and alone afterwards."""
    Conversion(
        conversion.path,
        conversion.rows,
        conversion.dimensions,
        sharded=conversion.sharded,
        force=True,
        version=conversion.version,
    ).run()
    assert conversion.found() == conversion.version
    left = conversion.leftovers()
    assert not left, f"left lying about: {left}"


def prepare(directory: Path, *, sharded: bool, force: bool, rows: int = 50_000) -> Conversion:
    """Empty `directory`, put an old store there if it is to be replaced, and return the conversion to kill."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    conversion = Conversion(directory / "items.vecs", rows, sharded=sharded, force=force, version=2)
    if force:
        Conversion(conversion.path, rows, sharded=sharded).run()
    return conversion


def _child(arguments: list[str]) -> int:
    path, (rows, dimensions, sharded, force, version, step) = Path(arguments[0]), map(int, arguments[1:])
    conversion = Conversion(path, rows, dimensions, sharded=bool(sharded), force=bool(force), version=version)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as the command line does
    if step >= 0:
        _die_before(step)
    print("begins", flush=True)
    try:
        conversion.run()
    except KeyboardInterrupt:
        return 130
    return 0


def _die_before(step: int) -> None:
    """Replace the calls that publishing makes with ones that count, and that kill this process at the `step`-th."""
    taken = 0

    def counted(call: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal taken
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)
            taken += 1
            return call(*arguments, **options)

        return wrapper

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def _duration_s(conversion: Conversion) -> float:
    child = conversion.start()
    start = time.perf_counter()
    assert child.wait() == 0
    return time.perf_counter() - start


def main() -> int:
    """Run the command line; return 1 when a kill did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50, help="random moments, for each kind of conversion")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=7, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell started in the background
        return _child(chosen.child)
    rng, harm = np.random.default_rng(chosen.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "stores"
        for sharded in (False, True):
            for force in (False, True):
                name = f"{'sharded' if sharded else 'one file'}, {'replacing' if force else 'fresh'}"
                whole_s = _duration_s(prepare(directory, sharded=sharded, force=force, rows=chosen.rows))
                tally: Counter[str] = Counter()
                steps: Counter[str] = Counter()
                for delay_s in rng.uniform(0, whole_s, chosen.kills).tolist():
                    conversion = prepare(directory, sharded=sharded, force=force, rows=chosen.rows)
                    harm += _tallied(tally, conversion, f"{name}, {delay_s:.3f} s", lambda c, d=delay_s: kill_at(c, d))
                step = 0
                while "finished" not in steps and not steps["HARM"]:
                    conversion = prepare(directory, sharded=sharded, force=force, rows=2000)
                    harm += _tallied(
                        steps, conversion, f"{name}, step {step}", lambda c, s=step: kill_before_step(c, s)
                    )
                    step += 1
                print(
                    f"{name} ({whole_s:.1f} s): random moments {dict(tally)}; before each step {dict(steps)}",
                    flush=True,
                )
    return int(harm > 0)


def _tallied(tally: Counter[str], conversion: Conversion, what: str, kill: Any) -> int:
    try:
        tally[kill(conversion)] += 1
        rerun(conversion)
    except (AssertionError, VecstoreError, OSError) as error:
        tally["HARM"] += 1
        print(f"{what}: {error!r}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
