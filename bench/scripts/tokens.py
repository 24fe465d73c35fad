"""Measure codecs of token vectors against each other, and against ColBERTv2's residual codec.

Of each: bytes a vector, a row and a passage of 125 vectors, how many of the ten best rows are those of exact MaxSim,
and the mean reciprocal rank of the relevant row. A third of the rows, drawn at random, trains; the others are searched,
by the queries whose relevant row is among them. Vectors have length one, also decoded. They and their counts are
``.npy`` files::

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
PASSAGE, TRAINING = 125, 1 << 16  # vectors
SPECS = (
    *(
        "sq:8",
        "tcq:48",
        "sq:4",
        "tcq:32",
        "opq:32",
        "pq:32",
        "tcq:24",
        "opq:24",
        "rotate,bin",
        "colbert:2",
        "colbert:1",
    ),
    *("tcq:48+pool:2", "tcq:24+pool:2", "colbert:2+pool:2"),
)
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
    codec = vecstore.codec(spec).fit(training, rows=len(x))
    return unit(codec.approximate(x)), counts, codec.cell_bytes + codec.code_bytes


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
    training, x, counts, base = split(x, counts)
    if relevant is not None:
        there = np.isin(relevant, base)
        queries = [query for query, is_there in zip(queries, there, strict=True) if is_there]
        relevant = np.searchsorted(base, relevant[there])
    print(f"{len(training):,} vectors to train; {len(counts):,} rows, {len(x):,} vectors, {len(queries)} queries")
    exact = ranks(queries, x, counts)
    print("codec              bytes   a row  125 vectors  agreement    MRR@10    seconds to code")
    for spec in ("f32", *given.codecs):
        began = time.perf_counter()
        decoded, own, size = (x, counts, 4.0 * x.shape[1]) if spec == "f32" else approximate(spec, x, counts, training)
        took_s, found = time.perf_counter() - began, ranks(queries, decoded, own)
        same = np.mean(
            [len(np.intersect1d(a[:BEST], b[:BEST])) / BEST for a, b in zip(exact, found, strict=True)],
        )
        mrr = "" if relevant is None else f"{reciprocal(found, relevant):9.4f}"
        left = -(-PASSAGE // int(spec.partition("+pool:")[2] or 1))
        told = f"{spec:17} {size:6.1f} {size * own.mean():7.0f} {size * left:12.0f}"
        print(f"{told}  {same:9.4f} {mrr} {took_s:12.1f}", flush=True)


def split(x: Floats, counts: NDArray[np.int64]) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return vectors that train, vectors and counts of the other rows, and which rows these are."""
    rng = np.random.default_rng(0)
    order, items = rng.permutation(len(counts)), np.split(x, np.cumsum(counts)[:-1])
    train, base = order[: len(order) // 3], np.sort(order[len(order) // 3 :])
    training = np.concatenate([items[row] for row in train])
    return (
        training[rng.permutation(len(training))[:TRAINING]],
        np.concatenate([items[i] for i in base]),
        counts[base],
        base,
    )


def reciprocal(found: NDArray[np.int64], relevant: NDArray[np.int64]) -> float:
    """Return the mean reciprocal rank of the relevant rows, 0 beyond the tenth."""
    places = np.argmax(found == relevant[:, None], axis=1)
    return float(np.mean(np.where(places < BEST, 1 / (places + 1), 0)))


if __name__ == "__main__":
    main()
