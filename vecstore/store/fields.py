"""The fields of a store: those of its shards, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, did_you_mean
from vecstore.fields.reader import FieldReader, described_fields, fields_of
from vecstore.keys.kind import is_single
from vecstore.shard.field import TrainedField
from vecstore.shard.shard import Shard
from vecstore.store.snapshot import Snapshot
from vecstore.store.vectors import row_numbers

__all__ = ["StoreField", "described", "field_names", "kind_of", "reader_of", "trained_fields_of"]


class StoreField:
    """What the rows of a store have in a field, read when it is asked for.

    ``field[key]`` is what the row of a key has, ``field[[key, key]]`` a list of it; in a store without keys row numbers
    are the keys. Iterating gives what every row has, in row order.

    Attributes
    ----------
    name, kind : str
    """

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        self.name, self._snapshot = name, snapshot
        self.readers = readers_of(snapshot.shards, name, snapshot.path)
        self.kind = kind_of(snapshot, name)

    def __len__(self) -> int:
        """Return how many rows there are; deleted ones do not count."""
        return self._snapshot.living

    def __getitem__(self, key: Any) -> Any:
        """Return what the row of a key has, or a list of what several have; raises `KeyNotFoundError`."""
        if not is_single(key):
            rows = self._snapshot.rows_of(key)
            missing = np.flatnonzero(rows < 0).tolist()
            if missing:
                raise self._snapshot.not_found(*(key[at] for at in missing))
            return self.items(rows)
        row = self._snapshot.find(key)
        if row < 0:
            raise self._snapshot.not_found(key)
        return self.items(np.array([row]))[0]

    def of_rows(self, rows: Any) -> list[Any]:
        """Return what rows have, by their numbers or a mask; deleted ones raise `IndexError`."""
        found = row_numbers(rows, self._snapshot.rows)
        self._snapshot.dead.refuse(found)
        return self.items(found)

    def __iter__(self) -> Iterator[Any]:
        for row in self._snapshot.living_rows.tolist():
            yield self.items(np.array([row]))[0]

    @property
    def certificate(self) -> dict[str, Any]:
        """What coding costs, as it was measured at conversion; empty where it was not."""
        found = next(reader.about.get("certificate") for reader in self.readers if reader is not None)
        return found if isinstance(found, dict) else {}

    def items(self, rows: NDArray[np.int64]) -> list[Any]:
        """Return what rows in range have."""
        found: list[Any] = [None] * len(rows)
        for number, chosen in self._snapshot.by_shard(rows):
            reader = self.readers[number]
            if reader is None:
                raise OptionError(f"{self._snapshot.path}: shard {number} has no field {self.name!r}")
            for at, item in zip(
                chosen.tolist(), reader.items(rows[chosen] - self._snapshot.edges[number]), strict=True
            ):
                found[at] = item
        return found

    def __repr__(self) -> str:
        return f"<field {self.name!r}: {self.kind}, {len(self):,} rows>"


def field_names(shards: Sequence[Shard]) -> list[str]:
    """Return the names of all fields, those of the first shard first."""
    return list(dict.fromkeys(name for shard in shards for name in described_fields(shard)))


def readers_of(shards: Sequence[Shard], name: str, path: str) -> list[FieldReader | None]:
    """Return what reads a field of each shard, None where one lacks it; raises `OptionError` where all do."""
    found = [reader_of(shard, name) for shard in shards]
    if all(reader is None for reader in found):
        known = field_names(shards)
        have = f"fields are {', '.join(known)}" if known else "the store has none; write it with fields="
        raise OptionError(f"{path}: no field {name!r}{did_you_mean(name, known)}; {have}")
    return found


def reader_of(shard: Shard, name: str) -> FieldReader | None:
    """Return what reads a field of a shard."""
    return fields_of(shard).get(name)


def kind_of(snapshot: Snapshot, name: str) -> str:
    """Return the kind of a field; raises `OptionError` where there is none of this name."""
    found = readers_of(snapshot.shards, name, snapshot.path)
    return str(next(reader.about["kind"] for reader in found if reader is not None))


def trained_fields_of(shards: Sequence[Shard]) -> dict[str, TrainedField]:
    """Return how rows to come are coded in each field: as in the newest shard that has it."""
    return {name: reader.trained for shard in shards for name, reader in fields_of(shard).items()}


def described(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """Return name, kind, bytes and facts of each field."""
    found = []
    for name in field_names(shards):
        own = [reader for shard in shards if (reader := reader_of(shard, name)) is not None]
        if own:
            facts = [reader.facts() for reader in own]
            sums = {each: sum(fact[each] for fact in facts) for each in own[0].counted}
            size = sum(reader.size_bytes for reader in own)
            found.append({"name": name, "kind": own[0].about["kind"], "size_bytes": size} | facts[0] | sums)
    return found
