"""Measure what finds candidates for MaxSim: dense vectors, encodings of token vectors (MUVERA), and centroids.

Of each: bytes a row, and how many of the ten best rows of exact MaxSim are among so many candidates. Token vectors and
their counts are ``.npy`` files, as for ``bench.scripts.tokens``::

    python -m vecstore.bench.scripts.candidates docs.npy docs_counts.npy queries.npy queries_counts.npy
        --dense dense.npy dense_queries.npy

Codecs are trained on a third of the rows. Centroids are PLAID's first stage: a row scores, for each vector of the
query, the largest product with the centroids of its tokens.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.tokens import BEST, ranks

import vecstore
from vecstore.codecs.transforms.normalize import unit
from vecstore.fields.dense.encoding import Encoding
from vecstore.fields.multi.agreement import maxsim

__all__ = ["main"]

CANDIDATES = (40, 100, 300, 500)
ENCODINGS = ((20, 5, 16), (20, 3, 16), (40, 5, 16))  # repetitions, simhash, projection
Floats = NDArray[np.float32]


def show(name: str, size_bytes: float, scores: Floats, exact: NDArray[np.int64], began: float) -> None:
    """Print how many of the best rows are among the candidates."""
    took_s = time.process_time() - began
    order = np.argsort(-scores, axis=1, kind="stable")
    shares = [
        np.mean([len(np.intersect1d(a, b[:count])) / BEST for a, b in zip(exact, order, strict=True)])
        for count in CANDIDATES
    ]
    print(f"{name:32} {size_bytes:8.0f}  {'  '.join(f'{share:.3f}' for share in shares)} {took_s:8.1f}", flush=True)


def coded(spec: str, x: Floats) -> tuple[Floats, float]:
    """Return what vectors become by a codec that is trained on a third of them, and the bytes of one."""
    codec = vecstore.codec(spec).fit(x[np.sort(np.random.default_rng(0).permutation(len(x))[: len(x) // 3])])
    return codec.approximate(x), codec.code_bytes


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("docs", "docs_counts", "queries", "queries_counts"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--dense", type=Path, nargs=2)
    parser.add_argument("--codecs", nargs="*", default=["pca:128,sq:8", "pca:256,tcq:128"], help="of encodings")
    given = parser.parse_args()
    x, counts = np.load(given.docs).astype(np.float32), np.load(given.docs_counts).astype(np.int64)
    own = np.load(given.queries_counts).astype(np.int64)
    asked = np.load(given.queries).astype(np.float32)
    queries = np.split(asked, np.cumsum(own)[:-1])
    exact = ranks(queries, x, counts)[:, :BEST]
    print(f"{'':32}    bytes  {'  '.join(f'{count:5}' for count in CANDIDATES)}  seconds")
    if given.dense is not None:
        rows, dense_queries = (np.load(path).astype(np.float32) for path in given.dense)
        for spec in ("f32", "tcq:48", "tcq:24"):
            began = time.process_time()
            decoded, size = coded(spec, rows)
            decoded /= np.linalg.norm(decoded, axis=1, keepdims=True)
            show(f"dense, {spec}", size, dense_queries @ decoded.T, exact, began)
    for repetitions, simhash, projection in ENCODINGS:
        began = time.process_time()
        encoding = Encoding.random(x.shape[1], repetitions=repetitions, simhash=simhash, projection=projection, seed=0)
        rows, encoded = encoding.documents(x, counts), encoding.queries(asked, own)
        name = f"muvera {repetitions} {simhash} {projection}"
        show(name, rows.shape[1] * 4, encoded @ rows.T, exact, began)
        for spec in given.codecs if (repetitions, simhash, projection) == ENCODINGS[0] else ():
            began = time.process_time()
            decoded, size = coded(spec, rows)
            show(f"{name}, {spec}", size, encoded @ decoded.T, exact, began)
    for centroids in (256, 1024, 4096):
        began = time.process_time()
        found, size = of_centroids(x, counts, centroids)
        scores = np.stack([maxsim(query, found, counts) for query in queries])
        show(f"centroids of tokens, {centroids}", size, scores, exact, began)


def of_centroids(x: Floats, counts: NDArray[np.int64], count: int) -> tuple[Floats, float]:
    """Return the direction of each token's centroid, and the bytes that their numbers take in a row."""
    sample = x[np.random.default_rng(0).permutation(len(x))[: 1 << 16]]
    partition = vecstore.codec(f"cells:{count},sq:8").fit(sample, rows=len(x)).partition
    assert partition is not None
    return unit(partition.centroids)[partition.assign(x)], partition.cell_bytes * len(x) / len(counts)


if __name__ == "__main__":
    main()
