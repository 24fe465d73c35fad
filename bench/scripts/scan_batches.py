"""Batches of queries over plain numbers, beside the same queries one by one and numpy's product of float32 in RAM.

``python -m vecstore.bench.scripts.scan_batches --vectors docs_f16.npy``.

Everything takes turns in one process. A batch's time a query is shown as a part of a single query's: above 1, batches
were a trap.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan import QUERIES, TRAIN_ROWS, clustered, in_turns, repeated, threads
from vecstore.bench.scripts.scan_peers import K
from vecstore.bench.timing import add_page, machine, show, table

import vecstore

Floats: TypeAlias = NDArray[np.float32]

CODECS = ("sq:8", "sq:6", "sq:4", "f16", "bf16", "f32")
SIZES = (2, 4, 8, 16, 33, QUERIES)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.scan_batches", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=Path, metavar="NPY", help="repeat these, with noise; else clustered ones")
    parser.add_argument("--codecs", nargs="+", default=CODECS)
    parser.add_argument("--runs", type=int, default=5)
    add_page(parser)
    arguments = parser.parse_args()
    show(run(arguments), "scan-batches", page=arguments.write)


def run(arguments: argparse.Namespace) -> str:
    """Return the table as Markdown."""
    given = arguments.vectors
    x, queries = repeated(given, arguments.rows) if given else clustered(arguments.rows, 384)
    sample = x[np.sort(np.random.default_rng(1).permutation(len(x))[: TRAIN_ROWS[0]])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for i, codec in enumerate(arguments.codecs):
            path = Path(folder) / f"{i}.vecs"
            vecstore.write(path, x, None, vecstore.codec(codec).fit(sample, seed=0))
            rows.append(measured(path, codec, x, queries, arguments.runs))
            path.unlink()
    whence = f"copies of {given.name} with noise" if given else "clustered"
    about = f"{len(x):,} vectors x {x.shape[1]} ({whence}), k = {K}, medians of {arguments.runs} runs. "
    about += "A batch's time a query is given as a part of a single query's, in one thread."
    batch = f"batch of {QUERIES}"
    header = ["store", "one query, ms", *(f"{size} queries" for size in SIZES), f"{batch}, ms", "of numpy's product"]
    return "\n\n".join([about, table([*header, "2 threads, ms", "speed-up"], rows), machine()])


def measured(path: Path, codec: str, x: Floats, queries: Floats, runs: int) -> list[str]:
    """Return a row of the table."""
    with vecstore.open(path) as store:
        following = cycle(queries)
        functions: dict[str, Callable[[], object]] = {"one": lambda: store.search(next(following), K)}
        functions |= {str(size): partial(store.search, queries[:size], K) for size in SIZES}
        with threads(1):
            one = in_turns(functions | {"numpy": lambda: queries @ x.T}, runs)
        with threads(2):
            two = in_turns({"many": partial(store.search, queries, K)}, runs)["many"]
    many = one[str(QUERIES)]
    shares = (f"{one[str(size)] / size / one['one']:.2f}" for size in SIZES)
    ends = [f"{many * 1e3:.0f}", f"{many / one['numpy']:.2f}", f"{two * 1e3:.0f}", f"{many / two:.2f}"]
    return [f"`{codec}`", f"{one['one'] * 1e3:.1f}", *shares, *ends]


if __name__ == "__main__":
    main()
