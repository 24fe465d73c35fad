"""Search on codes beside numpy, faiss and usearch, as fast as this machine reads.

``python -m vecstore.bench.scripts.scan``.

Everything takes turns in one process, with the rows in RAM or in mapped stores that are warm. Rows and queries have
length one. A ratio above 1 says that vecstore is faster.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan_documents import Documents
from vecstore.bench.scripts.scan_peers import PEERS, Built, K, Peer
from vecstore.bench.scripts.scan_processes import first_use, peak_memory
from vecstore.bench.timing import add_page, machine, medians, show, table
from vecstore.formats.npy import read_npy

import vecstore
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import MissingExtraError, ShapeError, require
from vecstore.metric import Metric
from vecstore.parallel import thread_count
from vecstore.search.kinds import scanner_of
from vecstore.search.ranking import Ranking
from vecstore.search.scanner import Scanner
from vecstore.search.topk import TopK
from vecstore.shard.shard import Shard

Floats: TypeAlias = NDArray[np.float32]

CODECS = ("bin", "pq:96x4", "pq:48", "sq:8", "sq:4", "f16", "f32")
QUERIES = 64
TRAIN_ROWS = 20_000, 5_000  # the second for --quick, as below
PEAK_CODECS = ("bin", "sq:8", "f32"), ("bin",)
DIMENSIONS = 384
NOISE = 0.1  # length of what is added to each copy of a row, so that no two rows are the same
PIECE = 50_000
PAUSE_S = 0.03  # threads of BLAS and OpenMP spin for a while after their work, at the cost of who comes next


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.scan", description=__doc__)
    parser.add_argument("--rows", type=int, help="how many to search; 1,000,000 if not --quick")
    parser.add_argument("--vectors", type=Path, metavar="NPY", help="repeat these, with noise; else clustered ones")
    parser.add_argument(
        "--documents", type=Path, nargs=2, metavar=("NPY", "QUERIES"), help="measure recall, too, with real queries"
    )
    parser.add_argument("--metric", choices=("cosine", "dot", "l2"), default="cosine", help="of the stores")
    parser.add_argument("--title", default="", help="what the documents are, for the page")
    parser.add_argument("--quick", action="store_true", help="50,000 rows and fewer runs: to see that it works")
    add_page(parser)
    arguments = parser.parse_args()
    text = run(arguments)
    show(text, "scan", page=arguments.write)


def run(arguments: argparse.Namespace) -> str:
    """Return the tables as Markdown."""
    count = arguments.rows or (50_000 if arguments.quick else 1_000_000)
    runs = (3, 3) if arguments.quick else (11, 5)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        x, queries = repeated(arguments.vectors, count) if arguments.vectors else clustered(count, DIMENSIONS)
        whence = f"copies of {arguments.vectors.name} with noise" if arguments.vectors else "clustered"
        train_rows = TRAIN_ROWS[arguments.quick]
        speeds = Speeds(x, queries, scratch, arguments.metric, runs=runs, train_rows=train_rows)
        parts = [
            f"{count:,} vectors x {x.shape[1]} ({whence}), k = {K}, {arguments.metric}; medians of {runs[0]} runs, "
            f"of {runs[1]} for batches. One query at a time, the next one at each run.",
            *speeds.tables(),
            peak_memory(x, queries, scratch, PEAK_CODECS[arguments.quick]),
            first_use(x, queries, scratch),
        ]
        speeds.close()
        if arguments.documents:
            vectors, asked = arguments.documents
            quick = arguments.quick
            documents = Documents(vectors, asked, scratch, quick=quick, train_rows=train_rows, limit=threads)
            parts += documents.tables(arguments.title)
    return "\n\n".join([*parts, ", ".join([machine(), *_versions()])])


def clustered(count: int, d: int, asked: int = QUERIES) -> tuple[Floats, Floats]:
    """Return rows around 1,000 centres whose spectrum falls off as embeddings' do, and queries of the same kind."""
    rng = np.random.default_rng(0)
    scales = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((1000, d), np.float32) * scales
    x = np.empty((count + asked, d), np.float32)
    for start in range(0, len(x), PIECE):
        n = min(PIECE, len(x) - start)
        piece = centres[rng.integers(0, 1000, n)] + rng.standard_normal((n, d), np.float32) * scales / 2
        x[start : start + n] = unit(piece.astype(np.float32))
    return x[:count], x[count:]


def repeated(path: Path, count: int, asked: int = QUERIES) -> tuple[Floats, Floats]:
    """Return rows of a dump, repeated with noise up to `count`, and rows held out as queries."""
    rng = np.random.default_rng(0)
    given = read_npy(path, mapped=True)
    order = rng.permutation(len(given))
    held_out, kept = np.sort(order[:asked]), order[asked:]
    x = np.empty((count, given.shape[1]), np.float32)
    for start in range(0, count, PIECE):
        rows = np.arange(start, min(start + PIECE, count))
        noise = rng.standard_normal((len(rows), x.shape[1]), np.float32) * (NOISE / np.sqrt(x.shape[1]))
        x[rows] = unit(unit(given[kept[rows % len(kept)]].astype(np.float32)) + noise)
    return x, unit(given[held_out].astype(np.float32))


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Hold vecstore, OpenMP and BLAS to so many threads (None: all), and say how many that are."""
    before = os.environ.pop("VECSTORE_THREADS", None)
    count = count or thread_count()
    os.environ["VECSTORE_THREADS"] = str(count)
    try:
        with _pools(count):
            yield count
    finally:
        os.environ.pop("VECSTORE_THREADS")
        if before is not None:
            os.environ["VECSTORE_THREADS"] = before


def in_turns(functions: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return `medians`; where there are several threads, with a pause before each function."""
    if thread_count() == 1:
        return medians(functions, runs=runs)
    paused: dict[str, Callable[[], object]] = {}
    for name, function in functions.items():
        paused |= {f"before {name}": partial(time.sleep, PAUSE_S), name: function}
    return medians(paused, runs=runs)


class Opened:
    """A store, and what scans its codes for one query after the other."""

    def __init__(self, path: Path, queries: Floats, metric: Metric) -> None:
        self.store, self._queries, self._next = vecstore.open(path), queries, cycle(queries)
        shard = Shard(path)
        self.rows, self._codes = shard.rows, shard.layers[0]
        self.size_bytes = self.rows * self._codes.layer.code_bytes
        rankings = [Ranking.of(metric, query[None], unit_rows=False) for query in queries]
        self._scanners = cycle([scanner_of(self._codes, ranking, shard.bounds[0]) for ranking in rankings])

    @cached_property
    def mapped(self) -> NDArray[np.uint64]:
        """The codes as they lie in the file."""
        start = -(-int(self._codes.part.offsets[0]) // 8) * 8
        return self._codes.part.data[start : start + self.size_bytes // 8 * 8].view(np.uint64)

    def kernel(self) -> None:
        """Scan the codes for one query, in this thread."""
        scanner: Scanner = next(self._scanners)
        none = np.empty(0, np.uint32)
        every = np.array([[0, self.rows]])
        scanner.over(every, TopK(1, K), floors=scanner.ranking.floors(-np.inf), allowed=none)

    def one(self) -> None:
        """Search for one query."""
        self.store.search(next(self._next), K)

    def many(self) -> None:
        """Search for all queries."""
        self.store.search(self._queries, K)


class Speeds:
    """Stores and peers over the same rows, timed in turns."""

    def __init__(
        self, x: Floats, queries: Floats, scratch: Path, metric: Metric, *, runs: tuple[int, int], train_rows: int
    ) -> None:
        self._x, self._queries, self._runs = x, queries, runs
        sample = x[np.sort(np.random.default_rng(1).permutation(len(x))[:train_rows])]
        self._stores = {
            codec: self._opened(codec, sample, scratch / f"{i}.vecs", metric) for i, codec in enumerate(CODECS)
        }
        self._peers, self._notes = _built(x, sample)

    def _opened(self, codec: str, sample: Floats, path: Path, metric: Metric) -> Opened:
        trained = vecstore.codec(codec).fit(sample, seed=0)
        vecstore.write(path, self._x, None, trained, metric=metric)
        return Opened(path, self._queries, metric)

    def close(self) -> None:
        """Let go of peers and stores."""
        for opened in self._stores.values():
            opened.store.close()
        self._stores, self._peers = {}, {}

    def tables(self) -> list[str]:
        """Return the tables, and a note on each peer that is not installed."""
        with threads(1):
            one = in_turns(self._singles(np.sum), self._runs[0])
            one |= in_turns(self._batches(), self._runs[1])
        with threads(None) as count, ThreadPoolExecutor(count) as pool:
            every = in_turns(self._singles(partial(_summed_by, pool, count)), self._runs[0])
            every |= in_turns(self._batches(), self._runs[1])
        all_threads = f"{count} threads"
        return [
            self._bandwidth(one, every, all_threads),
            self._scanned(one),
            self._searched(one, every, all_threads),
            self._beside(one, every, all_threads),
            *self._notes,
        ]

    # What is timed

    def _singles(self, summed: Callable[[NDArray[np.uint64]], object]) -> dict[str, Callable[[], object]]:
        functions: dict[str, Callable[[], object]] = {}
        for codec, opened in self._stores.items():
            functions[f"sum {codec}"] = partial(summed, self._words(opened.size_bytes))
            functions[f"mapped sum {codec}"] = partial(summed, opened.mapped)
            functions[f"kernel {codec}"] = opened.kernel
            functions[f"one {codec}"] = opened.one
        for peer, built in self._peers.items():
            functions[f"one {peer.name}"] = partial(_next, built, cycle(self._queries[:, None]))
        return functions

    def _batches(self) -> dict[str, Callable[[], object]]:
        functions: dict[str, Callable[[], object]] = {
            f"many {codec}": opened.many for codec, opened in self._stores.items()
        }
        for peer, built in self._peers.items():
            functions[f"many {peer.name}"] = partial(_next, built, cycle([self._queries[: peer.batch]]))
        return functions

    def _words(self, size_bytes: int) -> NDArray[np.uint64]:
        return self._x.reshape(-1).view(np.uint64)[: size_bytes // 8]

    # What is shown

    def _bandwidth(self, one: dict[str, float], every: dict[str, float], all_threads: str) -> str:
        rows = []
        for size_bytes, codec in sorted({opened.size_bytes: codec for codec, opened in self._stores.items()}.items()):
            times = [taken[f"{base} {codec}"] for base in ("sum", "mapped sum") for taken in (one, every)]
            rows.append([f"{size_bytes / 1e6:,.0f}", *(f"{size_bytes / taken / 1e9:.1f}" for taken in times)])
        header = [
            "MB",
            *(f"{where}, {by}, GB/s" for where in ("in RAM", "mapped codes") for by in ("1 thread", all_threads)),
        ]
        return "numpy's sum of as many bytes, as uint64:\n\n" + table(header, rows)

    def _scanned(self, one: dict[str, float]) -> str:
        rows = []
        for codec, opened in self._stores.items():
            cells = []
            for taken in (one[f"kernel {codec}"], one[f"one {codec}"]):
                shares = (one[f"{base} {codec}"] / taken for base in ("sum", "mapped sum"))
                cells += [f"{opened.size_bytes / taken / 1e9:.1f}", *(f"{share:.0%}" for share in shares)]
            rows.append([f"`{codec}`", str(opened.size_bytes // opened.rows), *cells])
        of = ["of numpy's sum", "of the mapped sum"]
        header = ["store", "bytes", "kernel GB/s", *of, "search GB/s", *of]
        return "One query, one thread:\n\n" + table(header, rows)

    def _searched(self, one: dict[str, float], every: dict[str, float], all_threads: str) -> str:
        row_bytes = {codec: opened.size_bytes // opened.rows for codec, opened in self._stores.items()}
        row_bytes |= {peer.name: built.row_bytes for peer, built in self._peers.items()}
        rows = []
        for name, size_bytes in row_bytes.items():
            single, single_all, batch, batch_all = self._four(name, one, every)
            cells = [f"{single * 1e3:.2f}", f"{single_all * 1e3:.2f}", f"{single / single_all:.2f}"]
            summed = (
                f"mapped sum {name}"  # where memory is the limit, numpy's sum is no faster in several threads either
            )
            cells.append(f"{one[summed] / every[summed]:.2f}" if summed in one else "")
            cells += [f"{1 / batch:,.0f}", f"{1 / batch_all:,.0f}", f"{batch / batch_all:.2f}"]
            rows.append([f"`{name}`" if name in self._stores else name, str(size_bytes), *cells])
        header = ["search", "bytes", "one query, ms", f"{all_threads}, ms", "speed-up", "mapped sum's speed-up"]
        header += [f"batch of {QUERIES}, queries/s", all_threads, "speed-up"]
        fewer = ", ".join(f"{peer.name} {peer.batch}" for peer in self._peers if peer.batch < QUERIES)
        note = f"\n\nThe slow had smaller batches, which are as fast a query: {fewer}." if fewer else ""
        return table(header, rows) + note

    def _beside(self, one: dict[str, float], every: dict[str, float], all_threads: str) -> str:
        rows = []
        for peer in self._peers:
            theirs = self._four(peer.name, one, every)
            for codec in peer.rivals:
                ours = self._four(codec, one, every)
                rows.append([f"`{codec}`", peer.name, *(f"{t / o:.2f}" for t, o in zip(theirs, ours, strict=True))])
        header = ["store", "times as fast as", "one query", all_threads, f"batch of {QUERIES}", all_threads]
        return table(header, sorted(rows, key=lambda row: CODECS.index(row[0].strip("`"))))

    def _four(self, name: str, one: dict[str, float], every: dict[str, float]) -> tuple[float, float, float, float]:
        """Return seconds a query: single, single in all threads, of a batch, of a batch in all threads."""
        batch = next((peer.batch for peer in self._peers if peer.name == name), QUERIES)
        single, many = f"one {name}", f"many {name}"
        return one[single], every[single], one[many] / batch, every[many] / batch


def _built(x: Floats, sample: Floats) -> tuple[dict[Peer, Built], list[str]]:
    """Return the peers that are installed, and a note on each that is not."""
    if x.shape[1] % 96:
        raise ShapeError(f"faiss cuts vectors into 96 and 48 groups: d is a multiple of 96, found {x.shape[1]}")
    built, notes = {}, []
    for peer in PEERS:
        try:
            built[peer] = peer.build(x, sample)
        except MissingExtraError as error:
            notes.append(f"Not measured: {peer.name}; {error}.")
    return built, notes


def _summed_by(pool: ThreadPoolExecutor, count: int, words: NDArray[np.uint64]) -> object:
    return list(pool.map(np.sum, np.array_split(words, count)))


def _next(built: Built, queries: Iterator[Floats]) -> object:
    return built.search(next(queries), thread_count())


@contextmanager
def _pools(count: int) -> Iterator[None]:
    """Hold OpenMP and BLAS to so many threads, as far as the packages that can are installed."""
    with suppress(MissingExtraError):
        require("faiss", purpose="measuring faiss").omp_set_num_threads(count)
    try:
        control: Any = require("threadpoolctl", purpose="holding numpy's products to one thread")
    except MissingExtraError as error:
        print(f"Products of matrices use all threads throughout: {error}")
        yield
    else:
        with control.threadpool_limits(count):
            yield


def _versions() -> Sequence[str]:
    found = []
    for package in ("faiss-cpu", "usearch"):
        with suppress(ImportError):
            found.append(f"{package} {version(package)}")
    return found


if __name__ == "__main__":
    main()
