"""What each store's vector of a key is multiplied by in a combination, for each set of stores that have the key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError
from vecstore.spaces.alignment import fitted
from vecstore.store.store import Store

__all__ = ["Blends", "blends"]

Blends = dict[int, dict[int, Floats]]  # set of stores, as bits -> store -> (own dimensions, dimensions) matrix
SHARED_ROWS = 50_000  # that maps and axes are fitted to, at most: the first ones


def blends(
    stores: Sequence[Store], rows: NDArray[np.int64], how: str, weights: Sequence[float], dimensions: int | None
) -> Blends:
    """Return the matrices; `rows` (n, stores) are the rows of each key, -1 where a store has it not."""
    patterns = np.unique(((rows >= 0) << np.arange(len(stores))).sum(axis=1)).tolist()
    make = _Maps(stores, rows)
    if how == "average":
        return {each: _averaged(make, _members(each), weights) for each in patterns}
    if how not in ("concatenate", "svd"):
        raise OptionError(f"how is concatenate, average or svd, found {how!r}")
    joined = {each: _joined(make, _members(each), weights) for each in patterns}
    if how == "concatenate":
        return joined
    axes = _axes(make, weights, stores[0].dimensions if dimensions is None else dimensions)
    return {each: {store: matrix @ axes for store, matrix in own.items()} for each, own in joined.items()}


def _members(pattern: int) -> list[int]:
    return [store for store in range(pattern.bit_length()) if pattern >> store & 1]


class _Maps:
    """Orthogonal maps between the stores, of the keys that both have; each is made when it is needed."""

    def __init__(self, stores: Sequence[Store], rows: NDArray[np.int64]) -> None:
        self.stores, self.rows = stores, rows
        self._made: dict[tuple[int, int], Floats] = {}

    def shared(self, *of: int) -> list[Floats]:
        """Return the unit vectors of the first keys that some stores share, for each of them."""
        both = np.flatnonzero((self.rows[:, of] >= 0).all(axis=1))[:SHARED_ROWS]
        if not len(both):
            raise OptionError(f"no key is in all of {', '.join(self.stores[store].path for store in of)}")
        return [unit(self.stores[store].vectors[self.rows[both, store]]) for store in of]

    def between(self, source: int, target: int) -> Floats:
        """Return the matrix from one store's space to another's."""
        if source == target:
            return np.eye(self.stores[source].dimensions, dtype=np.float32)
        if (source, target) not in self._made:
            x, y = self.shared(source, target)
            self._made[source, target] = fitted(x, y, "orthogonal").matrix
        return self._made[source, target]


def _averaged(make: _Maps, members: list[int], weights: Sequence[float]) -> dict[int, Floats]:
    total = sum(weights[store] for store in members)
    return {store: make.between(store, 0) * np.float32(weights[store] / total) for store in members}


def _joined(make: _Maps, members: list[int], weights: Sequence[float]) -> dict[int, Floats]:
    """Return the matrices of a concatenation: a missing part is the mean of what the others are mapped to."""

    def part(store: int, slot: int) -> Floats:
        if slot in members:
            factor = weights[slot] if slot == store else 0.0
            shape = make.stores[store].dimensions, make.stores[slot].dimensions
            return make.between(store, slot) * np.float32(factor) if factor else np.zeros(shape, np.float32)
        return make.between(store, slot) * np.float32(weights[slot] / len(members))

    slots = range(len(make.stores))
    return {store: np.concatenate([part(store, slot) for slot in slots], axis=1) for store in members}


def _axes(make: _Maps, weights: Sequence[float], dimensions: int) -> Floats:
    """Return the axes (all, dimensions) that keep most of the concatenated vectors of the keys that all stores have."""
    every = make.shared(*range(len(make.stores)))
    x = np.concatenate([own * np.float32(weight) for own, weight in zip(every, weights, strict=True)], axis=1)
    if not 1 <= dimensions <= x.shape[1]:
        raise OptionError(f"dimensions is 1 to {x.shape[1]}, found {dimensions}")
    moments = x.T.astype(np.float64) @ x
    return np.asarray(np.linalg.eigh(moments)[1][:, ::-1][:, :dimensions], np.float32)
