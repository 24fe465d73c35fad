"""What a row costs in small and large stores of few and many shards: ``python -m vecstore.bench.scripts.flatness``.

CPU seconds of one thread, the least of some runs that take turns: of both passes of a conversion from Parquet (what is
trained and measured once is left out), of the map of keys to shards and what follows until the report is there, of
opening, and of lookups: of many at once, which touch all shards for the first time, of some alone, and of the same
again. Prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.scripts.cluster import ONE_THREAD, write_files
from vecstore.bench.scripts.scan import clustered
from vecstore.bench.timing import add_page, machine, show, table

import vecstore
from vecstore.progress import Step

DIMENSIONS, CODEC, ROW_BYTES = 64, "sq:8", 100
CASES = (
    *((rows, 16) for rows in (250_000, 1_000_000, 4_000_000)),
    *((rows, shards) for rows in (1_000_000, 4_000_000) for shards in (1, 64, 256)),
)
QUICK = ((5_000, 4), (20_000, 1), (20_000, 4))
LOOKUPS, ALONE, AGAIN = 4096, 256, 5
COLUMNS = ("reading", "encoding", "mapping", "open", "first lookups", "alone", "again", "lookups of many")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.flatness", description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for the files, which are large; the temporary folder by default")
    parser.add_argument("--quick", action="store_true", help="few rows: to see that it works")
    add_page(parser)
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    cases = QUICK if arguments.quick else CASES
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        text = measured(Path(name), cases, 1 if arguments.quick else arguments.runs)
    show(text, "flatness", page=arguments.write)


def measured(folder: Path, cases: tuple[tuple[int, int], ...], runs: int) -> str:
    """Return the table as Markdown."""
    for rows in sorted({rows for rows, _ in cases}):
        (folder / str(rows)).mkdir()
        write_files(folder / str(rows), clustered(rows, DIMENSIONS)[0])
    rows, shards = cases[0]
    costs(folder, rows, shards)  # what is loaded once
    least: dict[tuple[int, int], dict[str, float]] = {}
    counts: dict[tuple[int, int], int] = {}
    for case in cases * runs:
        found, counts[case] = costs(folder, *case)
        least[case] = {name: min(cost, least.get(case, found)[name]) for name, cost in found.items()}
    lines = [[f"{case[0]:,}", str(counts[case]), *(f"{least[case][name]:.3g}" for name in COLUMNS)] for case in cases]
    header = ["rows", "shards", "reading, µs a row", "encoding, µs a row", "key map and commit, µs a row", "open, ms"]
    header += [f"{LOOKUPS:,} first lookups, ms", f"{ALONE} alone, µs each", "again, µs each"]
    header += [f"{LOOKUPS:,} at once, µs each"]
    return f"{table(header, lines)}\n\n{CODEC}, {DIMENSIONS} dimensions, {machine()}."


def costs(folder: Path, rows: int, shards: int) -> tuple[dict[str, float], int]:
    """Return what each step of the life of a store takes, and how many shards it has."""
    path, clock = folder / "store.vecs", _Stages()
    size = max(rows * ROW_BYTES // shards, 1 << 18) if shards > 1 else 1 << 40
    source = folder / str(rows) / "part-*.parquet"
    vecstore.convert(source, path, CODEC, shard_bytes=size, force=True, progress=clock)
    spent = clock.stopped()
    found = {stage: spent.get(stage, 0.0) / rows * 1e6 for stage in ("reading", "encoding", "mapping")}
    rng = np.random.default_rng(0)
    keys = [f"document {row:09d}" for row in rng.choice(rows, LOOKUPS, replace=False).tolist()]
    gc.collect()  # so that what a conversion left is not collected amid lookups
    stores: list[Any] = []
    found["open"] = _cpu_s(lambda: stores.append(vecstore.open(path))) * 1e3
    (store,) = stores
    found["first lookups"] = _cpu_s(lambda: store.lookup(keys)) * 1e3
    found["alone"] = _cpu_s(lambda: [store[key] for key in keys[:ALONE]]) / ALONE * 1e6
    found["again"] = min(_cpu_s(lambda: [store[key] for key in keys[:ALONE]]) for _ in range(AGAIN)) / ALONE * 1e6
    found["lookups of many"] = _cpu_s(lambda: store.lookup(keys)) / LOOKUPS * 1e6
    count = len(store._snapshot.shards)
    store.close()
    return found, count


def _cpu_s(do: Callable[[], object]) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start


class _Stages:
    """Adds up CPU seconds: those before a step are of its stage, or of the one before where a stage begins."""

    def __init__(self) -> None:
        self._spent, self._last, self._stage = defaultdict[str, float](float), time.process_time(), ""

    def __call__(self, step: Step) -> None:
        self._count(step.stage if step.done else self._stage)
        self._stage = step.stage

    def stopped(self) -> Mapping[str, float]:
        """Return what each stage took; what follows the last step is that stage's."""
        self._count(self._stage)
        return self._spent

    def _count(self, stage: str) -> None:
        now = time.process_time()
        self._spent[stage] += now - self._last
        self._last = now


if __name__ == "__main__":
    main()
