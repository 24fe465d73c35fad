"""Processor time and peak memory of converting dumps of growing size: ``python -m vecstore.bench.scripts.conversion``.

Every conversion is a process of its own, and so are the copies of the dump beside it, since how fast a system hands out
memory differs from minute to minute. Text keys, one a line; in Parquet a column.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.timing import add_page, machine, show, table
from vecstore.formats import open_dump, write_dump

PIECE = 50_000

MEASURED = """
import json, os, re, sys, time
def measured(act):
    start, before = time.perf_counter(), os.times()
    found = act()
    after, seconds = os.times(), time.perf_counter() - start
    # Not ru_maxrss: that begins at what the parent held when it started this process.
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
    cpu = after.user + after.system - before.user - before.system
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_kib": peak, "bytes": found}))
"""
PROGRAMS = {
    "convert": """
import vecstore
def act():
    report = vecstore.convert(sys.argv[1], sys.argv[3], sys.argv[4], force=True, **json.loads(sys.argv[2]))
    return report.store_bytes / report.rows
""",
    "read": """
from vecstore.formats import open_dump
act = lambda: sum(0 for _ in open_dump(sys.argv[1], **json.loads(sys.argv[2])).batches())
""",
    "copy": """
def act():
    piece = memoryview(bytearray(1 << 20))
    with open(sys.argv[1], "rb", buffering=0) as source, open(sys.argv[3], "wb", buffering=0) as copy:
        while size := source.readinto(piece):
            copy.write(piece[:size])
        os.fsync(copy.fileno())
""",
    "numpy": """
import numpy as np
def act():
    with open(sys.argv[3], "wb") as copy:
        np.save(copy, np.load(sys.argv[1]))
        os.fsync(copy.fileno())
""",
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.conversion", description=__doc__)
    parser.add_argument("--rows", default="250000,1000000", help="row counts, comma-separated")
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--codecs", default="f32 f16 sq:8 opq:48 bin/sq:8", help="separated by spaces")
    parser.add_argument("--formats", default="npy", help="npy, parquet; comma-separated")
    parser.add_argument("--times", type=int, default=1, help="the run that takes the least processor time counts")
    add_page(parser)
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.rows.split(",")]
    formats = arguments.formats.split(",")
    text = run(counts, arguments.dimensions, arguments.codecs.split(), formats, arguments.times)
    show(text, "conversion", page=arguments.write)


def run(counts: list[int], d: int, codecs: list[str], formats: list[str], times: int = 1) -> str:
    """Return the table as Markdown."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            vectors, keys = Path(folder, "dump.npy"), Path(folder, "keys.txt")
            write_array(vectors, keys, count, d)
            for name in formats:
                dump, reading = vectors, {"keys": str(keys)}
                if name == "parquet":
                    dump, reading = Path(folder, "dump.parquet"), {}
                    write_parquet(dump, vectors, keys)
                whats = [*codecs, "read", "copy", *(["numpy"] if name == "npy" else [])]
                best: dict[str, Any] = {}
                for what in whats * times:  # in turn, so that a slow minute meets all
                    found = _run(what, dump, reading, Path(folder, "out"))
                    best[what] = min(best.get(what, found), found, key=lambda each: each["cpu"])
                lines += [_line(count, name, what, best[what], 4 * d * count / 1e6) for what in whats]
    header = ["rows", "from", "to", "processor time, s", "MB a second of it", "seconds"]
    note = f"Clustered vectors x {d}, float32, text keys; reading, training and measuring included."
    return f"{note}\n\n{table([*header, 'peak RSS, MiB', 'bytes a row, keys included'], lines)}\n\n{machine()}"


def _run(what: str, dump: Path, reading: dict[str, Any], out: Path) -> dict[str, Any]:
    out.unlink(missing_ok=True)
    program = f"{MEASURED}{PROGRAMS.get(what, PROGRAMS['convert'])}measured(act)"
    command = [sys.executable, "-c", program, str(dump), json.dumps(reading), str(out), what]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _line(count: int, name: str, what: str, found: dict[str, Any], mega: float) -> list[str]:
    named = {"read": "read once", "copy": "a copy of the file", "numpy": "`np.load`, `np.save`"}.get(what, f"`{what}`")
    times = [f"{found['cpu']:.2f}", f"{mega / found['cpu']:,.0f}", f"{found['seconds']:.2f}"]
    size = f"{found['bytes']:.1f}" if what not in PROGRAMS else ""
    return [f"{count:,}", name, named, *times, f"{found['peak_kib'] / 1024:,.0f}", size]


def write_array(vectors: Path, keys: Path, count: int, d: int) -> None:
    """Write `count` rows around 1,000 centres whose spectrum falls off as embeddings' do, piece by piece."""
    rng = np.random.default_rng(0)
    scales = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((1000, d), np.float32) * scales
    out = np.lib.format.open_memmap(vectors, "w+", dtype="<f4", shape=(count, d))
    for start in range(0, count, PIECE):
        n = min(PIECE, count - start)
        out[start : start + n] = (
            centres[rng.integers(0, 1000, n)] + rng.standard_normal((n, d), np.float32) * scales / 2
        )
    out.flush()
    keys.write_text("".join(f"document/{row:09d}\n" for row in range(count)))


def write_parquet(path: Path, vectors: Path, keys: Path) -> None:
    """Write the same rows and keys as a Parquet file."""
    dump = open_dump(vectors, keys=keys)
    write_dump(path, dump.batches(), dimensions=dump.dimensions, rows=dump.rows or 0, key_type="str", force=True)


if __name__ == "__main__":
    main()
