"""Keys, vectors and attributes of `KeyedVectors`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.compat.gensim.attributes import Attributes
from vecstore.compat.gensim.overlay import KeyList, KeyPositions, Overlay, OverlayVectors
from vecstore.errors import KeyNotFoundError, OptionError
from vecstore.store.store import Store

__all__ = ["KEYS", "KeyedRows", "is_vector"]

KEYS = (str, int, np.integer)


class KeyedRows:
    """What all parts of `KeyedVectors` stand on."""

    def __init__(
        self, vector_size: Store | int, count: int = 0, dtype: Any = np.float32, mapfile_path: str | None = None
    ) -> None:
        store = vector_size if isinstance(vector_size, Store) else None
        self.vector_size = store.dimensions if store is not None else int(vector_size)  # type: ignore[arg-type]
        self.mapfile_path = mapfile_path
        self.next_index = 0  # the first position without a key
        self.expandos = Attributes()
        self._rows = Overlay(self.vector_size, store)
        if count:
            self._rows.append([None] * count, np.zeros((count, self.vector_size), np.float32))

    def __str__(self) -> str:
        return f"{type(self).__name__}<vector_size={self.vector_size}, {len(self)} keys>"

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def index_to_key(self) -> KeyList:
        """The keys by position."""
        return KeyList(self._rows)

    @property
    def key_to_index(self) -> KeyPositions:
        """The position of each key."""
        return KeyPositions(self._rows)

    @property
    def vectors(self) -> Any:
        """All vectors by position, (n, d) float32, read when they are asked for; an assigned array lies in memory."""
        return OverlayVectors(self._rows)

    @vectors.setter
    def vectors(self, vectors: ArrayLike) -> None:
        keys = list(self._rows)
        rows = Overlay(self.vector_size)
        rows.append(keys, np.asarray(vectors, np.float32))
        self._rows = rows

    @property
    def norms(self) -> Floats:
        """The length of each vector: (n,) float32."""
        return np.concatenate([np.empty(0, np.float32), *(np.linalg.norm(x, axis=1) for x in self._pieces())])

    def fill_norms(self, force: bool = False) -> None:
        """Do nothing: searches do not need `norms`."""

    def init_sims(self, replace: bool = False) -> None:
        """Do nothing, or scale all vectors to length one, in memory."""
        if replace:
            self.unit_normalize_all()

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length one, in memory."""
        self.vectors = self.get_normed_vectors()

    def get_normed_vectors(self) -> Floats:
        """Return all vectors at length one: (n, d) float32."""
        return np.concatenate([np.empty((0, self.vector_size), np.float32), *map(unit, self._pieces())])

    # Keys and vectors

    def get_index(self, key: Any, default: Any = None) -> Any:
        """Return the position of a key, or of a position; raises `KeyNotFoundError`, a KeyError, without a default."""
        position = self._rows.find(key)
        if position >= 0:
            return position
        if isinstance(key, (int, np.integer)) and 0 <= key < len(self):
            return key
        if default is None:
            raise KeyNotFoundError(f"key {key!r:.80} is not present; `key in vectors` tells")
        return default

    def has_index_for(self, key: Any) -> bool:
        """Return whether there is such a key or position."""
        return bool(self.get_index(key, -1) >= 0)

    def __contains__(self, key: Any) -> bool:
        return self.has_index_for(key)

    def __getitem__(self, key_or_keys: Any) -> Floats:
        """Return the vector of a key, (d,) float32, or of several, (n, d)."""
        if isinstance(key_or_keys, KEYS):
            return self.get_vector(key_or_keys)
        return self._rows.vectors(np.array([self.get_index(key) for key in key_or_keys], np.int64))

    def get_vector(self, key: Any, norm: bool = False) -> Floats:
        """Return the vector of a key, (d,) float32, at length one with `norm`; raises `KeyNotFoundError`."""
        vector = self._rows.vector(self.get_index(key))
        vector = unit(vector) if norm else vector
        vector.setflags(write=False)  # as in gensim: what is written to it would go nowhere
        return vector

    word_vec = get_vector

    def get_mean_vector(
        self,
        keys: Sequence[Any] | Floats,
        weights: ArrayLike | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> Floats:
        """Return the mean of keys and vectors, (d,) float32, by weights whose sizes are made to sum to 1.

        Keys count at length one, unless `pre_normalize` is False; vectors as they are.
        """
        if not len(keys):
            raise OptionError("there is no mean of no keys")
        own = np.ones(len(keys), np.float32) if weights is None else np.asarray(weights, np.float32)
        if len(own) != len(keys):
            raise OptionError(f"{len(keys)} keys have as many weights, found {len(own)}")
        mean, total = np.zeros(self.vector_size, np.float32), 0.0
        for key, weight in zip(keys, own.tolist(), strict=True):
            if isinstance(key, np.ndarray):
                vector = key.astype(np.float32)
            elif key in self:
                vector = self.get_vector(key, norm=pre_normalize)
            elif ignore_missing:
                continue
            else:
                raise KeyNotFoundError(f"key {key!r:.80} is not present; ignore_missing=True leaves it out")
            mean += np.float32(weight) * vector
            total += abs(weight)
        if total:
            mean /= np.float32(total)
        return unit(mean) if post_normalize else mean

    def add_vector(self, key: Any, vector: ArrayLike) -> int:
        """Add a key, in the next position without one, and return where it stands."""
        position = self.next_index
        if position < len(self) and self._rows.key(position) is None:
            self._rows.name(position, key)
            self._rows.replace(np.array([position]), np.reshape(np.asarray(vector, np.float32), (1, -1)))
        else:
            position = len(self)
            self.add_vectors([key], [vector])
        self.next_index = position + 1
        return position

    def add_vectors(
        self, keys: Any, weights: Any, extras: dict[str, NDArray[Any]] | None = None, replace: bool = False
    ) -> None:
        """Add keys and their vectors; those that are there keep theirs, unless `replace` is True.

        `extras` are attributes: arrays with a value for each key.
        """
        keys, vectors = ([keys], np.reshape(weights, (1, -1))) if isinstance(keys, KEYS) else (keys, np.array(weights))
        positions = np.array([self._rows.find(key) for key in keys], np.int64)
        first = {key: at for at, key in reversed(list(enumerate(keys)))}  # of a key that comes twice
        new = np.array([at for at, key in enumerate(keys) if positions[at] < 0 and first[key] == at], np.int64)
        positions[new] = len(self) + np.arange(len(new))
        changed = np.flatnonzero(positions < len(self)) if replace else new[:0]
        if len(changed):
            self._rows.replace(positions[changed], vectors[changed])
        if len(new):
            self._rows.append([keys[at] for at in new.tolist()], vectors[new])
        self.expandos.resize(len(self))
        kept = np.concatenate([changed[positions[changed] >= 0], new])
        for name, values in (extras or {}).items():
            self.expandos.allocate(name, values.dtype, len(self))[positions[kept]] = values[kept]

    def __setitem__(self, keys: Any, weights: Any) -> None:
        self.add_vectors(keys, weights, replace=True)

    def resize_vectors(self, seed: int = 0) -> None:
        """Draw vectors for the keys that were appended to `index_to_key`: the numbers that gensim draws."""
        random = np.random.default_rng(seed)
        drawn = random.random((len(self), self.vector_size), np.float32) if self._rows.empty else None
        if drawn is not None:
            positions = np.array(self._rows.empty, np.int64)
            self._rows.replace(positions, (drawn[positions] * 2 - 1) / np.float32(self.vector_size))
            self._rows.empty.clear()
        self.allocate_vecattrs()

    def vectors_for_all(self, keys: Iterable[Any], allow_inference: bool = True, copy_vecattrs: bool = False) -> Self:
        """Return those of the keys that are here, with their vectors and perhaps their attributes, in memory."""
        found = [key for key in dict.fromkeys(keys) if key in self]
        chosen = type(self)(self.vector_size)
        if found:
            chosen.add_vectors(found, self[found])
        chosen.expandos["count"] = np.arange(len(found), 0, -1)
        own = np.array([self.get_index(key) for key in found], np.int64)
        for name, values in self.expandos.items() if copy_vecattrs else ():
            chosen.expandos[name] = values[own]
        return chosen

    # Attributes

    def allocate_vecattrs(self, attrs: Sequence[str] | None = None, types: Sequence[Any] | None = None) -> None:
        """Make arrays for attributes, or let those that are there have a value for each key."""
        if attrs is None:
            self.expandos.resize(len(self))
        for name, kind in zip(attrs or (), types or (), strict=True):
            self.expandos.allocate(name, kind, len(self))

    def set_vecattr(self, key: Any, attr: str, val: Any) -> None:
        """Set an attribute of a key."""
        self.expandos.allocate(attr, type(val), len(self))[self.get_index(key)] = val

    def get_vecattr(self, key: Any, attr: str) -> Any:
        """Return an attribute of a key; raises KeyError for one that was never set."""
        return self.expandos[attr][self.get_index(key)]

    def sort_by_descending_frequency(self) -> None:
        """Let the most frequent keys stand first, by the attribute "count"."""
        if not len(self):
            return
        counts = np.asarray(self.expandos["count"], np.int64)
        order = np.lexsort((-np.arange(len(counts)), -counts))  # of equals, as in gensim, the last one first
        self._rows.sort(order)
        for name, values in self.expandos.items():
            self.expandos[name] = values[order]

    def _pieces(self) -> Iterable[Floats]:
        return (self.vectors[start : start + 8192] for start in range(0, len(self), 8192))


def is_vector(value: Any) -> bool:
    """Return whether a term is a vector, not a key."""
    return isinstance(value, np.ndarray)
