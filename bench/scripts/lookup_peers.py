"""What else keeps vectors under keys: each peer is built in a folder, opened there, and asked for one key or many."""

from __future__ import annotations

import json
import pickle
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import vecstore
from vecstore.errors import require

__all__ = ["PEERS", "DictArray", "DictMemmap", "Lookup", "Peer", "Vecstore"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Lookup:
    """An opened peer. Plain callables: what they cost is the peer's, with no method of ours in between.

    Attributes
    ----------
    one : callable
        Key -> (d,) float32.
    many : callable
        List of n keys -> (n, d) float32, in their order.
    rows : callable, optional
        Row numbers, (n,) int64 -> (n, d) float32, where the peer has rows.
    """

    one: Callable[[Any], Floats]
    many: Callable[[Sequence[Any]], Floats]
    rows: Callable[[NDArray[np.int64]], Floats] | None = None


class Peer(ABC):
    """One way to keep vectors under keys; the keys are unique.

    Attributes
    ----------
    name : str
    package : str, optional
        What pip calls it, where it is not part of vecstore or of Python.
    singles : int
        How many single lookups one timed pass makes; the slow make fewer.
    """

    name: str
    package: str | None = None
    singles = 20_000

    @abstractmethod
    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        """Write what `open` needs. Raises `MissingExtraError` where the peer is not installed."""

    @abstractmethod
    def open(self, folder: Path) -> AbstractContextManager[Lookup]:
        """Open what was built, until the block is left."""


class DictMemmap(Peer):
    """What one writes without a library: a mapped array, and a pickled list of keys that becomes a dict."""

    name = "dict + np.memmap"
    mode: Literal["r"] | None = "r"

    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        np.save(folder / "x.npy", x)
        (folder / "keys.pickle").write_bytes(pickle.dumps(keys))

    @contextmanager
    def open(self, folder: Path) -> Iterator[Lookup]:
        x = np.load(folder / "x.npy", mmap_mode=self.mode)
        keys = pickle.loads((folder / "keys.pickle").read_bytes())
        row_of = {key: row for row, key in enumerate(keys)}
        yield Lookup(
            one=lambda key: x[row_of[key]],
            many=lambda keys: x[[row_of[key] for key in keys]],
            rows=lambda rows: x[rows],
        )


class DictArray(DictMemmap):
    """The same with the array read into memory."""

    name = "dict + ndarray in RAM"
    mode = None


class Vecstore(Peer):
    """A store of ours."""

    def __init__(self, codec: str) -> None:
        self.name, self.codec = f"vecstore, {codec}", codec

    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        vecstore.write(folder / "store.vecs", x, keys, self.codec)

    @contextmanager
    def open(self, folder: Path) -> Iterator[Lookup]:
        with vecstore.open(folder / "store.vecs") as store:
            yield Lookup(one=store.__getitem__, many=store.__getitem__, rows=store.vectors.__getitem__)


class Gensim(Peer):
    """KeyedVectors: keys in a pickled dict, vectors in an .npy file beside it, mapped."""

    name = "gensim KeyedVectors"
    package = "gensim"

    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        vectors = require("gensim.models", purpose=self.name).KeyedVectors(x.shape[1])
        vectors.add_vectors(keys, x)
        vectors.save(str(folder / "vectors.kv"), sep_limit=0)  # a small array would be pickled, not mapped

    @contextmanager
    def open(self, folder: Path) -> Iterator[Lookup]:
        models = require("gensim.models", purpose=self.name)
        vectors = models.KeyedVectors.load(str(folder / "vectors.kv"), mmap="r")
        yield Lookup(one=vectors.__getitem__, many=vectors.__getitem__, rows=vectors.vectors.__getitem__)


class Lmdb(Peer):
    """One value a vector. Vectors are views of the map, valid until the transaction ends."""

    name = "lmdb"
    package = "lmdb"

    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        values = sorted((key.encode(), row) for row, key in enumerate(keys))
        lmdb = require("lmdb", purpose=self.name)
        with lmdb.open(str(folder), map_size=1 << 44) as environment, environment.begin(write=True) as transaction:
            for key, row in values:
                transaction.put(key, x[row].tobytes(), append=True)  # in order, which fills the pages

    @contextmanager
    def open(self, folder: Path) -> Iterator[Lookup]:
        environment = require("lmdb", purpose=self.name).open(str(folder), readonly=True, lock=False)
        with environment, environment.begin(buffers=True) as transaction:
            get: Callable[[bytes], Any] = transaction.get
            yield Lookup(
                one=lambda key: np.frombuffer(get(key.encode()), "<f4"),
                many=lambda keys: _matrix([get(key.encode()) for key in keys]),
            )


class Sqlite(Peer):
    """One blob a vector, found by the primary key; the file is mapped, which halves the time."""

    name = "sqlite"
    singles = 2_000

    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        with closing(sqlite3.connect(folder / "vectors.db")) as database, database:
            database.execute("CREATE TABLE vectors (key TEXT PRIMARY KEY, vector BLOB)")
            blobs = (row.tobytes() for row in x)
            database.executemany("INSERT INTO vectors VALUES (?, ?)", zip(keys, blobs, strict=True))

    @contextmanager
    def open(self, folder: Path) -> Iterator[Lookup]:
        with closing(sqlite3.connect(folder / "vectors.db")) as database:
            database.execute("PRAGMA mmap_size = 1099511627776")
            by_key = "SELECT vector FROM vectors WHERE key = ?"
            # One statement for all keys, in a third of the time of a statement each. It promises no order.
            by_keys = "SELECT key, vector FROM vectors WHERE key IN (SELECT value FROM json_each(?))"

            def many(keys: Sequence[Any]) -> Floats:
                found = dict(database.execute(by_keys, [json.dumps(keys)]))
                return _matrix([found[key] for key in keys])

            yield Lookup(
                one=lambda key: np.frombuffer(database.execute(by_key, [key]).fetchone()[0], "<f4"),
                many=many,
            )


class Lance(Peer):
    """A filter on an indexed column finds one key; many are taken by row number, which a dict of ours knows."""

    name = "Lance (filter; take)"
    package = "pylance"
    singles = 100

    def build(self, folder: Path, keys: list[Any], x: Floats) -> None:
        lance = require("lance", purpose=self.name)
        arrow: Any = require("pyarrow", purpose=self.name)
        vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(x.ravel()), x.shape[1])
        dataset = lance.write_dataset(arrow.table({"key": keys, "vector": vectors}), folder / "vectors.lance")
        dataset.create_scalar_index("key", "BTREE")

    @contextmanager
    def open(self, folder: Path) -> Iterator[Lookup]:
        dataset = require("lance", purpose=self.name).dataset(folder / "vectors.lance")
        arrow: Any = require("pyarrow", purpose=self.name)
        row_of: dict[Any, int] = {}

        def vectors(found: Any) -> Floats:
            flat: Floats = found["vector"].combine_chunks().flatten().to_numpy()
            return flat.reshape(len(found), -1)

        def one(key: Any) -> Floats:
            quoted = key.replace("'", "''")
            return vectors(dataset.to_table(columns=["vector"], filter=f"key = '{quoted}'"))[0]

        def rows(numbers: Any) -> Floats:
            return vectors(dataset.take(arrow.array(numbers), columns=["vector"]))

        def many(keys: Sequence[Any]) -> Floats:
            if not row_of:  # at the first batch: opening and single lookups do without
                names = dataset.to_table(columns=["key"])["key"].to_pylist()
                row_of.update((name, row) for row, name in enumerate(names))
            return rows([row_of[key] for key in keys])

        yield Lookup(one=one, many=many, rows=rows)


def _matrix(values: Sequence[bytes]) -> Floats:
    return np.frombuffer(b"".join(values), "<f4").reshape(len(values), -1)


PEERS: tuple[Peer, ...] = (Gensim(), Lmdb(), Sqlite(), Lance())
