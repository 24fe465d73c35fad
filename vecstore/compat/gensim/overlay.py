"""The rows of a store, and in memory those that replace some of them or come behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import KeyNotFoundError
from vecstore.keys.kind import Key
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store
from vecstore.store.tombstones import NO_TOMBSTONES, Tombstones
from vecstore.store.vectors import Vectors

__all__ = ["KeyList", "KeyPositions", "Overlay", "OverlayVectors"]

PIECE_ROWS = 8192
FIRST_ROWS = 64  # room in memory at first


class Overlay:
    """Keys and vectors by position; each is a *slot*: a row of the store, or one that was added behind these.

    Parameters
    ----------
    dimensions : int
    store : Store, optional
        It is not changed. Its deleted rows are slots without a position.
    """

    dead: Tombstones = NO_TOMBSTONES  # of positions

    def __init__(self, dimensions: int, store: Store | None = None) -> None:
        self.store, self.dimensions = store, dimensions
        self.base = 0 if store is None else len(store.vectors)
        self._added: list[Any] = []  # the keys behind the store's, None where there is none yet
        self._slot_of: dict[Any, int] = {}
        self._written: list[int] = []  # the slot of each vector in memory
        self._memory: Floats = np.empty((0, dimensions), np.float32)  # [written, d], with room behind
        self._place: NDArray[np.int64] | None = None  # of each slot in memory, -1 for those in the store
        self._order: NDArray[np.int64] | None = None  # [position] -> slot, None where they are the same
        self._position: NDArray[np.int64] | None = None  # [slot] -> position
        self.empty: list[int] = []  # positions of keys that were appended without a vector
        if store is not None and len(store) < self.base:
            self.sort(np.asarray(store.living_rows))

    def __len__(self) -> int:
        return self._slot_count if self._order is None else len(self._order)

    @property
    def _slot_count(self) -> int:
        return self.base + len(self._added)

    @property
    def untouched(self) -> bool:
        """Whether all is as in the store."""
        return self._place is None and self._order is None

    # Keys

    def find(self, key: Any) -> int:
        """Return the position of a key, -1 for one that is not there."""
        slot = self._slot_of.get(key, -1)
        if slot < 0 and self.store is not None:
            slot = snapshot_of(self.store).find(key)
        return slot if slot < 0 or self._position is None else int(self._position[slot])

    def key(self, position: int) -> Any:
        """Return the key of a position."""
        slot = int(position if self._order is None else self._order[position])
        return self._added[slot - self.base] if self.store is None or slot >= self.base else self.store.key_of(slot)

    def __iter__(self) -> Iterator[Any]:
        if self._order is None:
            yield from self.store or ()
            yield from self._added
            return
        for start in range(0, len(self), PIECE_ROWS):
            yield from self.keys(np.arange(start, min(start + PIECE_ROWS, len(self))))

    def keys(self, positions: NDArray[np.int64]) -> list[Any]:
        """Return the keys of positions."""
        slots = self._slots(positions)
        stored = slots < self.base
        of_store = iter(self.store.keys[slots[stored]] if self.store is not None else ())
        return [
            next(of_store) if there else self._added[slot - self.base]
            for slot, there in zip(slots.tolist(), stored.tolist(), strict=True)
        ]

    # Vectors; with these three an overlay is a source of `Vectors`

    def vector(self, position: int) -> Floats:
        """Return the vector of a position, (d,) float32."""
        return self.vectors(np.array([position]))[0]

    def vector_range(self, start: int, stop: int) -> Floats:
        """Return the vectors of consecutive positions, (n, d) float32."""
        if self.untouched and self.store is not None:
            return np.asarray(self.store.vectors[start:stop])
        return self.vectors(np.arange(start, max(start, stop)))

    def vectors(self, positions: NDArray[np.int64]) -> Floats:
        """Return the vectors of positions, (n, d) float32."""
        slots = self._slots(positions)
        if self._place is None:
            return np.asarray(self.store.vectors[slots]) if self.store is not None else self._memory[:0]
        places = self._place[slots]
        stored = places < 0
        out = np.empty((len(slots), self.dimensions), np.float32)
        out[~stored] = self._memory[places[~stored]]
        if self.store is not None and stored.any():
            out[stored] = self.store.vectors[slots[stored]]
        return out

    # Changes

    def append(self, keys: Sequence[Any], vectors: Floats) -> None:
        """Add keys, None for those that come later, and their vectors (n, d)."""
        vectors = as_vectors(vectors, self.dimensions)  # before anything is changed
        new = self._slot_count + np.arange(len(keys))
        places, positions = self._places(), len(self) + np.arange(len(keys))
        self._slot_of.update({key: slot for key, slot in zip(keys, new.tolist(), strict=True) if key is not None})
        self._added += keys
        self._place = np.concatenate([places, np.full(len(keys), -1)])
        if self._order is not None and self._position is not None:
            self._order = np.concatenate([self._order, new])
            self._position = np.concatenate([self._position, positions])
        self._write(new, vectors)

    def name(self, position: int, key: Any) -> None:
        """Give a key to a position that had none."""
        slot = int(self._slots(np.array([position]))[0])
        self._added[slot - self.base], self._slot_of[key] = key, slot

    def replace(self, positions: NDArray[np.int64], vectors: Floats) -> None:
        """Put vectors (n, d) in the place of others."""
        vectors = as_vectors(vectors, self.dimensions)
        self._place = self._places()
        self._write(self._slots(positions), vectors)

    def sort(self, order: NDArray[np.int64]) -> None:
        """Let the rows stand in another order: position i is what was at `order[i]`."""
        self._order = self._slots(order)
        self._position = np.full(self._slot_count, -1)
        self._position[self._order] = np.arange(len(self._order))

    def _write(self, slots: NDArray[np.int64], vectors: Floats) -> None:
        assert self._place is not None
        new = np.unique(slots[self._place[slots] < 0])
        self._place[new] = len(self._written) + np.arange(len(new))
        self._written += new.tolist()
        missing = len(self._written) - len(self._memory)
        if missing > 0:
            more = max(missing, len(self._memory), FIRST_ROWS)
            self._memory = np.concatenate([self._memory, np.empty((more, self.dimensions), np.float32)])
        self._memory[self._place[slots]] = vectors

    def _places(self) -> NDArray[np.int64]:
        return np.full(self._slot_count, -1) if self._place is None else self._place

    def _slots(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return positions if self._order is None else self._order[positions]

    # Searches

    def scores(self, query: Floats) -> Floats:
        """Return the cosine of every row with a query (d,): (n,) float32."""
        of_slot = np.empty(self._slot_count, np.float32)
        if self.store is not None:
            of_slot[: self.base] = self.store.scores(query, metric="cosine")
        written = len(self._written)
        of_slot[self._written] = unit(self._memory[:written]) @ unit(query)
        return of_slot if self._order is None else of_slot[self._order]

    def best(self, queries: Floats, k: int, start: int, stop: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the k positions from start to stop of largest cosine with each query (q, d), and the cosines: (q, k).

        Best first; -1 and NaN where there are fewer.
        """
        parts = [
            part for part in (self._of_store(queries, k, start, stop), self._of_memory(queries, start, stop)) if part
        ]
        if not parts:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        positions, scores = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # NaN come last
        return np.take_along_axis(positions, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def _of_store(self, queries: Floats, k: int, start: int, stop: int) -> tuple[NDArray[np.int64], Floats] | None:
        store = self.store
        if store is None or not store:
            return None
        own = snapshot_of(store).own
        rows = None
        if (start, stop) != (0, len(self)):
            rows = self._slots(np.arange(start, stop))
            rows = rows[rows < self.base]
        replaced = np.array([slot for slot in self._written if slot < self.base], np.int64)
        if rows is not None and len(np.setdiff1d(rows, replaced)) == 0:
            return None
        found = store.search(
            queries,
            k,
            metric="cosine",
            rows=None if rows is None else own(rows),
            exclude=own(replaced) if len(replaced) else None,
        )
        slots = np.asarray(found.rows)
        return slots if self._position is None else np.where(slots < 0, -1, self._position[slots]), found.scores

    def _of_memory(self, queries: Floats, start: int, stop: int) -> tuple[NDArray[np.int64], Floats] | None:
        slots = np.array(self._written, np.int64)
        positions = slots if self._position is None else self._position[slots]
        kept = np.flatnonzero((positions >= start) & (positions < stop))
        if not len(kept):
            return None
        scores = unit(queries) @ unit(self._memory[kept]).T
        return np.broadcast_to(positions[kept], scores.shape), scores


class KeyList(Sequence[Any]):
    """The keys by position, read when they are asked for."""

    def __init__(self, rows: Overlay) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._rows.keys(np.arange(*index.indices(len(self))))
        position = range(len(self))[index]  # raises the IndexError of sequences
        return self._rows.key(position)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __contains__(self, key: object) -> bool:
        return self._rows.find(key) >= 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, KeyList)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def append(self, key: Key) -> None:
        """Add a key; it has a vector of zeros until `KeyedVectors.resize_vectors` draws one."""
        self._rows.empty.append(len(self))
        self._rows.append([key], np.zeros((1, self._rows.dimensions), np.float32))

    def __repr__(self) -> str:
        return f"<{len(self)} keys>"


class KeyPositions(Mapping[Any, int]):
    """Where each key stands."""

    def __init__(self, rows: Overlay) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __contains__(self, key: object) -> bool:
        return self._rows.find(key) >= 0

    def __getitem__(self, key: Any) -> int:
        position = self._rows.find(key)
        if position < 0:
            raise KeyNotFoundError(f"key {key!r:.80} is not there")
        return position

    def __repr__(self) -> str:
        return f"<positions of {len(self)} keys>"


class OverlayVectors(NDArrayOperatorsMixin, Vectors):
    """All vectors, (n, d) float32, read when they are asked for. In arithmetic they are an array."""

    def __init__(self, rows: Overlay) -> None:
        super().__init__((len(rows), rows.dimensions), lambda: rows)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(each) if isinstance(each, OverlayVectors) else each for each in inputs]
        return getattr(function, method)(*arrays, **options)
