"""Measure searches of token vectors beside other libraries: bytes a row, agreement with exact MaxSim, and time.

maxsim-cpu scores float32 vectors of all rows; it is measured where it installs.
Vectors and counts are ``.npy`` files, as for ``bench.scripts.tokens``; times are of one thread's processor::

    python -m vecstore.bench.scripts.token_peers docs.npy docs_counts.npy queries.npy queries_counts.npy
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.token_vectors import PEERS, TokenPeer
from vecstore.bench.scripts.tokens import BEST, ranks

import vecstore

__all__ = ["main"]

Floats = NDArray[np.float32]


def own_store(items: list[Floats], folder: Path, *, codec: str, candidates: int | None) -> TokenPeer:
    """Return a store's field of token vectors; candidates come from the mean of a row's vectors."""
    path = folder / f"{codec}.vecs".replace(":", "-")
    if not path.exists():
        means = np.stack([item.mean(axis=0) for item in items])
        vecstore.write(path, means, codec="tcq:48", fields={"tokens": vecstore.Multi(items, codec=codec)})
    store = vecstore.open(path)

    def search(query: Floats, k: int) -> list[int]:
        return [int(row) for row in store.search(query, k=k, field="tokens", candidates=candidates).rows]

    return TokenPeer(store.info()["fields"][0]["size_bytes"], search)


def main() -> None:
    """Print a line for each search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("docs", "docs_counts", "queries", "queries_counts"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--some-queries", type=int, default=100)
    given = parser.parse_args()
    os.environ["VECSTORE_THREADS"] = "1"
    x, counts = np.load(given.docs).astype(np.float32), np.load(given.docs_counts).astype(np.int64)
    items = np.split(x, np.cumsum(counts)[:-1])
    ends = np.cumsum(np.load(given.queries_counts).astype(np.int64))
    queries = np.split(np.load(given.queries).astype(np.float32), ends[:-1])[: given.some_queries]
    exact = ranks(queries, x, counts)[:, :BEST]
    own: dict[str, Callable[[list[Floats], Path], TokenPeer]] = {}
    for codec in ("tcq:24", "tcq:48"):
        for candidates in (None, 500):
            name = f"vecstore {codec}, {'all rows' if candidates is None else f'{candidates} candidates'}"
            own[name] = partial(own_store, codec=codec, candidates=candidates)
    print("search                              B/row  agreement  ms a query")
    with tempfile.TemporaryDirectory() as folder:
        for name, build in (own | PEERS).items():
            try:
                index = build(items, Path(folder))
            except ImportError as error:
                print(f"{name:34}  {error}")
                continue
            index.search(queries[0], BEST)
            began = time.process_time()
            found = [index.search(query, BEST) for query in queries]
            took = (time.process_time() - began) / len(queries)
            same = np.mean([len(set(a) & set(b)) / BEST for a, b in zip(exact.tolist(), found, strict=True)])
            print(f"{name:34} {index.size_bytes / len(items):7.0f} {same:10.4f} {1000 * took:11.2f}", flush=True)


if __name__ == "__main__":
    main()
