"""Measure codecs of token vectors against each other, and against ColBERTv2's residual codec.

Of each: bytes a vector and a row, how many of the ten best rows are those of exact MaxSim, and the mean reciprocal rank
of the relevant row. Vectors have length one, also decoded. They and their counts are ``.npy`` files::

    python -m vecstore.bench.scripts.tokens docs.npy docs_counts.npy queries.npy queries_counts.npy --relevant rows.npy
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.residual_codec import ResidualCodec

import vecstore
from vecstore.codecs.transforms.normalize import unit
from vecstore.fields.multi.agreement import maxsim
from vecstore.fields.multi.pooling import pooled

__all__ = ["main", "ranks"]

BEST = 10
SPECS = ("tcq:24", "tcq:32", "tcq:48", "sq:8", "opq:32", "rotate,bin", "colbert:2", "colbert:1", "tcq:24+pool:2")
Floats = NDArray[np.float32]


def ranks(queries: list[Floats], x: Floats, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all rows for each query, best first: (q, n)."""
    return np.stack([np.argsort(-maxsim(query, x, counts), kind="stable") for query in queries])


def approximate(
    spec: str, x: Floats, counts: NDArray[np.int64], training: Floats
) -> tuple[Floats, NDArray[np.int64], float]:
    """Return what vectors become, how many each row has then, and the bytes of one."""
    spec, _, pool = spec.partition("+pool:")
    x, counts = pooled(x, counts, int(pool or 1))
    if spec.startswith("colbert:"):
        peer = ResidualCodec(training, len(x), bits=int(spec.removeprefix("colbert:")))
        return peer.approximate(x), counts, peer.code_bytes
    codec = vecstore.codec(spec).fit(training)
    return unit(codec.approximate(x)), counts, codec.code_bytes


def main() -> None:
    """Print a line for each codec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("docs", "docs_counts", "queries", "queries_counts"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--relevant", type=Path)
    parser.add_argument("--codecs", nargs="*", default=SPECS)
    given = parser.parse_args()
    x, counts = np.load(given.docs).astype(np.float32), np.load(given.docs_counts).astype(np.int64)
    ends = np.cumsum(np.load(given.queries_counts).astype(np.int64))
    queries = np.split(np.load(given.queries).astype(np.float32), ends[:-1])
    relevant = None if given.relevant is None else np.load(given.relevant)
    training = x[np.random.default_rng(0).permutation(len(x))[: 1 << 16]]
    exact = ranks(queries, x, counts)
    print("codec            bytes   a row  agreement    MRR@10    seconds to code")
    for spec in ("f32", *given.codecs):
        began = time.perf_counter()
        decoded, own, size = (x, counts, 4.0 * x.shape[1]) if spec == "f32" else approximate(spec, x, counts, training)
        took_s, found = time.perf_counter() - began, ranks(queries, decoded, own)
        same = np.mean(
            [len(np.intersect1d(a[:BEST], b[:BEST])) / BEST for a, b in zip(exact, found, strict=True)],
        )
        mrr = "" if relevant is None else f"{reciprocal(found, relevant):9.4f}"
        print(f"{spec:15} {size:6.1f} {size * own.mean():7.0f}  {same:9.4f} {mrr} {took_s:12.1f}", flush=True)


def reciprocal(found: NDArray[np.int64], relevant: NDArray[np.int64]) -> float:
    """Return the mean reciprocal rank of the relevant rows, 0 beyond the tenth."""
    places = np.argmax(found == relevant[:, None], axis=1)
    return float(np.mean(np.where(places < BEST, 1 / (places + 1), 0)))


if __name__ == "__main__":
    main()
