"""Several stores seen as one: their shards one behind the other, their keys asked in order."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import Codec
from vecstore.errors import OptionError
from vecstore.remote.urls import is_url, place
from vecstore.shard.models import Models
from vecstore.store.key_lookup import KeyLookup
from vecstore.store.manifest import MANIFEST_NAME
from vecstore.store.numbering import Numbering
from vecstore.store.opening import open_snapshot
from vecstore.store.shards import Shards
from vecstore.store.snapshot import Snapshot
from vecstore.store.tombstones import NO_TOMBSTONES, Tombstones

__all__ = ["JoinedSnapshot", "mark_of", "opened"]


def opened(path: str | Sequence[str], *, cache: str | None = None, **options: Any) -> Snapshot:
    """Return the snapshot of a store, or of several as one; `options` are those of `open_snapshot`.

    `cache` is the folder for files of stores in buckets.
    """
    if isinstance(path, str):
        return open_snapshot(place(path, cache), **options)
    models = Models()
    return JoinedSnapshot([open_snapshot(place(each, cache), models=models, **options) for each in path])


def mark_of(path: str | Sequence[str]) -> Any:
    """Return what tells one generation of a store, or of several, from another; None where nothing is there."""
    if not isinstance(path, str):
        return [mark_of(each) for each in path]
    if is_url(path):
        return object()  # only reading it again tells
    for file in (f"{path}/{MANIFEST_NAME}", path):
        try:
            found = os.stat(file)
        except OSError:
            continue
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    return None


class JoinedSnapshot(Snapshot):
    """The snapshots of several stores as one. A key that several hold is that of the first.

    Raises `OptionError` for stores that do not go together.

    Attributes
    ----------
    stores : list of Snapshot
    """

    def __init__(self, stores: Sequence[Snapshot]) -> None:
        _require_kinship(stores)
        shards = Shards([file for store in stores for file in store.shards.files])
        firsts = [0, *accumulate(store.rows for store in stores)][:-1]
        dead = Tombstones.joined([store.dead.rows for store in stores], firsts)
        super().__init__(" + ".join(store.path for store in stores), shards, None, [], dead)
        self.stores = list(stores)
        self._key_maps = [key_map for store in stores for key_map in store._key_maps]
        if self.key_type is not None:
            self._lookup = _KeysInOrder(stores)
            self.find = self._lookup.find

    @cached_property
    def numbering(self) -> Numbering:
        """What the numbers of rows are."""
        return Numbering.joined([store.numbering for store in self.stores])

    @property
    def codec(self) -> Codec:
        """Refused: each store has a codec of its own."""
        raise OptionError(
            f"{self.path} are several stores, each with a codec of its own; open one of them for its codec"
        )


class _KeysInOrder(KeyLookup):
    """The keys of several stores: the first that holds a key answers."""

    def __init__(self, stores: Sequence[Snapshot]) -> None:
        self._lookups = [store._lookup for store in stores]
        self._dead = NO_TOMBSTONES  # each lookup knows its own
        self._first_rows = [0, *accumulate(store.rows for store in stores)][:-1]
        self._first_shards = [0, *accumulate(len(store.shards) for store in stores)][:-1]

    def find(self, key: Any) -> int:
        for lookup, first in zip(self._lookups, self._first_rows, strict=True):
            row = lookup.find(key)
            if row >= 0:
                return row + first
        return -1

    def find_many(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        rows = np.full(len(keys), -1, np.int64)
        for lookup, first in zip(self._lookups, self._first_rows, strict=True):
            left = np.flatnonzero(rows < 0)
            if not len(left):
                break
            asked = keys[left] if isinstance(keys, np.ndarray) else [keys[at] for at in left.tolist()]
            found = lookup.find_many(asked)
            rows[left] = np.where(found >= 0, found + first, -1)
        return rows

    def verify(self, number: int) -> None:
        store = bisect_right(self._first_shards, number) - 1
        self._lookups[store].verify(number - self._first_shards[store])


def _require_kinship(stores: Sequence[Snapshot]) -> None:
    """Raise `OptionError` unless one search and one lookup make sense over all stores."""
    if not stores:
        raise OptionError("there is no store to open in an empty list")
    first = stores[0]
    for store in stores[1:]:
        for what, ours, theirs in (
            ("dimensions", first.dimensions, store.dimensions),
            ("metrics", first.metric, store.metric),
            ("types of keys", first.key_type or "none", store.key_type or "none"),
            ("numbers of layers", len(first.shards[0].layers), len(store.shards[0].layers)),
        ):
            if ours != theirs:
                raise OptionError(
                    f"stores opened as one are alike; {first.path} and {store.path} have other {what}: "
                    f"{ours} and {theirs}"
                )
