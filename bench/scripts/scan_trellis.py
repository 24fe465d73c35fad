"""Two-stage search on one `tcq` store beside its full scan and faiss.

``python -m vecstore.bench.scripts.scan_trellis``.

Everything takes turns in one process and one thread, one query at a time and all together. Recall@10 is of exact
float32 search; every index is trained on the same rows, which are a part of those searched, and queries are held out.
Bytes are those stored for a row.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan import QUERIES, clustered, in_turns, repeated, threads
from vecstore.bench.scripts.scan_peers import K
from vecstore.bench.timing import add_page, machine, show, table

import vecstore
from vecstore.codecs.evaluation import overlap
from vecstore.codecs.kmeans import matrix_products
from vecstore.errors import MissingExtraError, require

Floats: TypeAlias = NDArray[np.float32]
Search: TypeAlias = Callable[[Floats], NDArray[np.int64]]

TRAIN_ROWS = 10_000
SCANNED = (16,)  # bytes that faiss scans by 4-bit codes, where the rest is for refinement
BATCHES = 3  # runs
OPQ_ROUNDS = 10
ASKED = 1000  # queries that recall is measured with: one neighbour more or less is a ten thousandth of it
FULL = "all bytes"
RECALLS = (0.998, 0.99, 0.98, 0.95, 0.8, 0.6, 0.3)
FACTORS = (4, 16, 64)  # rows refined for each one wanted


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.scan_trellis", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=Path, metavar="NPY", help="repeat these, with noise; else clustered ones")
    parser.add_argument("--codec", default="tcq:64", help="of the store, one tcq layer")
    parser.add_argument("--runs", type=int, default=101, help="of single queries, the next one at each run")
    add_page(parser)
    arguments = parser.parse_args()
    text = run(arguments)
    show(text, "scan-trellis", page=arguments.write)


def run(arguments: argparse.Namespace) -> str:
    """Return the tables as Markdown."""
    given = arguments.vectors
    x, queries = repeated(given, arguments.rows, ASKED) if given else clustered(arguments.rows, 384, ASKED)
    sample = x[np.sort(np.random.default_rng(1).permutation(len(x))[:TRAIN_ROWS])]
    wanted = nearest(x, queries)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.vecs"
        vecstore.write(path, x, None, arguments.codec)
        with vecstore.open(path) as store:
            size = store.info()["bytes"]["code"][0]
            ways = {name: (size, search) for name, search in ours(store, size).items()}
            note = ""
            try:
                ways |= faiss_ways(x, sample, size)
            except MissingExtraError as error:
                note = f"\n\nNot measured: faiss; {error}."
            del x
            text = side_by_side(ways, queries, wanted, arguments.runs)
            lookup = single_lookup(store)
    whence = f"copies of {given.name} with noise" if given else "clustered"
    about = f"{arguments.rows:,} vectors x {queries.shape[1]} ({whence}), k = {K}, `{arguments.codec}`; medians of "
    about += (
        f"{arguments.runs} runs, one query at a time, the next one at each run; recall is of {len(queries):,} queries. "
    )
    about += f"A single lookup takes {lookup:.0f} us. "
    about += f"faiss's OPQ is trained in {OPQ_ROUNDS} rounds."
    return f"{about}\n\n{text}{note}\n\n{machine()}"


def ours(store: vecstore.Store, size: int) -> dict[str, Search]:
    """Return the searches of a store: of all bytes where they lie, and of the first ones."""
    prefixes = store.info()["certificate"].get("prefixes") or {"swept": {}}
    options: dict[str, dict[str, Any]] = {FULL: {}}
    for share in RECALLS:
        options[f"`recall={share}`, scans {prefixes['swept'].get(str(share), size)} bytes"] = {"recall": share}

    def search(queries: Floats, given: dict[str, Any]) -> NDArray[np.int64]:
        return np.asarray(store.search(queries, K, **given).rows)

    return {name: partial(search, given=given) for name, given in options.items()}


def faiss_ways(x: Floats, sample: Floats, size: int) -> dict[str, tuple[int, Search]]:
    """Return faiss's searches at so many stored bytes: OPQ and 4-bit fast scan, alone and refined by a second code."""
    faiss = require("faiss", purpose="measuring faiss")
    d = x.shape[1]
    ways: dict[str, tuple[int, Search]] = {}
    alone = faiss.index_factory(d, f"OPQ{2 * size}_{d},PQ{2 * size}x4fs", faiss.METRIC_INNER_PRODUCT)
    _train(alone, sample)
    alone.add(x)
    ways[f"faiss OPQ{2 * size},PQ{2 * size}x4fs"] = size, lambda queries: np.asarray(alone.search(queries, K)[1])
    for scanned in (scanned for scanned in SCANNED if scanned < size):
        m, rest = 2 * scanned, size - scanned
        factory = f"OPQ{m}_{d},PQ{m}x4fs,Refine(OPQ{rest}_{d},PQ{rest}x8)"
        index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)
        for part in (index.base_index, index.refine_index):
            _train(faiss.downcast_index(part), sample)
        index.is_trained = True
        index.add(x)
        for factor in FACTORS:
            ways[f"faiss {factory}, k_factor {factor}"] = size, partial(_refined, index, factor)
    return ways


def _train(index: Any, sample: Floats) -> None:
    """Train an OPQ index in fewer rounds than the 50 by default, which take minutes and change little."""
    faiss = require("faiss", purpose="measuring faiss")
    faiss.downcast_VectorTransform(index.chain.at(0)).niter = OPQ_ROUNDS
    with matrix_products(faiss):
        index.train(sample)


def _refined(index: Any, factor: int, queries: Floats) -> NDArray[np.int64]:
    index.k_factor = float(factor)
    return np.asarray(index.search(queries, K)[1])


def side_by_side(ways: dict[str, tuple[int, Search]], queries: Floats, wanted: NDArray[np.int64], runs: int) -> str:
    """Return a table of bytes, recall and time."""
    singles = [queries[i : i + 1] for i in range(len(queries))]
    recalls = {
        name: overlap(np.concatenate([search(q) for q in singles]), wanted) for name, (_, search) in ways.items()
    }
    functions: dict[str, Callable[[], object]] = {}
    for name, (_, search) in ways.items():
        turns = cycle(singles)
        functions[name] = lambda search=search, turns=turns: search(next(turns))  # type: ignore[misc]
    batch_of = queries[:QUERIES]
    together = {name: partial(search, batch_of) for name, (_, search) in ways.items()}
    with threads(1):
        one, batch = in_turns(functions, runs), in_turns(together, BATCHES)
    rows = []
    for name, (size, _) in ways.items():
        cells = [f"{recalls[name]:.4f}", f"{one[name] * 1e3:.2f}", f"{one[name] / one[FULL]:.2f}"]
        rows.append([name, str(size), *cells, f"{batch[name] / len(batch_of) * 1e3:.2f}"])
    header = [
        "search",
        "bytes",
        f"recall@{K}",
        "ms, one thread",
        "of all bytes",
        f"ms a query in batches of {len(batch_of)}",
    ]
    return table(header, rows)


def single_lookup(store: vecstore.Store, count: int = 2000) -> float:
    """Return the median time of reading one vector at random, in microseconds."""
    taken = []
    for row in np.random.default_rng(0).integers(0, len(store), count).tolist():
        start = time.perf_counter()
        store.vectors[row]
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e6


def nearest(x: Floats, queries: Floats, step: int = 50_000) -> NDArray[np.int64]:
    """Return the K nearest rows of each query by exact inner products."""
    best, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(x), step):
        scores = queries @ x[start : start + step].T
        own = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        best = np.hstack([best, np.take_along_axis(scores, own, axis=1)])
        rows = np.hstack([rows, own + start])
    return np.take_along_axis(rows, np.argsort(-best, axis=1)[:, :K], axis=1)


if __name__ == "__main__":
    main()
