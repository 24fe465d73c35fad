"""Feed changed bytes to every reader of bytes: an answer or a `VecstoreError`, soon, in little memory, without a crash.

``python -m vecstore.bench.scripts.fuzz --minutes 60`` shares an hour out over the targets of
`vecstore.bench.scripts.fuzz_targets`; ``--minutes 0.25 --each`` gives each 15 seconds, as CI does. Hypothesis draws the
changes, and makes those that do harm small. The bytes that did it are kept in ``--out``; ``--input`` tries them again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, seed, settings
from vecstore.bench.scripts.fuzz_targets import TARGETS, Target

from vecstore.errors import VecstoreError

__all__ = ["attempt", "changed", "fuzz"]

SECONDS = 5.0  # of the processor, for all that is asked of one input
MIB = 1 << 20
SPARE_BYTES = 512 * MIB  # of a process that has tried thousands of inputs
EXAMPLES = 300  # of a round of Hypothesis
WORDS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1, 0x7FC00000)
TOKENS = tuple(
    token.encode()
    for token in ("null", "true", "-1", "1e400", "0.5", '"', "[", "{}", ",", ":", "9" * 40, "\0", "é", "\n", "/", "x4")
)
PAGE, HEADER = 512, 160  # where numbers of LMDB lie in a page of a small file

# A change: what is done, where, how far, and with what.
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "word", "header", "insert", "delete", "copy", "cut"]),
        st.integers(0, 2**31),
        st.integers(0, 2**31),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(TOKENS)),
    ),
    min_size=1,
    max_size=6,
)


def changed(whole: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    """Return the bytes with some changes, one after the other."""
    data = bytearray(whole)
    for how, first, second, new in changes:
        at, size = first % (len(data) + 1), second % 64
        if how == "set":
            data[at : at + len(new)] = new[: len(data) - at]
        elif how in ("word", "header"):
            width = 1 << second % 4
            at = at // width * width if how == "word" else at // PAGE * PAGE + (at % HEADER) // width * width
            word = WORDS[second // 4 % len(WORDS)] & (1 << 8 * width) - 1
            data[at : at + width] = word.to_bytes(width, "little")[: max(len(data) - at, 0)]
        elif how == "insert":
            data[at:at] = new
        elif how == "delete":
            del data[at : at + size]
        elif how == "copy":
            data[at:at] = data[second % (len(data) + 1) :][:size]
        else:
            del data[at:]
    return bytes(data)


def attempt(target: Target, name: str, data: bytes) -> bool:
    """Return whether a target took the bytes; False where it refused them, as it should. What does harm is raised."""
    try:
        target.use(name, data)
    except VecstoreError:
        return False
    return True


def fuzz(target: Target, number: int, examples: int, until: float = float("inf"), last: Path | None = None) -> int:
    """Try so many inputs, drawn by a seed, or until a moment of the monotonic clock; return how many were tried."""
    tried = 0

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(target.seeds)), CHANGES)
    def one(name: str, changes: list[tuple[str, int, int, bytes]]) -> None:
        nonlocal tried
        if time.monotonic() < until:
            data = changed(target.seeds[name], changes)
            if last is not None:
                last.with_suffix(".name").write_text(name)
                last.write_bytes(data)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            attempt(target, name, data)
            tried += 1

    try:
        one()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return tried


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS:g} s of the processor")


def _fuzz_for(name: str, number: int, seconds: float, out: Path, answers: Any) -> None:
    """Fuzz one target in this process, and tell how many inputs were tried, or what went wrong."""
    signal.signal(signal.SIGPROF, _too_slow)
    last = out / f"{name}.input"
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        for seed_name, whole in sorted(target.seeds.items()):
            assert attempt(target, seed_name, whole), f"{name}: {seed_name} is not whole"
        allowed = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + SPARE_BYTES, allowed))
        until, tried = time.monotonic() + seconds, 0
        try:
            while time.monotonic() < until:
                tried += fuzz(target, number, EXAMPLES, until, last)
                number += 1
        except BaseException:
            answers.send((tried, traceback.format_exc()[-6000:]))
            return
    for file in (last, last.with_suffix(".name")):
        file.unlink(missing_ok=True)
    answers.send((tried, ""))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _watch(name: str, number: int, seconds: float, out: Path) -> bool:
    """Run a target in a process of its own; return whether nothing did harm."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_fuzz_for, args=(name, number, seconds, out, sender))
    child.start()
    sender.close()
    try:
        tried, harm = receiver.recv() if receiver.poll(seconds + 600) else (0, "it hangs")
    except EOFError:
        tried, harm = 0, "it crashed"
    if child.is_alive() and harm == "it hangs":
        child.kill()
    child.join()
    kept = f"; {out / name}.input is what did it" if harm else ""
    print(f"{name}: {tried:,} inputs, seed {number}{kept}", harm, sep="\n" if harm else "", flush=True)
    return not harm


def main() -> int:
    """Run the command line; return 1 when an input did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60, help="in all, or with --each for each target")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, help="of the first inputs; by default another one each time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where inputs go that do harm")
    parser.add_argument("--input", type=Path, help="try an input again that did harm")
    chosen = parser.parse_args()
    os.environ |= {"VECSTORE_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if chosen.input:
        with tempfile.TemporaryDirectory() as folder:
            target, name = TARGETS[chosen.input.stem](Path(folder)), chosen.input.with_suffix(".name").read_text()
            print("taken" if attempt(target, name, chosen.input.read_bytes()) else "refused")
        return 0
    names = chosen.target or list(TARGETS)
    seconds = 60 * chosen.minutes * (1 if chosen.each else chosen.jobs / len(names))
    number = int(time.time()) if chosen.seed is None else chosen.seed
    chosen.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        sound = list(pool.map(lambda name: _watch(name, number, seconds, chosen.out), names))
    return int(not all(sound))


if __name__ == "__main__":
    raise SystemExit(main())
