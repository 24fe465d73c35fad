"""What else finds the nearest rows by looking at all: each peer takes the rows once, then batches of queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import require

__all__ = ["PEERS", "Built", "K", "Peer", "faiss_pq", "flat"]

K = 10
Floats: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = NDArray[np.int64]


class Search(Protocol):
    """Queries (q, d) of length one -> the K nearest rows (q, K)."""

    def __call__(self, queries: Floats, threads: int) -> Rows: ...


@dataclass(frozen=True)
class Built:
    """A peer that holds the rows.

    Attributes
    ----------
    search : Search
        What of the peer takes no number of threads is held to it by `scan.threads`.
    row_bytes : int
        What it keeps of a row.
    """

    search: Search
    row_bytes: int


@dataclass(frozen=True)
class Peer:
    """One way to search.

    Attributes
    ----------
    name, package : str
        `package` is what pip calls it.
    rivals : tuple of str
        Codecs of the stores that it is compared with.
    build : callable
        Rows (n, d) of length one, rows of them to train on -> Built. Raises `MissingExtraError` where the peer is
        not installed.
    batch : int
        How many queries a timed batch has; the slow take fewer.
    """

    name: str
    package: str
    rivals: tuple[str, ...]
    build: Callable[[Floats, Floats], Built]
    batch: int = 64


def flat(x: Floats, sample: Floats) -> Built:
    """Return an IndexFlatIP over x."""
    return _trained(_faiss().IndexFlatIP(x.shape[1]), x, sample)


def faiss_pq(x: Floats, sample: Floats, metric: str = "INNER_PRODUCT") -> Built:
    """Return an IndexPQFastScan of 96 groups, 4 bits each; `metric` is INNER_PRODUCT or L2."""
    faiss = _faiss()
    return _trained(faiss.IndexPQFastScan(x.shape[1], 96, 4, getattr(faiss, f"METRIC_{metric}")), x, sample)


def _pq(x: Floats, sample: Floats) -> Built:
    faiss = _faiss()
    index = faiss.IndexPQ(x.shape[1], 48, 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # else it complains of a quick run's sample, for each group
    return _trained(index, x, sample)


def _scalar(x: Floats, sample: Floats) -> Built:
    faiss = _faiss()
    kind = faiss.ScalarQuantizer.QT_8bit
    return _trained(faiss.IndexScalarQuantizer(x.shape[1], kind, faiss.METRIC_INNER_PRODUCT), x, sample)


def _rabitq(x: Floats, sample: Floats) -> Built:
    faiss = _faiss()
    return _trained(faiss.IndexRaBitQFastScan(x.shape[1], faiss.METRIC_INNER_PRODUCT), x, sample)


def _binary(x: Floats, sample: Floats) -> Built:
    index = _faiss().IndexBinaryFlat(x.shape[1])
    index.add(_signs(x))
    return Built(lambda queries, threads: index.search(_signs(queries), K)[1], x.shape[1] // 8)


def _usearch_signs(x: Floats, sample: Floats) -> Built:
    usearch = _usearch()
    codes = _signs(x)
    kinds = {"metric": usearch.MetricKind.Hamming, "dtype": usearch.ScalarKind.B1}

    def search(queries: Floats, threads: int) -> Rows:
        found = usearch.search(codes, _signs(queries), K, exact=True, threads=threads, **kinds)
        return np.asarray(found.keys).astype(np.int64).reshape(-1, K)

    return Built(search, codes.shape[1])


def _usearch_bytes(x: Floats, sample: Floats) -> Built:
    usearch = _usearch()
    scale = 127 / max(float(np.abs(sample).max()), 1e-9)
    codes = _bytes(x, scale)
    kinds = {"metric": usearch.MetricKind.IP, "dtype": usearch.ScalarKind.I8}

    def search(queries: Floats, threads: int) -> Rows:
        found = usearch.search(codes, _bytes(queries, scale), K, exact=True, threads=threads, **kinds)
        return np.asarray(found.keys).astype(np.int64).reshape(-1, K)

    return Built(search, codes.shape[1])


def _matmul(x: Floats, sample: Floats) -> Built:
    def search(queries: Floats, threads: int) -> Rows:
        scores = queries @ x.T
        return np.argpartition(scores, -K, axis=1)[:, -K:]

    return Built(search, 4 * x.shape[1])


def _trained(index: Any, x: Floats, sample: Floats) -> Built:
    index.train(sample)
    index.add(x)
    return Built(lambda queries, threads: index.search(queries, K)[1], index.sa_code_size())


def _signs(x: Floats) -> NDArray[np.uint8]:
    return np.packbits(x > 0, axis=1)


def _bytes(x: Floats, scale: float) -> NDArray[np.int8]:
    codes = np.empty(x.shape, np.int8)
    for start in range(0, len(x), 10_000):  # in pieces, for the sake of memory
        codes[start : start + 10_000] = np.clip(np.rint(x[start : start + 10_000] * scale), -127, 127)
    return codes


def _faiss() -> Any:
    return require("faiss", purpose="measuring faiss")


def _usearch() -> Any:
    return require("usearch.index", purpose="measuring usearch")


PEERS = (
    Peer("faiss IndexBinaryFlat", "faiss-cpu", ("bin",), _binary),
    Peer("faiss IndexRaBitQFastScan", "faiss-cpu", ("bin",), _rabitq),
    Peer("usearch exact, b1", "usearch", ("bin",), _usearch_signs),
    Peer("faiss IndexPQFastScan 96x4", "faiss-cpu", ("pq:96x4",), faiss_pq),
    Peer("faiss IndexPQ 48x8", "faiss-cpu", ("pq:48",), _pq, batch=16),
    Peer("faiss IndexScalarQuantizer QT_8bit", "faiss-cpu", ("sq:8",), _scalar, batch=16),
    Peer("usearch exact, i8", "usearch", ("sq:8",), _usearch_bytes),
    Peer("faiss IndexFlatIP", "faiss-cpu", ("f16", "f32"), flat),
    Peer("numpy matmul, argpartition", "numpy", ("f16", "f32"), _matmul),
)
