"""What `vecstore.plan` predicts beside what runs: ``python -m vecstore.bench.scripts.simulation``.

A conversion of 1/250 of the rows, with shards of 1/250 of the size, is done by eight processes at once, and again
where some tasks take three times as long, and some processes are killed. Bytes and CPU seconds are compared with the
plan, whose rates are measured before, by as many processes at once. Files are in memory, and processes on fewer cores
tell nothing of clocks: the CPU seconds of the tasks that ran are handed out, one after the other, to eight workers that
would have a core each. Prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from vecstore.bench.scripts.cluster import FILES, ONE_THREAD, alike
from vecstore.bench.scripts.watched import SLOWNESS, Faults, Watched, notes
from vecstore.bench.timing import add_page, machine, show, table

import vecstore
from vecstore.conversion.capacity import plan
from vecstore.conversion.rates import made_up, measure_rates
from vecstore.distributed import Processes

STAGES = {
    "reading": ("survey_part", "same_keys"),
    "fitting": ("fit_elsewhere",),
    "encoding": ("encode_shard",),
    "mapping": ("map_keys",),
}
WORKERS, SCALE = 8, 250
ROWS, QUICK_ROWS = 5e8, 1.5e7  # of what is simulated
SHARD_BYTES = 1 << 30
GROUP_ROWS = 1 << 12  # those of a file: a shard begins within one, and reads it from its start, as large ones do
FAULTY = 20  # one task in so many is slow, and another one loses its process


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.simulation", description=__doc__)
    parser.add_argument("--rows", type=float, help="of the conversion that is simulated")
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--codec", default="sq:8")
    parser.add_argument("--folder", type=Path, help="for the files; the temporary folder by default")
    parser.add_argument("--quick", action="store_true", help="few rows: to see that it works")
    add_page(parser)
    arguments = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():  # numpy has read them by now: begin again
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]], os.environ | ONE_THREAD)
    rows = arguments.rows or (QUICK_ROWS if arguments.quick else ROWS)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        text = simulated(Path(name), int(rows / SCALE), arguments.dimensions, arguments.codec)
    show(text, "simulation", page=arguments.write)


def simulated(folder: Path, rows: int, dimensions: int, codec: str) -> str:
    """Return the table as Markdown."""
    rates = measure_rates(codec, dimensions, workers=WORKERS)
    shard_bytes = max(SHARD_BYTES // SCALE, 3 * int(rates.fixed_bytes))
    about: Any = {"shard_bytes": shard_bytes, "files": FILES, "disk_bytes_s": 1e12}
    predicted = plan(rows, dimensions, codec, machines=1, cores=WORKERS, rates=rates, **about)
    for number in range(FILES):
        first = number * (rows // FILES)
        path = folder / f"part-{number:02d}.parquet"
        made_up(path, rows // FILES, dimensions, 16, first=first, group_rows=GROUP_ROWS)
    source, options = folder / "part-*.parquet", {"codec": codec, "shard_bytes": shard_bytes}
    os.sync()  # or the system writes files while tasks run
    with Processes(WORKERS) as processes:
        # First tasks load libraries, and have the system clear memory that the processes keep: they do not count.
        _, calm, faulty = (
            _ran(processes, source, options, Faults(folder / name, every))
            for name, every in (("first", 0), ("calm", 0), ("faulty", FAULTY))
        )
    lines = [["bytes of the store", f"{predicted.stored_bytes / 1e6:.1f} MB", _store_bytes(folder / "calm.vecs"), ""]]
    lines.append(["shards", str(predicted.shards), str(_shards(folder / "calm.vecs")), ""])
    for stage, hours in predicted.cpu_hours.items():
        ran = (_once_s(run, stage) for run in (calm, faulty))
        lines.append([f"CPU of {stage}", f"{hours * 3600:.2f} s", *(_beside(own, hours * 3600) for own in ran)])
    clock = sum(predicted.hours.values()) * 3600
    lines.append(["clock of 8 workers", f"{clock:.1f} s", *(f"{_clock_s(run):.1f} s" for run in (calm, faulty))])
    slow, dead = (sum(bool(note[kind]) for note in faulty) for kind in ("slow", "dies"))
    lines.append(["tasks done, slow, lost", str(predicted.tasks), str(len(calm)), f"{len(faulty)}, {slow}, {dead}"])
    same = "the same bytes" if alike(folder / "calm.vecs", folder / "faulty.vecs") else "OTHER BYTES"
    told = f"{rows:,} rows x {dimensions} to {codec} in shards of {shard_bytes / 1e6:.2f} MB; with faults {same}."
    header = ["", "predicted", f"ran, {WORKERS} at once", "with faults"]
    return f"{told}\n\n{table(header, lines)}\n\n{machine()}."


def _ran(processes: Processes, source: Path, options: dict[str, Any], faults: Faults) -> list[dict[str, Any]]:
    """Convert by processes; return the notes of the tasks."""
    faults.folder.mkdir()
    vecstore.convert(source, faults.folder.with_suffix(".vecs"), executor=Watched(processes, faults), **options)
    return notes(faults.folder)


def _once_s(done: list[dict[str, Any]], stage: str) -> float:
    """Return the CPU seconds of a stage without what faults add: slow tasks are done three times, lost ones again."""
    own = [note for note in done if note["task"] in STAGES[stage] and not note["dies"]]
    return sum(note["cpu_s"] / (SLOWNESS if note["slow"] else 1) for note in own)


def _beside(ran_s: float, predicted_s: float) -> str:
    return f"{ran_s:.2f} s ({ran_s / predicted_s - 1:+.0%})"


def _clock_s(done: list[dict[str, Any]]) -> float:
    """Return when the last of eight workers is ready that take tasks in order, stage by stage."""
    total = 0.0
    for tasks in STAGES.values():
        for task in tasks:
            ends = [0.0] * WORKERS
            for note in sorted((note for note in done if note["task"] == task), key=lambda note: note["number"]):
                heapq.heappush(ends, heapq.heappop(ends) + note["cpu_s"])
            total += max(ends)
    return total


def _store_bytes(path: Path) -> str:
    return f"{sum(file.stat().st_size for file in path.iterdir()) / 1e6:.1f} MB"


def _shards(path: Path) -> int:
    return len(list(path.glob("shard-*")))


if __name__ == "__main__":
    main()
