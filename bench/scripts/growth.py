"""How costs grow with rows and with shards: ``python -m vecstore.bench.scripts.growth --vectors docs_f16.npy``.

Stores of several sizes take turns in one process and one thread; what only a fresh process shows is measured in fresh
ones. An exponent is the slope of log(cost) against log(rows): 0 does not grow, 1 grows as the rows do. Prints the
tables as Markdown; ``--json FILE`` keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan import QUERIES, TRAIN_ROWS, clustered, repeated, threads
from vecstore.bench.scripts.scan_peers import K
from vecstore.bench.timing import add_page, machine, medians, show, table

import vecstore
from vecstore.shard.sizes import FIXED_BYTES, KEY_BYTES

Floats: TypeAlias = NDArray[np.float32]
Costs: TypeAlias = dict[str, dict[int, float]]  # cost -> rows or shards -> seconds or bytes

CODECS = ("sq:8", "pq:96x4", "tcq:48"), ("sq:8",)  # the second of each pair for --quick
ROWS = (10_000, 40_000, 160_000, 640_000), (600, 1_200, 2_400)
SHARDS = (1, 16, 64, 256), (1, 4)
SHARDED_ROWS = 320_000, 1_200  # a shard holds 64 kB of rows, at least
RUNS, FRESH = (31, 2), (7, 1)
KEY_LENGTH = 14
SINGLES, LOOKUPS = 100, 1_000  # keys looked up one by one, and at once
SOME, FEW = 1_000, 10  # rows of a filter

OPEN, LOOKUP, SEARCH = "open", "first lookup", "first search"
MEMORY, COLD = "private memory", "read by a cold open"
BYTES = (MEMORY, COLD)

PROGRAM = """
import json, os, re, sys, time
import numpy as np
path, key, queries, cold = sys.argv[1], sys.argv[2], np.load(sys.argv[3]), sys.argv[4] == "cold"

def told(file, name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/" + file).read())[1])

import vecstore
vecstore.open, vecstore.errors
if cold:
    files = [path] if os.path.isfile(path) else [os.path.join(path, name) for name in os.listdir(path)]
    for name in files:
        file = os.open(name, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
linux = os.path.exists("/proc/self/smaps_rollup")
before, read = (told("smaps_rollup", "Private_Dirty"), told("io", "read_bytes")) if linux else (0, 0)
times = [time.perf_counter()]
store = vecstore.open(path)
times.append(time.perf_counter())
read = told("io", "read_bytes") - read if linux else 0
store[key]
times.append(time.perf_counter())
store.search(queries[0])
times.append(time.perf_counter())
memory = told("smaps_rollup", "Private_Dirty") - before if linux else 0
print(json.dumps({"times": np.diff(times).tolist(), "read": read, "memory": memory * 1024}))
"""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.growth", description=__doc__)
    parser.add_argument("--vectors", type=Path, metavar="NPY", help="repeat these, with noise; else clustered ones")
    parser.add_argument("--rows", type=int, nargs="+", help="sizes of stores")
    parser.add_argument("--shards", type=int, nargs="+", help="numbers of shards; 1 is one file")
    parser.add_argument("--sharded", type=int, metavar="ROWS", help="rows of the stores in shards")
    parser.add_argument("--codecs", nargs="+", metavar="CODEC")
    parser.add_argument("--quick", action="store_true", help="small stores and few runs: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers here: seconds and bytes")
    add_page(parser)
    arguments = parser.parse_args()
    text, costs = run(arguments)
    show(text, "growth", page=arguments.write)
    if arguments.json:
        arguments.json.write_text(json.dumps(costs, indent=1) + "\n")


def run(arguments: argparse.Namespace) -> tuple[str, dict[str, dict[str, Costs]]]:
    """Return the tables as Markdown, and costs of codecs by "rows" and by "shards"."""
    quick, given = arguments.quick, arguments.vectors
    sizes, shards = arguments.rows or ROWS[quick], arguments.shards or SHARDS[quick]
    sharded = arguments.sharded or SHARDED_ROWS[quick]
    most = max(*sizes, sharded)
    x, queries = repeated(given, most) if given else clustered(most, 384)
    whence = f"copies of {given.name} with noise" if given else "clustered"
    parts = [
        f"Vectors x {x.shape[1]} ({whence}), str keys, k = {K}, cosine, one thread; medians of {RUNS[quick]} runs, of "
        f"{FRESH[quick]} fresh processes. Imports are not counted. Private memory is what opening, one lookup and one "
        f"search add to that of numpy. Found keys are read, too."
    ]
    costs: dict[str, dict[str, Costs]] = {}
    for codec in arguments.codecs or CODECS[quick]:
        with tempfile.TemporaryDirectory() as folder, threads(1):
            bench = Growth(codec, x, queries, Path(folder), quick=quick)
            by_rows = bench.costs({rows: bench.store(rows) for rows in sizes}, FILTERS | WIDTHS)
            in_shards = [bench.store(sharded, count) for count in shards]
            by_shards = bench.costs({shards_of(path): path for path in in_shards}, {})
            costs[codec] = {"rows": by_rows, "shards": by_shards}
            parts += [_by_rows(codec, by_rows), _by_shards(codec, by_shards, sharded)]
    return "\n\n".join([*parts, machine()]), costs


@dataclass(frozen=True)
class Asked:
    """A store, and what it is asked one after the other."""

    store: vecstore.Store
    rows: int
    key: cycle[str]
    query: cycle[Floats]
    queries: Floats
    keys: list[str]
    numbers: NDArray[np.int64]
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, store: vecstore.Store, queries: Floats) -> Asked:
        """Draw keys, and rows for filters, of all of the store."""
        rows, rng = len(store), np.random.default_rng(2)
        keys = [_key(row) for row in rng.integers(0, rows, LOOKUPS)]
        numbers = rng.choice(rows, min(SOME, rows // 10), replace=False)
        return cls(store, rows, cycle(keys), cycle(queries), queries, keys, numbers, rng.random(rows) < 0.5)

    def search(self, k: int = K, **options: Any) -> object:
        """Search for the next query, and read the keys that are found."""
        return self.store.search(next(self.query), k, **options).keys


Do: TypeAlias = Callable[[Asked], object]
LOOKUPS_AND_SEARCHES: dict[str, Do] = {
    f"{SINGLES} lookups, one by one": lambda asked: [asked.store[next(asked.key)] for _ in range(SINGLES)],
    f"lookup of {LOOKUPS:,} at once": lambda asked: asked.store[asked.keys],
    "search": lambda asked: asked.search(),
    f"batch of {QUERIES}": lambda asked: asked.store.search(asked.queries, K).keys,
}
FILTERS: dict[str, Do] = {
    f"`rows=` {SOME:,} numbers": lambda asked: asked.search(rows=asked.numbers),
    "`rows=` numbers of a half": lambda asked: asked.search(rows=np.flatnonzero(asked.mask)),
    "`rows=` mask of a half": lambda asked: asked.search(rows=asked.mask),
    f"`exclude=` {FEW} numbers": lambda asked: asked.search(exclude=asked.numbers[:FEW]),
    f"`exclude=` {SOME:,} numbers": lambda asked: asked.search(exclude=asked.numbers),
    "`exclude=` mask of a half": lambda asked: asked.search(exclude=asked.mask),
}
WIDTHS: dict[str, Do] = {f"k = {k:,}": partial(Asked.search, k=k) for k in (100, 1_000, 10_000)}


class Growth:
    """Stores of one codec, trained once, and what they cost."""

    def __init__(self, codec: str, x: Floats, queries: Floats, scratch: Path, *, quick: bool) -> None:
        self._x, self._queries, self._scratch, self._quick = x, queries, scratch, quick
        sample = x[np.sort(np.random.default_rng(1).permutation(len(x))[: TRAIN_ROWS[quick]])]
        self._codec = vecstore.codec(codec).fit(sample, seed=0)
        self._made = 0
        np.save(scratch / "queries.npy", queries[:1])

    def store(self, rows: int, shards: int = 1) -> Path:
        """Write a store in about so many shards, and return its path."""
        self._made += 1
        path = self._scratch / f"{self._made}.vecs"
        row_bytes = self._codec.code_bytes + KEY_BYTES + KEY_LENGTH
        size = None if shards == 1 else FIXED_BYTES + -(-rows // shards) * row_bytes
        with vecstore.Writer(path, self._codec, shard_bytes=size) as writer:
            writer.add(self._x[:rows], [_key(row) for row in range(rows)])
        return path

    def costs(self, paths: dict[int, Path], more: dict[str, Do]) -> Costs:
        """Return what stores cost, each told by a number."""
        found = self._fresh(paths)
        with ExitStack() as opened:
            asked = {
                at: Asked.of(opened.enter_context(vecstore.open(path)), self._queries) for at, path in paths.items()
            }
            for name, do in (LOOKUPS_AND_SEARCHES | more).items():
                functions = {str(at): partial(do, one) for at, one in asked.items()}
                taken = medians(functions, runs=RUNS[self._quick])
                found[name] = {int(at): seconds for at, seconds in taken.items()}
        return found

    def _fresh(self, paths: dict[int, Path]) -> Costs:
        found: Costs = {name: {} for name in (OPEN, LOOKUP, SEARCH, MEMORY, COLD)}
        for at, path in paths.items():
            warm = [self._process(path, "warm") for _ in range(FRESH[self._quick])]
            for number, name in enumerate((OPEN, LOOKUP, SEARCH)):
                found[name][at] = statistics.median(one["times"][number] for one in warm)
            found[MEMORY][at] = statistics.median(one["memory"] for one in warm)
            found[COLD][at] = self._process(path, "cold")["read"]
        return found

    def _process(self, path: Path, state: str) -> dict[str, Any]:
        arguments = str(path), _key(1), str(self._scratch / "queries.npy"), state
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
        said: dict[str, Any] = json.loads(done.stdout)
        return said


def shards_of(path: Path) -> int:
    """Return how many there are: about as many as asked for."""
    with vecstore.open(path) as store:
        return int(store.info()["shards"])


def exponent(costs: dict[int, float]) -> float:
    """Return the slope of log(cost) against log(what it is told by); NaN where a cost is none.

    Examples
    --------
    >>> round(exponent({10: 2.0, 100: 20.0, 1000: 200.0}), 6)
    1.0
    """
    if len(costs) < 2 or min(costs.values()) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(list(costs)), np.log(list(costs.values())), 1)[0])


def _by_rows(codec: str, costs: Costs) -> str:
    sizes = list(costs[OPEN])
    header = [f"`{codec}`, rows", *(f"{rows:,}" for rows in sizes), "exponent"]
    ratios = [[name, *(f"{costs[name][rows] / costs['search'][rows]:.2f}" for rows in sizes)] for name in FILTERS]
    beside = table(["times the search of all", *(f"{rows:,}" for rows in sizes)], ratios)
    return f"{table(header, _lines(costs))}\n\n{beside}"


def _by_shards(codec: str, costs: Costs, rows: int) -> str:
    counts = list(costs[OPEN])
    first, last = counts[0], counts[-1]
    header = [f"`{codec}`, {rows:,} rows in shards", *map(str, counts), "exponent", f"{last} over {first}"]
    lines = [
        [*line, f"{costs[line[0]][last] / costs[line[0]][first]:.2f}" if costs[line[0]][first] else ""]
        for line in _lines(costs)
    ]
    return table(header, lines)


def _lines(costs: Costs) -> list[list[str]]:
    lines = []
    for name, each in costs.items():
        shown = (_size(cost) if name in BYTES else _time(cost) for cost in each.values())
        slope = exponent(each)
        lines.append([name, *shown, "" if np.isnan(slope) else f"{slope:.2f}"])
    return lines


def _time(seconds: float) -> str:
    return (
        f"{seconds * 1e6:.1f} us"
        if seconds < 1e-4
        else f"{seconds * 1e3:.3g} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def _size(count: float) -> str:
    return f"{count / 1e3:,.0f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def _key(row: int) -> str:
    return f"{row:0{KEY_LENGTH}}"


if __name__ == "__main__":
    main()
