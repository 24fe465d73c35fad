"""Measure searches of sparse terms: bytes an entry, agreement with exact scores, reciprocal rank and time.

Rows and queries are matrices that ``scipy.sparse.save_npz`` wrote; peers are measured where they install::

    python -m vecstore.bench.scripts.sparse docs.npz queries.npz --relevant rows.npy --rows 131072

With ``--rows`` the rows are repeated until there are so many, and a fifth of the entries of each copy left out.
Times are of one thread's processor, in the same run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.peers.sparse_terms import PEERS, SparsePeer

import vecstore

__all__ = ["main"]

BEST = 10
KEPT = 0.8  # of the entries of a copy


def own_index(x: Any, folder: Path, *, bits: int) -> SparsePeer:
    """Return a store's sparse field."""
    path = folder / f"{bits}.vecs"
    field = vecstore.Sparse(x, weight_bits=bits)
    vecstore.write(path, np.ones((x.shape[0], 1), np.float32), codec="f16", fields={"terms": field})
    store = vecstore.open(path)

    def search(terms: Any, weights: Any, k: int) -> list[int]:
        asked = dict(zip(terms.tolist(), weights.tolist(), strict=True))
        return [int(row) for row in store.search({"terms": asked}, k=k).rows]

    return SparsePeer(store.info()["fields"][0]["size_bytes"], search)


def repeated(x: Any, rows: int) -> Any:
    """Return a matrix of so many rows: copies of those there are, each without a fifth of its entries."""
    sparse = import_module("scipy.sparse")
    rng, parts, done = np.random.default_rng(0), [x], x.shape[0]
    while done < rows:
        copy = x[: rows - done].copy()
        copy.data *= rng.random(len(copy.data)) < KEPT
        copy.eliminate_zeros()
        parts.append(copy)
        done += copy.shape[0]
    return sparse.vstack(parts, format="csr")[:rows]


def reciprocal(found: list[list[int]], relevant: list[int]) -> float:
    """Return the mean reciprocal rank of the relevant rows, 0 where they were not found."""
    ranks = [rows.index(row) + 1 if row in rows else np.inf for rows, row in zip(found, relevant, strict=True)]
    return float(np.mean([1 / rank for rank in ranks]))


def main() -> None:
    """Print a line for each index."""
    sparse = import_module("scipy.sparse")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("docs", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--relevant", type=Path)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--some-queries", type=int, default=500)
    given = parser.parse_args()
    os.environ["VECSTORE_THREADS"] = "1"
    x, queries = (sparse.load_npz(path).tocsr().astype(np.float32) for path in (given.docs, given.queries))
    x.sort_indices()
    x = repeated(x, given.rows) if given.rows else x
    queries = queries[: given.some_queries]
    each = [(row.indices, row.data) for row in queries]
    relevant = None if given.relevant is None else np.load(given.relevant)[: len(each)]
    own: dict[str, Callable[[Any, Path], SparsePeer]] = {
        f"vecstore, {bits} bits": partial(own_index, bits=bits) for bits in (8, 4, 0)
    }
    exact: list[list[int]] = []
    print(f"{x.shape[0]:,} rows, {x.nnz:,} entries")
    print("index                     B/entry  agreement  MRR@10  ms a query  build s")
    with tempfile.TemporaryDirectory() as folder:
        for name, build in (PEERS | own).items():
            began = time.process_time()
            try:
                index = build(x, Path(folder))
            except ImportError as error:
                print(f"{name:24}  {error}")
                continue
            built, began = time.process_time() - began, time.process_time()
            found = [index.search(terms, weights, BEST) for terms, weights in each]
            took = (time.process_time() - began) / len(each)
            exact = exact or found  # scipy's, which comes first
            same = np.mean([len(set(a) & set(b)) / BEST for a, b in zip(exact, found, strict=True)])
            mrr = "" if relevant is None else f"{reciprocal(found, relevant.tolist()):.4f}"
            size = index.size_bytes / x.nnz
            print(f"{name:24} {size:8.2f} {same:10.4f}  {mrr:6} {1000 * took:11.2f} {built:8.1f}", flush=True)


if __name__ == "__main__":
    main()
