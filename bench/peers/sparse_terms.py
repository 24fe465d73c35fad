"""Other libraries' searches of sparse terms: scipy, Seismic and BMP.

Seismic: Bruch and others, Efficient inverted indexes for approximate retrieval over learned sparse representations,
2024 (``pip install pyseismic-lsr``). BMP: Mallia, Suel and Tonellotto, Faster learned sparse retrieval with block-max
pruning, 2024 (``pip install bmp``).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PEERS", "SparsePeer"]

IMPACTS = 255  # of BMP: weights become whole numbers up to this


class SparsePeer(NamedTuple):
    """An index that was built: its bytes, and the best k rows for terms and weights of a query."""

    size_bytes: int
    search: Callable[[NDArray[Any], NDArray[Any], int], list[int]]


def with_scipy(x: Any, folder: Path) -> SparsePeer:
    """Return the product of a CSR matrix (n, terms) with a query."""
    query = np.zeros(x.shape[1], np.float32)

    def search(terms: NDArray[Any], weights: NDArray[Any], k: int) -> list[int]:
        query[terms] = weights
        scores = x @ query
        query[terms] = 0
        best = np.argpartition(-scores, k)[:k]
        return [int(row) for row in best[np.argsort(-scores[best], kind="stable")]]

    return SparsePeer(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes, search)


def seismic(x: Any, folder: Path, *, query_cut: int, heap_factor: float) -> SparsePeer:
    """Return an index of Seismic that looks at so many terms of a query, and into lists that may hold this share."""
    library = import_module("seismic")
    text, given = library.get_seismic_string(), library.SeismicDataset()
    for row in range(x.shape[0]):
        own = slice(x.indptr[row], x.indptr[row + 1])
        given.add_document(str(row), x.indices[own].astype(str).astype(text), x.data[own].astype(np.float32))
    index = library.SeismicIndex.build_from_dataset(given, num_threads=1)
    index.save(str(folder / "seismic"))

    def search(terms: NDArray[Any], weights: NDArray[Any], k: int) -> list[int]:
        asked = terms.astype(str).astype(text), weights.astype(np.float32)
        found = index.search("", *asked, k=k, query_cut=query_cut, heap_factor=heap_factor)
        return [int(document) for _, _, document in found]

    return SparsePeer((folder / "seismic.index.seismic").stat().st_size, search)


def bmp(x: Any, folder: Path, *, block_rows: int) -> SparsePeer:
    """Return an index of BMP, with weights as whole numbers up to 255; it leaves out no row that counts."""
    library = import_module("bmp")
    path, step = str(folder / f"index-{block_rows}.bmp"), float(x.data.max()) / IMPACTS
    impacts = np.maximum(np.rint(x.data / step), 1).astype(np.int64)
    index = library.Indexer(path, block_rows, True)
    for row in range(x.shape[0]):
        own = slice(x.indptr[row], x.indptr[row + 1])
        index.add_document(str(row), dict(zip(x.indices[own].astype(str).tolist(), impacts[own].tolist(), strict=True)))
    index.finish()
    searcher = library.Searcher(path)

    def search(terms: NDArray[Any], weights: NDArray[Any], k: int) -> list[int]:
        scaled = np.maximum(np.rint(weights / step), 1).astype(np.int64).tolist()
        found, _ = searcher.search(dict(zip(terms.astype(str).tolist(), scaled, strict=True)), k, 1.0, 1.0)
        return [int(document) for document in found]

    return SparsePeer(Path(path).stat().st_size, search)


PEERS: dict[str, Callable[[Any, Path], SparsePeer]] = {
    "scipy, float32": with_scipy,
    "seismic, cut 10, heap .7": lambda x, folder: seismic(x, folder, query_cut=10, heap_factor=0.7),
    "seismic, cut 20, heap .9": lambda x, folder: seismic(x, folder, query_cut=20, heap_factor=0.9),
    "bmp, blocks of 64": lambda x, folder: bmp(x, folder, block_rows=64),
    "bmp, blocks of 16": lambda x, folder: bmp(x, folder, block_rows=16),
}
