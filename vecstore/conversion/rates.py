"""What each step of a conversion takes a core of this machine, measured while all cores do the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.codecs.codec import Codec
from vecstore.conversion.conversion import convert
from vecstore.conversion.shards.encoding import ShardWork, Source, encode_shard
from vecstore.conversion.survey.duplicates import HASH, RUN_KEYS, SORT_KEYS, HashRange, Run, same_keys
from vecstore.conversion.survey.part_survey import PartWork, survey_part
from vecstore.conversion.survey.sampler import searched_rows
from vecstore.conversion.tasks.rows import FilePart, Rows
from vecstore.distributed.crew import silent
from vecstore.errors import VecstoreError, require
from vecstore.keys.map import SEGMENT_KEYS, made_segment
from vecstore.parallel import thread_count
from vecstore.progress import Listener, Step
from vecstore.store.store import Store

__all__ = ["Rates", "made_up", "measure_rates"]

SMALL_ROWS = 1 << 11  # of a store that takes hardly more than one without rows
PROBE_ROWS = 1 << 15  # at least, for what a row takes; measuring needs as many as it searches of any dump
SAMPLED = (1 << 64) // 32  # the priority below which rows of a large dump are sampled: one in 32
TURNS = 5  # of each task, the first of which is not counted
FIXED_PARTS = ("model", "cells", "reference")  # that do not grow with the rows
ONE_THREAD = dict.fromkeys(("VECSTORE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Rates:
    """What a conversion takes on one core of a machine whose other cores are as busy.

    Attributes
    ----------
    codec : str
    dimensions, key_bytes : int
        What it was measured for.
    reading_s, encoding_s, mapping_s : float
        CPU seconds a row: of the survey and the comparison of keys, of the second pass, of the key map.
    fitting_s : float
        CPU seconds of training and measuring, once.
    row_bytes, code_bytes, fixed_bytes : float
        Of a row in the store; its codes alone; of each shard beside its rows.
    dump_bytes : float
        Of a row in the dump.
    file_s, shard_s : float
        CPU seconds of a file of the dump and of a shard, however few rows they have.
    """

    codec: str
    dimensions: int
    key_bytes: int
    reading_s: float
    encoding_s: float
    mapping_s: float
    fitting_s: float
    row_bytes: float
    code_bytes: float
    fixed_bytes: float
    dump_bytes: float
    file_s: float = 0.0
    shard_s: float = 0.0


def measure_rates(spec: str, dimensions: int, *, key_bytes: int = 16, workers: int | None = None) -> Rates:
    """Convert made-up vectors, and return what that took.

    Training is measured alone, as it is one task. All else is measured in as many processes at the same time as there
    are cores, or `workers`: cores share caches and memory, and in a large conversion all of them are busy.
    """
    rows = max(searched_rows(dimensions), PROBE_ROWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dump = made_up(folder / "probe.parquet", rows, dimensions, key_bytes)
        small = made_up(folder / "small.parquet", SMALL_ROWS, dimensions, key_bytes)
        _spent(small, folder / "small.vecs", spec)  # what is loaded and compiled once
        spent = _spent(dump, folder / "probe.vecs", spec)
        with Store(folder / "probe.vecs") as store:
            size = store.info()["bytes"]
        growing = sum(part for label, part in size["parts"].items() if label not in FIXED_PARTS)
        task_s = _side_by_side(workers or thread_count(), folder, rows, dimensions, key_bytes)
        reading_s, file_s = _each_and_once(task_s["survey_part"], task_s["survey_part of few"], rows)
        encoding_s, shard_s = _each_and_once(task_s["encode_shard"], task_s["encode_shard of few"], rows)
        return Rates(
            spec,
            dimensions,
            key_bytes,
            reading_s + (task_s["same_keys"] / SORT_KEYS if key_bytes else 0.0),
            encoding_s,
            task_s["made_segment"] / SEGMENT_KEYS,
            sum(own for stage, own in spent.items() if stage not in ("reading", "encoding")),
            growing / rows,
            float(size["code"][0]),
            size["stored"] - growing,
            dump.stat().st_size / rows,
            file_s,
            shard_s,
        )


def _each_and_once(many_s: float, few_s: float, rows: int) -> tuple[float, float]:
    """Return what a row of a task takes, and what the task takes once, which is no more than half."""
    each = max(many_s - few_s, many_s / 2) / (rows - SMALL_ROWS)
    return each, max(few_s - SMALL_ROWS * each, 0.0)


def _side_by_side(workers: int, *about: object) -> dict[str, float]:
    """Return the CPU seconds of each task, the mean of so many processes at the same time."""
    command = [sys.executable, "-m", __spec__.name, *map(str, about)]
    running: list[subprocess.Popen[str]] = []
    try:
        for number in range(workers):
            # Ctrl-C, which a terminal sends to a session, is for this process alone: it ends the others.
            running.append(
                subprocess.Popen(
                    [*command, str(number)],
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | ONE_THREAD,
                    start_new_session=True,
                )
            )
        told = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            with process:  # closes its pipe, and waits for it
                process.kill()
    if any(process.returncode for process in running):
        raise VecstoreError("a process that measured a small conversion failed; what it said stands above")
    found = [json.loads(own) for own in told]
    return {task: float(np.mean([own[task] for own in found])) for task in found[0]}


def _measured(folder: Path, rows: int, dimensions: int, key_bytes: int, number: int) -> dict[str, float]:
    """Return the CPU seconds of each task in this process, one of several, which has files of its own."""
    own = folder / str(number)
    own.mkdir()
    with Store(folder / "probe.vecs") as store:
        codec = store._snapshot.shards[0].codec
    found = {}
    for of, count in ((" of few", SMALL_ROWS), ("", rows)):
        path = made_up(own / f"{count}.parquet", count, dimensions, key_bytes, first=number * rows)
        survey, encode = _file_tasks(path, count, codec)
        shards = [replace(encode, name=f"shard-{count}-{turn}") for turn in range(TURNS)]
        found[f"survey_part{of}"] = _mean_s(survey_part, [survey] * TURNS)
        found[f"encode_shard{of}"] = _mean_s(encode_shard, shards)
    return found | _keys_s(own)


def _mean_s(task: Callable[[Any, Listener], object], works: Sequence[Any]) -> float:
    """Return the CPU seconds of each work, after the first one: that loads what it needs, and has memory cleared."""
    task(works[0], silent)
    start = time.process_time()
    for work in works[1:]:
        task(work, silent)
    return (time.process_time() - start) / (len(works) - 1)


def _file_tasks(path: Path, rows: int, codec: Codec) -> tuple[PartWork, ShardWork]:
    """Return what is done with a file of a large dump, of whose rows few are sampled.

    The shard begins within a file, and ends in the next one, as most do.
    """
    part, first = FilePart(path, {}), rows * 3 // 5
    about: Any = {"several": True, "on_bad": "error", "seed": 0, "limit": SAMPLED, "sized": True, "apart": True}
    source = Source(Rows([part, part], [rows, rows]), "error", "cosine", part.open().key_type, False, True, None, {})
    dropped: Any = np.empty(0, np.int64)
    encode = ShardWork("shard", source, path.parent, codec, first, first + rows, dropped, first, 0, rows, None)
    return PartWork(0, part, directory=path.parent, **about), encode


def _keys_s(folder: Path) -> dict[str, float]:
    """Return what a task takes that compares as many keys as one does, and a segment of the key map."""
    rng = np.random.default_rng(0)
    with open(folder / "keys", "wb") as file:
        for _ in range(0, SORT_KEYS, RUN_KEYS):
            run = np.zeros((RUN_KEYS, 3), "<u8")
            run[:, HASH] = np.sort(rng.integers(0, 1 << 64, RUN_KEYS, np.uint64))
            run.tofile(file)
    compared = HashRange((Run(folder / "keys", 0),), 0, (1 << 64) - 1)
    hashes, shards = rng.integers(0, 1 << 64, SEGMENT_KEYS, np.uint64), np.arange(SEGMENT_KEYS) * 16 // SEGMENT_KEYS
    segment = hashes, shards.astype(np.uint16), 4
    return {
        "same_keys": _mean_s(same_keys, [compared] * 2),
        "made_segment": _mean_s(lambda work, report: made_segment(*work), [segment] * 2),
    }


def _spent(dump: Path, store: Path, spec: str) -> dict[str, float]:
    """Return the CPU seconds of a conversion by stage."""
    clock = _Clock()
    convert(dump, store, spec, accept_dominated=True, force=True, progress=clock)
    return clock.stopped("encoding")


class _Clock:
    """Adds up the CPU seconds of this process by stage, as it is told the steps."""

    def __init__(self) -> None:
        self._spent, self._last, self._stage = defaultdict[str, float](float), time.process_time(), ""

    def __call__(self, step: Step) -> None:
        self.stopped(self._stage or step.stage if step.done == 0 else step.stage)
        self._stage = step.stage

    def stopped(self, stage: str) -> dict[str, float]:
        """Count what has been spent since the last step for a stage; return all."""
        now = time.process_time()
        self._spent[stage] += now - self._last
        self._last = now
        return dict(self._spent)


def made_up(
    path: Path, rows: int, dimensions: int, key_bytes: int, *, first: int = 0, group_rows: int = 1 << 14
) -> Path:
    """Write vectors whose spectrum falls off as that of embeddings does, around some centres; keys count from first."""
    pa, pq = (require(name, purpose="measuring a conversion") for name in ("pyarrow", "pyarrow.parquet"))
    rng = np.random.default_rng(first)
    scales = (np.arange(1, dimensions + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((256, dimensions), np.float32)
    x = (centres[rng.integers(256, size=rows)] + rng.standard_normal((rows, dimensions), np.float32) / 2) * scales
    columns = {"vector": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), dimensions)}
    if key_bytes:
        columns = {"key": pa.array([f"{row:x}".zfill(key_bytes) for row in range(first, first + rows)])} | columns
    pq.write_table(pa.table(columns), path, row_group_size=group_rows)
    return path


if __name__ == "__main__":
    print(json.dumps(_measured(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
