"""Search on codes by every instruction set that this processor has: ``python -m vecstore.bench.scripts.scan_levels``.

All take turns in one process and one thread. The ratios say what an older processor costs, as far as the instructions
go; the clock and the memory are those of this one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan import QUERIES, clustered, repeated, threads
from vecstore.bench.scripts.scan_peers import K
from vecstore.bench.timing import add_page, machine, medians, show, table

import vecstore
from vecstore.errors import VecstoreError
from vecstore.kernels.levels import best_level, levels

Floats: TypeAlias = NDArray[np.float32]

CODECS = ("tcq:48", "opq:48", "pq:96x4", "bin", "sq:8")
TRAIN_ROWS = 20_000
RUNS = (41, 5)  # of single queries, of batches


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.scan_levels", description=__doc__)
    parser.add_argument("--rows", type=int, default=160_000)
    parser.add_argument("--vectors", type=Path, metavar="NPY", help="repeat these, with noise; else clustered ones")
    parser.add_argument("--codecs", nargs="+", default=CODECS, metavar="CODEC")
    parser.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    add_page(parser)
    arguments = parser.parse_args()
    show(run(arguments), "scan-levels", page=arguments.write)


def run(arguments: argparse.Namespace) -> str:
    """Return the table as Markdown."""
    given, runs = arguments.vectors, (3, 1) if arguments.quick else RUNS
    x, queries = repeated(given, arguments.rows) if given else clustered(arguments.rows, 384)
    sample = x[np.sort(np.random.default_rng(1).permutation(len(x))[:TRAIN_ROWS])]
    found = levels()[:0:-1]  # the best first, without plain loops
    rows = []
    with tempfile.TemporaryDirectory() as folder, threads(1):
        for number, codec in enumerate(arguments.codecs):
            path = Path(folder) / f"{number}.vecs"
            vecstore.write(path, x, None, vecstore.codec(codec).fit(sample, seed=0))
            with vecstore.open(path) as store:
                same_rows(store, queries)
                one = medians(ways(store, queries[:, None]), runs=runs[0])
                many = medians(ways(store, queries[None]), runs=runs[1])
            cells = [cell for level in found for taken in (one, many) for cell in _cells(taken, level, found[0])]
            rows.append([f"`{codec}`", *cells])
    whence = f"copies of {given.name} with noise" if given else "clustered"
    about = (
        f"{arguments.rows:,} vectors x {x.shape[1]} ({whence}), k = {K}, one thread; ms, and how many times that of "
    )
    about += f"{found[0]}. Medians of {runs[0]} runs, of {runs[1]} for batches of {QUERIES}."
    header = ["store"]
    for level in found:
        for what in ("one query", f"batch of {QUERIES}"):
            header += [f"{level}, {what}", *(["times"] if level != found[0] else [])]
    return f"{about}\n\n{table(header, rows)}\n\n{machine()}"


def ways(store: vecstore.Store, asked: Floats) -> dict[str, Callable[[], object]]:
    """Return searches of a store by each instruction set, for one item of `asked` after the other."""
    return {level: partial(_search, store, cycle(asked), level) for level in levels()[1:]}


def same_rows(store: vecstore.Store, queries: Floats) -> None:
    """Raise `VecstoreError` unless every instruction set finds the same rows."""
    found = {level: search().rows for level, search in ways(store, queries[None]).items()}  # type: ignore[attr-defined]
    expected = found[levels()[-1]]
    for level, rows in found.items():
        if (rows != expected).any():
            raise VecstoreError(f"{level} and {levels()[-1]} find other rows: report this")


def _search(store: vecstore.Store, asked: cycle[Floats], level: str) -> vecstore.SearchResult:
    os.environ["VECSTORE_SIMD"] = level
    best_level.cache_clear()
    try:
        return store.search(next(asked), K)
    finally:
        del os.environ["VECSTORE_SIMD"]
        best_level.cache_clear()


def _cells(taken: dict[str, float], level: str, best: str) -> list[str]:
    cells = [f"{taken[level] * 1e3:.2f}"]
    return cells if level == best else [*cells, f"{taken[level] / taken[best]:.1f}"]


if __name__ == "__main__":
    main()
