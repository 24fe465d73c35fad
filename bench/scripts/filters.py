"""Measure searches with filters, by selectivity, correlation and codec, and beside other libraries.

``python -m vecstore.bench.scripts.filters VECTORS.npy QUERIES.npy`` prints what docs/filters.md shows. A column says
how near each row is to one document, by rank; queries are those nearest to it. So a condition on it selects rows that
are near the queries (correlated), far from them (anticorrelated), or, by a column of random numbers, any rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import require
from vecstore.search.where import mask_of

__all__ = ["main"]

SHARES = (0.5, 0.2, 0.04, 0.01, 0.001, 0.0001)
CODECS = ("sq:8", "pq:96x4", "tcq:48", "tcq:48/sq:8")
K, QUERIES, ROUNDS = 10, 20, 5
WHERE = {"any": "chance < {}", "near": "near < {}", "far": "near >= {}"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.filters", description=__doc__)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--only", choices=(*CODECS, *PEERS))
    given = parser.parse_args(arguments)
    x, queries = (unit(np.load(path).astype(np.float32)) for path in (given.vectors, given.queries))
    order = np.argsort(-(x @ x[0]), kind="stable")
    near = np.empty(len(x), np.int64)
    near[order] = np.arange(len(x))
    columns = {"near": near, "chance": np.random.default_rng(0).permutation(len(x))}
    queries = queries[np.argsort(-(queries @ x[0]), kind="stable")[:QUERIES]]
    for codec in CODECS:
        if given.only in (None, codec):
            _print(f"{codec}: recall beside an exact search of the same codes, time beside a search without a filter")
            _print("", *_of_codec(x, queries, columns, codec))
    for name, make in PEERS.items():
        if given.only in (None, name):
            _print(f"{name}: recall beside an exact search of float32, ms")
            _print("", *_of_peer(x, queries, columns, make))


def _conditions(rows: int) -> Iterator[tuple[str, float, str]]:
    for how, where in WHERE.items():
        for share in SHARES:
            count = max(round(share * rows), 1)
            yield how, share, where.format(rows - count if how == "far" else count)


def _of_codec(x: Floats, queries: Floats, columns: dict[str, Any], codec: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        vecstore.write(Path(folder) / "a.vecs", x, codec=codec, columns=columns)
        with vecstore.open(Path(folder) / "a.vecs") as store:
            scores = store.scores(queries)
            for how, share, where in _conditions(len(x)):
                filtered = partial(_searched, store, where=where)
                (base_s, _), (elapsed_s, found) = _timed([partial(_searched, store), filtered], queries)
                recall = _recall(found, np.where(mask_of(where, store._snapshot.shards), scores, -np.inf))
                yield f"{how} {share:.2%}: {recall:.3f}, {elapsed_s / base_s:.2f}"


def _searched(store: vecstore.Store, query: Floats, **options: Any) -> Any:
    return store.search(query, K, **options).rows


def _of_peer(x: Floats, queries: Floats, columns: dict[str, Any], make: Callable[..., Any]) -> Iterator[str]:
    exact = queries @ x.T
    with tempfile.TemporaryDirectory() as folder:
        try:
            search = make(x, columns, folder)
        except ImportError as error:
            yield str(error)
            return
        for how, share, where in _conditions(len(x)):
            column, sign, bound = where.split()
            mask = columns[column] < int(bound) if sign == "<" else columns[column] >= int(bound)
            ((elapsed_s, found),) = _timed([partial(search, where=where, mask=mask)], queries)
            yield f"{how} {share:.2%}: {_recall(found, np.where(mask, exact, -np.inf)):.3f}, {1e3 * elapsed_s:.2f}"


def _vecstore(codec: str) -> Callable[..., Any]:
    def make(x: Floats, columns: dict[str, Any], folder: str) -> Callable[..., Any]:
        path = Path(folder) / f"{codec.replace('/', '+')}.vecs"
        vecstore.write(path, x, codec=codec, columns=columns)
        store = vecstore.open(path)
        return lambda query, where, mask: store.search(query, K, where=where).rows

    return make


def _faiss(kind: str) -> Callable[..., Any]:
    def make(x: Floats, columns: dict[str, Any], folder: str) -> Callable[..., Any]:
        faiss = require("faiss", purpose="comparing")
        faiss.omp_set_num_threads(1)
        index = faiss.index_factory(x.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(x)
        index.add(x)
        parameters = faiss.SearchParametersHNSW if kind.startswith("HNSW") else faiss.SearchParameters
        more = {"efSearch": 128} if kind.startswith("HNSW") else {}

        def search(query: Floats, where: str, mask: Any) -> Any:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            return index.search(query[None], K, params=parameters(sel=selector, **more))[1][0]

        return search

    return make


def _lancedb(x: Floats, columns: dict[str, Any], folder: str) -> Callable[..., Any]:
    lancedb, pa = require("lancedb", purpose="comparing"), require("pyarrow", purpose="comparing")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    rows = pa.table({"vector": vectors, "row": np.arange(len(x)), **columns})
    table = lancedb.connect(folder).create_table("rows", rows)
    ivf_pq = lancedb.index.IvfPq(distance_type="dot", num_partitions=128, num_sub_vectors=48)
    table.create_index("vector", config=ivf_pq)
    for column in columns:
        table.create_scalar_index(column)

    def search(query: Floats, where: str, mask: Any) -> Any:
        asked = table.search(query).distance_type("dot").nprobes(32).refine_factor(8)
        return asked.where(where, prefilter=True).select(["row", "_distance"]).limit(K).to_arrow()["row"].to_numpy()

    return search


def _duckdb(x: Floats, columns: dict[str, Any], folder: str) -> Callable[..., Any]:
    duckdb, pa = require("duckdb", purpose="comparing"), require("pyarrow", purpose="comparing")
    connection = duckdb.connect()
    connection.register("own", pa.table({"row": np.arange(len(x)), **columns}))
    connection.execute("create table rows as select * from own")
    connection.execute("set threads = 1")

    def search(query: Floats, where: str, mask: Any) -> Any:
        rows = connection.execute(f"select row from rows where {where}").fetchnumpy()["row"]
        scores = x[rows] @ query
        best = np.argpartition(-scores, min(K, len(rows)) - 1)[:K]
        return rows[best]

    return search


PEERS: dict[str, Callable[..., Any]] = {
    "vecstore sq:8": _vecstore("sq:8"),
    "vecstore tcq:48/sq:8": _vecstore("tcq:48/sq:8"),
    "faiss SQ8, IDSelector": _faiss("SQ8"),
    "faiss HNSW32, ef 128": _faiss("HNSW32"),
    "LanceDB IVF_PQ, refined": _lancedb,
    "DuckDB + numpy, float32": _duckdb,
}


def _timed(searches: Sequence[Callable[[Any], Any]], queries: Floats) -> list[tuple[float, list[Any]]]:
    """Return the least mean time of a query, in seconds, and what was found, of searches that take turns."""
    found = [[np.array(search(query)) for query in queries] for search in searches]  # and makes ready
    rounds: list[list[float]] = [[] for _ in searches]
    for _ in range(ROUNDS):
        for search, own in zip(searches, rounds, strict=True):
            start = time.perf_counter()
            for query in queries:
                search(query)
            own.append((time.perf_counter() - start) / len(queries))
    return list(zip(map(min, rounds), found, strict=True))


def _recall(found: Sequence[Any], scores: Floats) -> float:
    """Return which share of the best rows was found; of equal scores any will do."""
    shares = []
    for rows, own in zip(found, scores, strict=True):
        wanted = min(K, int(np.isfinite(own).sum()))
        least = np.sort(own)[-wanted] - 1e-6
        kept = {int(row) for row in rows if row >= 0}
        shares.append(sum(bool(own[row] >= least) for row in kept) / wanted)
    return float(np.mean(shares))


def _print(*texts: str) -> None:
    print(*texts, sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
