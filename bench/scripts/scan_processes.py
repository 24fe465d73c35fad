"""What only a process of its own shows: how much memory a search takes, and what the first one costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.timing import table

import vecstore

__all__ = ["first_use", "peak_memory"]

# All of the file is mapped in by `verify`, and a small store has loaded the kernels. So after the peak is set back to
# what is resident now, what a search adds to it is what it allocates.
PEAK = """
import json, re, sys
import numpy as np
import vecstore

def kib(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

queries = np.load(sys.argv[3])
vecstore.open(sys.argv[2]).search(queries)
store = vecstore.open(sys.argv[1])
store.verify()
open("/proc/self/clear_refs", "w").write("5")
before = kib("VmRSS")
store.search(queries)
print(json.dumps({"extra_kib": kib("VmHWM") - before, "file_kib": kib("RssFile")}))
"""

FIRST = """
import json, sys, time
import numpy as np
query = np.load(sys.argv[2])[0]
start = time.perf_counter()
import vecstore
store = vecstore.open(sys.argv[1])
opened = time.perf_counter()
store.search(query)
first = time.perf_counter()
store.search(query)
second = time.perf_counter()
print(json.dumps({"open": opened - start, "first": first - opened, "second": second - first}))
"""

SMALL = 2_000
FIRST_CODECS, FRESH = ("bin", "sq:8", "tcq:48"), 7


def peak_memory(x: NDArray[np.float32], queries: NDArray[np.float32], scratch: Path, codecs: Sequence[str]) -> str:
    """Return a table of what a search allocates at a quarter of the rows and at all of them."""
    if not Path("/proc/self/clear_refs").exists():
        return "Peak memory of a search: measured on Linux only."
    counts = len(x) // 4, len(x)
    for number in (1, len(queries)):
        np.save(scratch / f"{number}.npy", queries[:number])
    rows = []
    for codec in codecs:
        small, *stores = (_store(x[:count], codec, scratch) for count in (SMALL, *counts))
        for number in (1, len(queries)):
            found = [_run(PEAK, store, small, scratch / f"{number}.npy") for store in stores]
            cells = [f"{one['extra_kib'] / 1024:.1f}" for one in found]
            rows.append([f"`{codec}`", str(number), *cells, f"{found[-1]['file_kib'] / 1024:,.0f}"])
    header = ["store", "queries", *(f"MiB at {count:,} rows" for count in counts), "mapped, MiB"]
    note = "What a search allocates at its peak, in all threads: what VmHWM grows by, all of the file being mapped in."
    return f"{note}\n\n{table(header, rows)}"


def first_use(x: NDArray[np.float32], queries: NDArray[np.float32], scratch: Path) -> str:
    """Return a table of what the first search of a process costs; kernels were made before, as in a wheel."""
    np.save(scratch / "first.npy", queries[:1])
    rows = []
    for codec in FIRST_CODECS:
        store = _store(x[: len(x) // 4], codec, scratch)
        runs = [_run(FIRST, store, scratch / "first.npy") for _ in range(FRESH)]
        medians = (float(np.median([found[name] for found in runs])) for name in ("open", "first", "second"))
        rows.append([f"`{codec}`", *(f"{1e3 * seconds:.1f}" for seconds in medians)])
    header = ["store", "import and open, ms", "first search, ms", "second search, ms"]
    note = f"The first search in a process, over {len(x) // 4:,} rows; medians of {FRESH} fresh processes:"
    return f"{note}\n\n{table(header, rows)}"


def _store(x: NDArray[np.float32], codec: str, scratch: Path) -> Path:
    path = scratch / f"{codec.replace(':', '')}-{len(x)}.vecs"
    if not path.exists():
        vecstore.write(path, x, None, codec)
    return path


def _run(program: str, *arguments: Path) -> dict[str, Any]:
    """Return what a program prints, run in a process of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
