"""Speed and peak memory of converting dumps of growing size: ``python -m vecstore.bench.scripts.conversion``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from vecstore.bench.timing import add_page, machine, show, table

PIECE = 50_000

PROGRAM = """
import json, re, sys, time
import vecstore
from vecstore.formats import open_dump
start = time.perf_counter()
dump = open_dump(sys.argv[1], keys=sys.argv[2])
report = vecstore.convert(dump, sys.argv[3], sys.argv[4], force=True)
seconds = time.perf_counter() - start
# Not ru_maxrss: that begins at what the parent held when it started this process.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps({"seconds": seconds, "peak_kib": peak, "bytes": report.store_bytes / report.rows}))
"""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.conversion", description=__doc__)
    parser.add_argument("--rows", default="250000,1000000", help="row counts, comma-separated")
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--codecs", default="f16 sq:8 opq:48 bin/sq:8", help="separated by spaces")
    add_page(parser)
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.rows.split(",")]
    text = run(counts, arguments.dimensions, arguments.codecs.split())
    show(text, "conversion", page=arguments.write)


def run(counts: list[int], d: int, codecs: list[str]) -> str:
    """Return the table as Markdown."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            vectors, keys = Path(folder, "dump.npy"), Path(folder, "keys.txt")
            write_dump(vectors, keys, count, d)
            for codec in codecs:
                command = [sys.executable, "-c", PROGRAM, str(vectors), str(keys), str(Path(folder, "out.vecs")), codec]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                rate = count / found["seconds"]
                cells = [f"{found['seconds']:.1f}", f"{rate / 1e3:,.0f}", f"{found['peak_kib'] / 1024:,.0f}"]
                lines.append([f"{count:,}", codec, *cells, f"{found['bytes']:.1f}"])
    header = ["rows", "codec", "seconds", "rows k/s", "peak RSS, MiB", "bytes a row, keys included"]
    note = f"Clustered vectors x {d}, float32 .npy with a keys file, reading, training and measuring included."
    return f"{note}\n\n{table(header, lines)}\n\n{machine()}"


def write_dump(vectors: Path, keys: Path, count: int, d: int) -> None:
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


if __name__ == "__main__":
    main()
