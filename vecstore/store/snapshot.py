"""A snapshot: what a reader sees of a store, one generation of its manifest. Immutable."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.container.container import Container
from vecstore.errors import KeyNotFoundError, OptionError, ShapeError
from vecstore.fields.reader import fields_of
from vecstore.keys.kind import Key, KeyType, as_keys
from vecstore.keys.map import KeyMap
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys
from vecstore.progress import Listener, Step
from vecstore.shard.groups import groups
from vecstore.store.columns import some_columns, table_of
from vecstore.store.key_lookup import KeyLookup
from vecstore.store.manifest import Manifest
from vecstore.store.numbering import Numbering
from vecstore.store.own_rows import OwnRows
from vecstore.store.shards import Shards
from vecstore.store.tombstones import NO_TOMBSTONES, Tombstones

if TYPE_CHECKING:
    from vecstore.search.prepared import Prepared

__all__ = ["Lookup", "Snapshot"]

NAMED = 5  # missing keys that a message names
DECODED_NUMBERS = 1 << 20  # at once, by `verify`


@dataclass(frozen=True)
class Lookup:
    """Vectors of keys, (n, d) float32, which of them the store holds, (n,) bool, and columns that were asked for."""

    vectors: Floats
    known: NDArray[np.bool_]
    columns: Any = None


class Snapshot:
    """Shards, one behind the other, and the keys of their rows.

    Attributes
    ----------
    shards : Shards
    edges : list of int
        Rows edges[i] to edges[i + 1] are in shard i.
    rows, dimensions : int
    key_type : {"str", "bytes", "int64"} or None
    find : function
        Returns the row of a key, -1 where there is none.
    vector : function
        Returns the vector of a row in range: (d,) float32, a new array.
    manifest : Manifest or None
    dead : Tombstones
        Rows that were deleted: they have numbers, and are not found.
    living : int
        How many rows there are without them.
    stores : list of Snapshot
        Those that were opened as one (see `JoinedSnapshot`); none otherwise.
    prefix, code_bytes : int or None
        Dimensions, or bytes of each code, of which only the first are read.
    ready : dict
        What searches of fields work on, by name of the field.
    """

    def __init__(
        self,
        path: str,
        shards: Shards,
        manifest: Manifest | None,
        key_maps: list[KeyMap],
        dead: Tombstones = NO_TOMBSTONES,
    ) -> None:
        self.path, self.shards, self.manifest, self._key_maps, self.dead = path, shards, manifest, key_maps, dead
        self.stores: list[Snapshot] = []
        self.ready: dict[str, Any] = {}
        first = shards[0]
        self.prefix, self.code_bytes = first.prefix, first.code_bytes
        self.dimensions, self.metric = first.dimensions, first.metric
        self.key_type: KeyType | None = first.keys.key_type if first.keys else None
        self._starts = np.concatenate([[0], np.cumsum(shards.rows)])  # first row of a shard
        self.edges: list[int] = self._starts.tolist()
        self.rows = self.edges[-1]
        self.living = self.rows - len(dead)
        self._lookup = KeyLookup(shards, self.edges, manifest, key_maps, dead)
        # The two steps of store[key], chosen once: a method call saved is a tenth of a lookup.
        single = len(shards) == 1
        plain = first.keys if single and not dead else None
        self.find: Callable[[Any], int] = plain.find if plain is not None else self._lookup.find
        self.vector: Callable[[int], Floats] = first.vector if single else _Rows(shards, self.edges).vector

    def rows_of(self, keys: Any) -> NDArray[np.int64]:
        """Return the row of each key, -1 where there is none: (n,)."""
        return self._rows_of(keys)[1]

    @cached_property
    def numbering(self) -> Numbering:
        """What the numbers of rows are."""
        return Numbering.of(self.shards)

    def own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return row numbers as they leave the store: marked as its own where they are not the dump's."""
        return rows if self.numbering.of_dump else rows.view(OwnRows)

    def key_of(self, row: int) -> Key:
        """Return the key of a row in range; the row itself in a store without keys."""
        if self.key_type is None:
            return row
        number = bisect_right(self.edges, row) - 1
        keys = self.shards[number].keys
        assert keys is not None
        return keys.key(row - self.edges[number])

    def keys_of(self, rows: NDArray[np.int64]) -> list[Key]:
        """Return the keys of rows in range."""
        if self.key_type is None or len(rows) < KERNEL_KEYS:
            return [self.key_of(row) for row in rows.tolist()]
        found = np.empty(len(rows), object)
        for number, chosen in self.by_shard(rows):
            keys = self.shards[number].keys
            assert keys is not None
            found[chosen] = keys.keys(rows[chosen] - self.edges[number])
        return list(found)

    def keys(self) -> Iterator[Key]:
        """Iterate over the keys in row order; over row numbers in a store without keys."""
        if self.key_type is None:
            return iter(self.living_rows.tolist() if self.dead else range(self.rows))
        indexes = [shard.keys for shard in self.shards if shard.keys is not None]
        every = (key for index in indexes for key in index)
        return compress(every, ~self.dead.mark(np.arange(self.rows))) if self.dead else every

    @property
    def living_rows(self) -> NDArray[np.int64]:
        """The numbers of rows that were not deleted, rising: (living,), a new array."""
        return self.dead.living(0, self.rows)

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows in range: (n, d) float32, a new array."""
        several: Sequence[Any] = self.shards
        edges = self.edges
        if len(rows) >= KERNEL_KEYS and self.shards.are_read:  # those of one model at once, as a search sees them
            several, edges = self.prepared.sections, self.prepared.edges
        if len(several) == 1:
            vectors: Floats = several[0].vectors(rows)
            return vectors
        out = np.empty((len(rows), self.dimensions), np.float32)
        for number, chosen in groups(np.searchsorted(edges, rows, side="right") - 1):
            out[chosen] = several[number].vectors(rows[chosen] - edges[number])
        return out

    def by_shard(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield the number of each shard that holds some of the rows, and which."""
        return groups(np.searchsorted(self._starts, rows, side="right") - 1)

    def vector_range(self, start: int, stop: int) -> Floats:
        """Return the vectors of consecutive rows: (stop - start, d) float32, a new array."""
        if len(self.shards) == 1:
            return self.shards[0].vector_range(start, stop)
        out = np.empty((max(stop - start, 0), self.dimensions), np.float32)
        for number, (first, end) in enumerate(pairwise(self.edges)):
            low, high = max(start, first), min(stop, end)
            if low < high:
                out[low - start : high - start] = self.shards[number].vector_range(low - first, high - first)
        return out

    def of_keys(self, keys: Any) -> Floats:
        """Return the vectors of keys, (n, d) float32; all of them have to be there."""
        keys, rows = self._rows_of(keys)
        missing = np.flatnonzero(rows < 0).tolist()
        if missing:
            raise self.not_found(*(keys[at] for at in missing))
        return self.vectors(rows)

    def get(self, keys: Any, default: Any) -> Floats | list[Floats | None]:
        """Return the vectors of keys as a list, None for missing ones; with a default, in their rows of (n, d)."""
        keys, rows = self._rows_of(keys)
        known = rows >= 0
        found = self.vectors(rows[known])
        if default is None:
            each = iter(found)
            return [next(each) if there else None for there in known.tolist()]
        vectors = np.empty((len(rows), self.dimensions), np.float32)
        try:
            vectors[:] = default
        except (TypeError, ValueError):
            raise ShapeError(f"default is a number or a ({self.dimensions},) vector, found {default!r:.60}") from None
        vectors[known] = found
        return vectors

    def lookup(self, keys: Any, columns: Sequence[str] = ()) -> Lookup:
        """Return vectors for keys, also for those that codecs make vectors of, and some of their columns."""
        keys, rows = self._rows_of(keys)
        known = rows >= 0
        vectors = np.empty((len(rows), self.dimensions), np.float32)
        vectors[known] = self.vectors(rows[known])
        if not known.all():
            missing = [keys[at] for at in np.flatnonzero(~known).tolist()]
            raw = self.shards[0].keys.raw if self.shards[0].keys else None
            strange = [] if raw is None else [key for key in missing if raw(key) is None]
            if strange:  # of another type, so that no codec makes a vector of it
                raise self.not_found(*strange)
            made = None if self.key_type is None else self._vectors_of_unknown(missing, self.key_type)
            if made is None:
                raise self.not_found(*missing)
            vectors[~known] = made
        return Lookup(vectors, known, some_columns(self.columns, columns, rows) if columns else None)

    def not_found(self, *keys: Any) -> KeyNotFoundError:
        """Return the error that says which keys are not there, the first few of them by name."""
        named = ", ".join(repr(key.item() if isinstance(key, np.generic) else key) for key in keys[:NAMED])
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        what = ("row" if self.key_type is None else "key") + ("s" if len(keys) > 1 else "")
        kind = "" if self.key_type in (None, "str") else f"; keys here are {self.key_type}"
        return KeyNotFoundError(f"no {what} {named}{more} in {self.path}{kind}; store.get(...) takes missing ones")

    def no_row(self, row: int) -> IndexError:
        """Return the error that says that a number is no row's."""
        missing = "; rows_of gives -1 for a key that is not there" if row == -1 else ""
        return IndexError(f"row {row} of a store with {self.rows:,} rows{missing}")

    def _rows_of(self, keys: Any) -> tuple[Sequence[Any] | NDArray[Any], NDArray[np.int64]]:
        """Return several keys as a list or an array, and their rows."""
        keys = as_keys(keys)
        return keys, self._lookup.find_many(keys) if len(keys) else np.empty(0, np.int64)

    def _vectors_of_unknown(self, keys: list[Any], key_type: KeyType) -> Floats | None:
        """Return vectors for keys that no shard holds, (n, d) float32; None where no codec makes them of keys."""
        packed = PackedKeys(keys, key_type)
        # Blocks of a mixed store may differ in this; the rare keys' table comes last.
        made = (shard.vectors_of_unknown(packed) for shard in reversed(self.shards))
        return next((vectors for vectors in made if vectors is not None), None)

    @property
    def measured(self) -> dict[str, Any]:
        """Members of descriptions that the manifest has in the place of shards: a certificate, and calibration."""
        return {} if self.manifest is None else self.manifest.measured

    @property
    def codec(self) -> Codec:
        """The codec of all shards; raises `OptionError` where they have several, by what they are or by training."""
        codecs = list({id(shard.codec): shard.codec for shard in self.shards}.values())
        if len(codecs) > 1:
            specs = sorted({str(codec.spec) for codec in codecs})
            raise OptionError(
                f"{self.path} has {len(codecs)} codecs, each for some rows: "
                + (", ".join(specs) if len(specs) > 1 else f"all {specs[0]}, trained on other vectors")
                + "; open one of its shards for its codec"
            )
        return codecs[0]

    @property
    def truncated(self) -> bool:
        """Whether only the first dimensions or bytes are read."""
        return self.prefix is not None or self.code_bytes is not None

    @cached_property
    def prepared(self) -> Prepared:
        """What searches work on."""
        from vecstore.search.prepared import Prepared

        return Prepared(self.shards, self.dead.rows, self.measured)

    @cached_property
    def has_columns(self) -> bool:
        """Whether rows have anything beside their vectors."""
        return any(shard.attributes.described for shard in self.shards)

    @cached_property
    def columns(self) -> Any:
        """What rows have beside their vectors, by row: a `pyarrow.Table`."""
        return table_of(self.shards, self.path)

    def same_as(self, other: Snapshot) -> bool:
        """Return whether another snapshot shows the same files."""
        if self.stores or self.manifest is None or other.manifest is None:
            return [file.fingerprint for file in self._files] == [file.fingerprint for file in other._files]
        return self.manifest == other.manifest

    def warm(self) -> None:
        """Touch every page of the files, so that they are in memory."""
        for file in self._files:
            file.warm()

    @property
    def models(self) -> list[Container]:
        """The files that hold what shards refer to, each once."""
        found = dict.fromkeys(shard.model_container for shard in self.shards if shard.model is not None)
        return list(found)

    @property
    def _files(self) -> list[Container]:
        maps = (key_map.container for key_map in self._key_maps)
        return [*maps, *self.models, *(shard.container for shard in self.shards)]

    def verify(self, report: Listener, *, deep: bool = False) -> int:
        """Check every byte against its checksum, models, and every key; return the bytes checked.

        With `deep` every row is decoded. Raises `VecstoreError`, most often `CorruptError`.
        """
        total, done = sum(file.size_bytes for file in self._files), 0
        for file in self._files:
            for size in file.checking():
                done += size
                report(Step("checking", done, total, "bytes"))
        rows = 0
        for number, shard in enumerate(self.shards):
            shard.verify_model()
            for reader in fields_of(shard).values():
                reader.verify(deep=deep)
            if shard.order is not None:
                shard.order.verify()
            self._lookup.verify(number)
            rows += shard.rows
            report(Step("checking keys", rows, self.rows))
        if deep:
            self._verify_rows(report)
        return total

    def _verify_rows(self, report: Listener) -> None:
        step = max(DECODED_NUMBERS // self.dimensions, 1)
        for first, shard in zip(self.edges, self.shards, strict=False):
            for start in range(0, shard.rows, step):
                stop = min(start + step, shard.rows)
                shard.verify_rows(start, stop)
                report(Step("decoding", first + stop, self.rows))


class _Rows:
    """The rows of several shards; it does not know the snapshot, so that no cycle keeps closed files mapped."""

    def __init__(self, shards: Shards, edges: list[int]) -> None:
        self._shards, self._edges = shards, edges
        self._read: list[Callable[[int], Floats] | None] = [None] * len(shards)  # at hand, as in `KeyLookup`

    def vector(self, row: int) -> Floats:
        """Return the vector of a row in range: (d,) float32, a new array."""
        number = bisect_right(self._edges, row) - 1
        return (self._read[number] or self._reader(number))(row - self._edges[number])

    def _reader(self, number: int) -> Callable[[int], Floats]:
        read = self._read[number] = self._shards[number].read_one
        return read
