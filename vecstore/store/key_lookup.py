"""From keys to rows, however many shards there are: a key map names the shard, its index the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptError, OptionError
from vecstore.keys.index import KeyIndex, xxh64
from vecstore.keys.indexes import KeyIndexes
from vecstore.keys.kind import KINDS
from vecstore.keys.map import KeyMap
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys
from vecstore.store.manifest import Manifest
from vecstore.store.shards import Shards
from vecstore.store.tombstones import NO_TOMBSTONES, Tombstones

__all__ = ["KeyLookup"]


class KeyLookup:
    """The keys of all shards of a snapshot.

    Rows are counted through the shards: shard i has rows edges[i] to edges[i + 1]. Shards that no map covers are asked
    one by one, the newest first. Rows that were deleted are not found. Without keys, rows are found by their numbers.
    """

    def __init__(
        self,
        shards: Shards,
        edges: Sequence[int],
        manifest: Manifest | None,
        key_maps: Sequence[KeyMap],
        dead: Tombstones = NO_TOMBSTONES,
    ) -> None:
        self._shards, self._edges, self._dead = shards, edges, dead
        self._key_type = shards[0].keys.key_type if shards[0].keys else None
        self._touched: list[KeyIndex | None] = [None] * len(shards)
        self._collisions = manifest.collisions if manifest else {}
        covered = [entry["shards"] for entry in manifest.key_maps] if manifest else []
        self._key_maps = [(first, key_map) for (first, _), key_map in zip(covered, key_maps, strict=True)]
        mapped = {number for first, end in covered for number in range(first, end)}
        self._starts = np.array(edges)
        self._every: KeyIndexes | None = None  # of all shards, once all were read
        self._unmapped = [number for number in reversed(range(len(shards))) if number not in mapped]

    def find(self, key: Any) -> int:
        """Return the row of a key, or -1."""
        if self._key_type is None:
            if not isinstance(key, (int, np.integer)) or isinstance(key, bool):
                raise OptionError(f"this store has no keys: rows are found by number, not by {key!r}")
            return int(key) if 0 <= key < self._edges[-1] and int(key) not in self._dead else -1
        raw = KINDS[self._key_type].raw(key)
        if raw is None:
            return -1
        h = xxh64(raw)
        for first, key_map in self._key_maps:
            row = self._row_in(first + key_map.shard(h), raw, h)
            if row >= 0:
                return row
        several = self._collisions.get(f"{h:016x}", []) if self._collisions else []
        for number in self._unmapped + several:
            row = self._row_in(number, raw, h)
            if row >= 0:
                return row
        return -1

    def find_many(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each key, -1 where there is none: (n,)."""
        if self._key_type is None:
            given = np.asarray(keys)
            if given.dtype.kind not in "iu":
                raise OptionError(f"this store has no keys: rows are found by number, not by {given.dtype}")
            rows = given.astype(np.int64)
            return self._living(np.where((rows >= 0) & (rows < self._edges[-1]), rows, -1))
        if len(keys) >= KERNEL_KEYS:
            try:
                packed = PackedKeys(keys, self._key_type)
            except (TypeError, ValueError, AttributeError):  # some key is of another type, so it is not there
                pass
            else:
                return self._find_packed(packed, keys)
        return np.array([self.find(key) for key in keys], np.int64)

    def verify(self, number: int) -> None:
        """Raise `CorruptError` unless every key of a shard finds its row."""
        shard, row = self._shards[number], 0
        if shard.keys is None:
            return
        first = self._edges[number]
        for page in shard.keys.pages():
            own = np.arange(first + row, first + row + len(page))
            if not ((self.find_many(page) == own) | self._dead.mark(own)).all():
                raise CorruptError("the key index does not find every key: convert the dump again", path=shard.path)
            row += len(page)
        if row != shard.rows:
            raise CorruptError(f"{row} keys for {shard.rows} rows: convert the dump again", path=shard.path)

    def _living(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return rows with -1 in the place of those that were deleted."""
        return np.where(self._dead.mark(rows), -1, rows) if self._dead else rows

    def _row_in(self, number: int, raw: bytes, h: int) -> int:
        """Return the row of a key, by its bytes and their hash, that is in a shard of this number, if there is one."""
        if number >= len(self._touched):
            return -1
        row = (self._touched[number] or self._index(number)).row_of(raw, h)
        if row < 0:
            return -1
        row += self._edges[number]
        return -1 if self._dead and row in self._dead else row

    def _index(self, number: int) -> KeyIndex:
        """Return the index of a shard, and keep it at hand: on the way through the shard much else is touched."""
        keys = self._touched[number] = self._shards[number].keys
        assert keys is not None
        return keys

    def _find_packed(self, packed: PackedKeys, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        hashes = packed.hashes()
        rows = np.full(len(packed), -1, np.int64)
        for first, key_map in self._key_maps:
            self._find_in(packed, hashes, first + key_map.shards_of(hashes), rows)
        for number in self._unmapped:
            self._find_in(packed, hashes, np.full(len(packed), number), rows)
        if self._collisions:
            rare = np.array([int(h, 16) for h in self._collisions], np.uint64)
            for at in np.flatnonzero(np.isin(hashes, rare)).tolist():
                rows[at] = self.find(keys[at])
        return rows

    def _find_in(
        self,
        packed: PackedKeys,
        hashes: NDArray[np.uint64],
        shards: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> None:
        """Look each key that was not found in its shard of `shards`, and write the rows of those found into `rows`."""
        shards = np.where((rows < 0) & (shards < len(self._shards)), shards, -1)
        if not (shards >= 0).any():
            return
        indexes, which = self._indexes_of(shards)
        found = indexes.find(packed, hashes, which)
        there = found >= 0
        rows[there] = self._living(found[there] + self._starts[shards[there]])

    def _indexes_of(self, shards: NDArray[np.int64]) -> tuple[KeyIndexes, NDArray[np.int64]]:
        """Return the indexes of these shards, -1 for none, and which of them is each one's.

        Once all shards were read, as a search does, they are kept together; until then no shard is read for others.
        """
        if self._every is None and self._shards.are_read:
            self._every = KeyIndexes([self._index(number) for number in range(len(self._shards))])
        if self._every is not None:
            return self._every, shards
        touched = np.unique(shards[shards >= 0])
        some = KeyIndexes([self._index(number) for number in touched.tolist()])
        return some, np.where(shards >= 0, np.searchsorted(touched, shards), -1)
