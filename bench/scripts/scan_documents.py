"""Search of real documents with real queries: what is found, how fast, and how much is read for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan_peers import K, faiss_pq, flat
from vecstore.bench.timing import medians, table
from vecstore.formats.npy import read_npy

import vecstore
from vecstore.codecs.evaluation import overlap
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import MissingExtraError
from vecstore.shard.shard import Shard

__all__ = ["Documents"]

Floats: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = NDArray[np.int64]

FLAT = "faiss IndexFlatIP"


@dataclass(frozen=True)
class Way:
    """A way to search the documents: a store, and the options of its search."""

    codec: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        said = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"`{self.codec}`" + (f", {said}" if said else "")


WAYS = (
    Way("f32"),
    Way("f16"),
    Way("sq:8"),
    Way("bin/sq:8"),
    Way("bin/sq:8", (("recall", 0.98),)),
    Way("sq:8/f32", (("exact", True),)),
    Way("bin/f32", (("exact", True),)),
)


class Documents:
    """Documents without duplicates, queries, and the nearest ten by exact cosine.

    Parameters
    ----------
    vectors, queries : path
        Of .npy files.
    scratch : path
        Of a folder for stores.
    quick : bool
        Ask fewer queries, fewer times.
    train_rows : int
        For 4-bit PQ.
    limit : callable
        Gives a context in which so many threads are used.
    """

    def __init__(
        self,
        vectors: Path,
        queries: Path,
        scratch: Path,
        *,
        quick: bool,
        train_rows: int,
        limit: Callable[[int], AbstractContextManager[int]],
    ) -> None:
        given = read_npy(vectors)
        first = np.sort(np.unique(given, axis=0, return_index=True)[1])
        self._x = unit(given[first].astype(np.float32))
        self._queries = unit(read_npy(queries).astype(np.float32))[: 100 if quick else None]
        self._scratch, self._runs, self._train_rows, self._limit = scratch, 5 if quick else 51, train_rows, limit
        self._wanted = np.concatenate([_nearest(self._x, part) for part in _parts(self._queries)])

    def tables(self, title: str) -> list[str]:
        """Return the tables."""
        shape = f"{len(self._x):,} documents x {self._x.shape[1]}, {len(self._queries):,} queries"
        note = f"{title or 'Documents'}: {shape}; recall@{K} is of exact float32 search."
        return [note, self._by_ways(), self._by_tables()]

    def _by_ways(self) -> str:
        """Return a table on stores, against exact search in float32."""
        stores = {codec: self._store(codec) for codec in dict.fromkeys(way.codec for way in WAYS)}
        functions: dict[str, Callable[[], object]] = {}
        for way in WAYS:
            functions[way.name] = partial(_ask, stores[way.codec], dict(way.options), cycle(self._queries))
        note = ""
        try:
            built = flat(self._x, self._x)
        except MissingExtraError as error:
            note = f"\n\nNot measured: {FLAT}; {error}."
        else:
            singles = cycle(self._queries[:, None])
            functions[FLAT] = lambda: built.search(next(singles), 1)
        with self._limit(1):
            taken = medians(functions, runs=self._runs)
        rows = [self._line(way, stores[way.codec], taken) for way in WAYS]
        if FLAT in taken:
            rows.append(self._cells(FLAT, 4 * self._x.shape[1], 1.0, None, taken))
        header = [
            "search",
            "MB scanned",
            "of `f16`",
            f"recall@{K}",
            "rescored",
            "ms",
            "`f32` over it",
            f"{FLAT} over it",
        ]
        about = (
            "One query, one thread. What is scanned has to stay resident: every search reads it. A search also "
            "touches as many rows of the fine layer as it rescores (median)."
        )
        return f"{about}\n\n{table(header, rows)}{note}"

    def _line(self, way: Way, store: vecstore.Store, taken: dict[str, float]) -> list[str]:
        found = [store.search(part, K, **dict(way.options)) for part in _parts(self._queries)]
        recall = overlap(np.concatenate([each.rows for each in found]), self._wanted)
        rescored = int(np.median(np.concatenate([each.rescored for each in found])))
        scanned = Shard(store.path).codec.layers[0].code_bytes
        return self._cells(way.name, scanned, recall, rescored, taken)

    def _cells(
        self, name: str, row_bytes: int, recall: float, rescored: int | None, taken: dict[str, float]
    ) -> list[str]:
        share = row_bytes / (2 * self._x.shape[1])
        sizes = [f"{row_bytes * len(self._x) / 1e6:.1f}", f"{share:.3f}"]
        times = [f"{taken[base] / taken[name]:.2f}" if base in taken else "" for base in ("`f32`", FLAT)]
        return [name, *sizes, f"{recall:.4f}", f"{rescored:,}" if rescored else "", f"{taken[name] * 1e3:.2f}", *times]

    def _by_tables(self) -> str:
        """Return a table on 4-bit PQ at equal bytes, trained on the same rows."""
        sample = self._x[np.sort(np.random.default_rng(0).permutation(len(self._x))[: self._train_rows])]
        store = self._store("pq:96x4", sample)
        searches: dict[str, Callable[[Floats], Rows]] = {
            f"`pq:96x4`, {metric}": partial(_found, store, {"metric": metric}) for metric in ("cosine", "dot", "l2")
        }
        note = ""
        try:
            for metric in ("INNER_PRODUCT", "L2"):
                built = faiss_pq(self._x, sample, metric)
                searches[f"faiss IndexPQFastScan 96x4, {metric}"] = partial(built.search, threads=1)
        except MissingExtraError as error:
            note = f"\n\nNot measured: faiss IndexPQFastScan; {error}."
        rows = [[name, self._recall(search)] for name, search in searches.items()]
        about = f"4-bit PQ at 48 bytes, trained on the same {len(sample):,} rows:"
        return f"{about}\n\n{table(['search', f'recall@{K}'], rows)}{note}"

    def _recall(self, search: Callable[[Floats], Rows]) -> str:
        """Return the mean, with a 95% interval."""
        found = np.concatenate([search(part) for part in _parts(self._queries)])
        each = [overlap(found[i : i + 1], self._wanted[i : i + 1]) for i in range(len(found))]
        return f"{np.mean(each):.3f} ± {1.96 * np.std(each) / np.sqrt(len(each)):.3f}"

    def _store(self, codec: str, sample: Floats | None = None) -> vecstore.Store:
        path = self._scratch / f"documents-{codec.replace(':', '').replace('/', '-')}.vecs"
        trained = codec if sample is None else vecstore.codec(codec).fit(sample, seed=0)
        vecstore.write(path, self._x, None, trained)
        return vecstore.open(path)


def _found(store: vecstore.Store, options: dict[str, Any], queries: Floats) -> Rows:
    return store.search(queries, K, **options).rows


def _ask(store: vecstore.Store, options: dict[str, Any], queries: Any) -> None:
    store.search(next(queries), K, **options)


def _nearest(x: Floats, queries: Floats) -> Rows:
    return np.argpartition(-(queries @ x.T), K - 1, axis=1)[:, :K]


def _parts(queries: Floats) -> Sequence[Floats]:
    """Return queries in pieces whose scores of all rows fit into memory."""
    return [queries[start : start + 100] for start in range(0, len(queries), 100)]
