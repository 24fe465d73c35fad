"""Forge stores under right checksums, each tried in a process of its own with little memory and time.

Every store must give an answer or a `VecstoreError`: within a second of the processor for each thing that is asked, in
twice the size of its files and 64 MiB, without a crash or another exception::

    python -m vecstore.bench.scripts.forgery --stores 20000

Each has a kind and a number, from which it can be made again: ``--kind vaq --only 1234``. With ``--bounds-checked``
kernels are compiled anew, so that they check each index against the bounds of its array.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.scripts.damage import DIMENSIONS, KINDS, Subject, Verdict
from vecstore.bench.scripts.mutations import FORGERIES

__all__ = ["FORGED", "forged"]

FORGED: dict[str, dict[str, Any]] = {
    **KINDS,
    **{
        name: {"codec": spec, "keys": None}
        for name, spec in {
            "bf16": "normalize,bf16,archive",
            "sq6": "rotate,sq:6",
            "opq": "opq:4",
            "vaq": "vaq:4",
            "lloyd": "rotate,lloyd:3",
            "lvq": "pca:12,lvq:4x4",
            "rabitq": "rabitq:2",
            "rq": "rq:2",
            "lsq": "lsq:2",
            "tcq256": "tcq:9:256/lloyd:4",
            "floret": "floret:50:1:6:4",
            "uniform": f"uniform:10,rans:{DIMENSIONS}",
            "pco": "whiten:8,f32,pco",
            "truncate": "truncate:8,f16",
            "crt": "qr:27x29:crt:concat",
            "cells-pq": "cells:4,pq:4/f16",
        }.items()
    },
    "edited": {"codec": "tcq:5", "edited": True},
    "edited-cells": {"codec": "cells:6,sq:4", "keys": None, "edited": True},
    "edited-layers": {"codec": "bin/pq:4x4", "keys": "int64", "edited": True},
}
MIB = 1 << 20
SPARE_BYTES = 64 * MIB
SECONDS = 1.0  # of the processor, for one thing that is asked
PATIENCE_S = 60  # of the clock, for all of a store


def forged(subject: Subject, number: int, directory: Path) -> tuple[Verdict, str]:
    """Forge a copy of the subject's store, one to three times; return the verdict of a child, and what was done.

    The child has the kernels that this process has loaded, and only its own thread.
    """
    rng = np.random.default_rng(number)
    copy = directory / subject.path.name
    shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
    shutil.copytree(subject.path, copy) if subject.path.is_dir() else shutil.copyfile(subject.path, copy)
    done = []
    for _ in range(int(rng.integers(1, 4))):
        try:
            done.append(FORGERIES[int(rng.integers(len(FORGERIES)))](copy, rng))
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ):  # what was forged before is not understood any more
            break
    return _judged(subject, copy), "; ".join(done)


def _judged(subject: Subject, path: Path) -> Verdict:
    """Return the verdict of a child on a store."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - ends by os._exit
        try:
            os.close(receiver)
            verdict = _within_limits(subject, path)
            os.write(sender, f"{verdict.outcome}\n{verdict.detail}".encode()[-4000:])
        finally:
            os._exit(0)
    os.close(sender)
    with open(receiver, "rb") as answer:
        outcome, _, detail = answer.read().decode(errors="replace").partition("\n")
    status = os.waitpid(child, 0)[1]
    if outcome:
        return Verdict(outcome, detail)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM):
        return Verdict("slow")
    return Verdict("crash", f"status {status}")


def _within_limits(subject: Subject, path: Path) -> Verdict:
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)  # which ends the process, wherever it is
    files = path.rglob("*") if path.is_dir() else [path]
    allowed = 2 * sum(file.stat().st_size for file in files) + SPARE_BYTES
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + allowed, hard))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # forged numbers overflow
        try:
            return subject.judge(path, sealed=True, before=_begin_to_count)
        except BaseException:
            return Verdict("exception", traceback.format_exc())


def _begin_to_count() -> None:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)


def _data_bytes() -> int:
    """Return how much memory of its own this process has asked for."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _run(kind: str, numbers: range) -> tuple[Counter[str], list[str]]:
    tally: Counter[str] = Counter()
    told = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "whole").mkdir()
        subject = Subject(kind, directory / "whole", FORGED[kind])
        for number in numbers:
            verdict, what = forged(subject, number, directory)
            tally[verdict.outcome] += 1
            if not verdict.harmless:
                told.append(f"--kind {kind} --only {number}: {verdict.outcome}: {what}\n{verdict.detail}")
    return tally, told


def _counts(tally: Counter[str]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(tally.items()))


def main() -> int:
    """Run the command line; return 1 when a store did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stores", type=int, default=20_000, help="in all, shared out over the kinds")
    parser.add_argument("--kind", choices=FORGED, action="append", help="only stores of this kind")
    parser.add_argument("--only", type=int, help="one store by its number")
    parser.add_argument("--first", type=int, default=0, help="number of the first store of a kind")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--bounds-checked", action="store_true", help="let numba check every index of the kernels")
    chosen = parser.parse_args()
    kinds = chosen.kind or list(FORGED)
    first = chosen.first if chosen.only is None else chosen.only
    numbers = range(first, first + (1 if chosen.only is not None else -(-chosen.stores // len(kinds))))
    os.environ |= {"VECSTORE_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if chosen.bounds_checked:
        cache = Path(tempfile.gettempdir()) / f"vecstore-bounds-checked-{os.getuid()}"  # numba's keys do not tell it
        os.environ |= {"VECSTORE_KERNELS": "jit", "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        for kind, (tally, told) in zip(kinds, pool.map(_run, kinds, [numbers] * len(kinds)), strict=True):
            total += tally
            print(*told, f"{kind}: {_counts(tally)}", sep="\n", flush=True)
    print(f"all: {_counts(total)}")
    return int(not set(total) <= {"exact", "refused"})


if __name__ == "__main__":
    raise SystemExit(main())
