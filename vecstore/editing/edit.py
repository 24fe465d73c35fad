"""An edit: rows appended, replaced and deleted in one transaction."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.checks import as_vectors
from vecstore.editing.bucket import checked_out
from vecstore.editing.commit import clear, commit, entry_of, file_name
from vecstore.editing.compaction import tidied
from vecstore.editing.directory import make_directory, remove_left
from vecstore.editing.drafts import Drafts, OnDrift
from vecstore.editing.lock import COMPACTION_LOCK, Lock
from vecstore.editing.pending import Pending
from vecstore.editing.pieces import Piece, model_entries, pieces_of, shard_entries, write_map
from vecstore.editing.recent import reopened
from vecstore.errors import BusyError, ClosedError, DuplicateKeyError, KeyNotFoundError, OptionError, ShapeError
from vecstore.keys.indexes import find_many
from vecstore.keys.kind import as_keys, key_type_of
from vecstore.remote.urls import is_url
from vecstore.search.options import SearchOptions
from vecstore.search.selection import as_numbers
from vecstore.shard.field import Coded, coded_rows
from vecstore.store.columns import for_new_rows, schema_of
from vecstore.store.manifest import Manifest
from vecstore.store.searching import refuse_foreign_rows
from vecstore.store.snapshot import Snapshot
from vecstore.store.tombstones import Tombstones

__all__ = ["Edit", "edit"]

WORKPLACE = ".edit.partial"
FLUSH_BYTES = 64 * 1024 * 1024  # of float32 rows that wait in memory
MOST_UNMAPPED = 32  # shards that a lookup asks one by one; more of them get a key map
NAMED = 5  # keys that a message names


def edit(
    path: str | os.PathLike[str],
    *,
    on_drift: OnDrift = "warn",
    wait: float = 0.0,
    to_directory: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> Edit:
    """Change a store: append, replace and delete rows, all of it or nothing.

    Nobody sees the changes until the block ends; then all readers that open or refresh the store see all of them. An
    exception in the block means that nothing has happened. One process at a time edits a store.

    Parameters
    ----------
    path : path or URL
        A store that is a directory. One in a bucket is changed in a copy on the local disk, whose new files are
        uploaded when the block ends.
    on_drift : {"warn", "error", "ignore", "refit"}
        What to do where new rows do not suit the codec of the store: "refit" trains the same one on them.
    wait : float
        Seconds to wait for another writer to end; in a bucket, for those that have the same cache.
    to_directory : bool
        Make a directory of a store that is one file: its name stays.
    cache : path, optional
        The folder for files of a store in a bucket, as `vecstore.open` has it.

    Raises
    ------
    BusyError
        Another process is writing the store.
    CodecError
        Its codec takes no new rows: tables that rows share, or `mixed`.
    OptionError
        The store is one file.
    ConflictError
        In a bucket: another writer was first. `CommitUncertainError` where the bucket does not say who was.

    Examples
    --------
    >>> with vecstore.edit("items.vecs") as e:  # doctest: +SKIP
    ...     e.upsert(x, ["apple", "pear"])
    ...     e.delete(["plum"])
    """
    return Edit(path, on_drift=on_drift, wait=wait, to_directory=to_directory, cache=cache)


class Edit:
    """Changes to a store that take effect together when the block ends; see `vecstore.edit`.

    Attributes
    ----------
    generation : int or None
        The one that the changes made, once they did.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        on_drift: OnDrift = "warn",
        wait: float = 0.0,
        to_directory: bool = False,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if on_drift not in ("warn", "error", "ignore", "refit"):
            raise OptionError(f'on_drift is "warn", "error", "ignore" or "refit", found {on_drift!r}')
        self.url = path if isinstance(path, str) and is_url(path) else None
        self.path = Path(os.path.abspath(path))
        self._name = self.url or self.path  # for messages
        self.generation: int | None = None
        self._on_drift, self._wait_s, self._to_directory = on_drift, wait, to_directory
        self._cache = cache
        self._held: ExitStack | None = None
        self._bucket = ExitStack()  # which puts what was committed to the local copy in force

    def __enter__(self) -> Self:
        if self.url is None:
            return self._entered()
        with ExitStack() as bucket:
            self.path = bucket.enter_context(checked_out(self.url, wait_s=self._wait_s, cache=self._cache))
            self._entered()
            self._bucket = bucket.pop_all()
        return self

    def _entered(self) -> Self:
        if self._to_directory and self.path.is_file():
            make_directory(self.path)
        if not self.path.is_dir():
            os.stat(self.path)  # raises where nothing is there
            raise OptionError(
                f"{self._name}: a store of one file does not change; make a directory of it, under the same name, with "
                "to_directory=True"
            )
        with ExitStack() as held:
            held.enter_context(Lock(self.path, wait_s=self._wait_s))
            self._begin()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._held is not None
        with self._bucket:
            made = self._exited(self._held, kind is None)
        self.generation = made

    def _exited(self, held: ExitStack, whole: bool) -> int | None:
        with held:
            self._held = None
            try:
                return self._end() if whole else None
            finally:
                self._drafts.abort()
                shutil.rmtree(self._workplace, ignore_errors=True)  # the rest, if there is any, goes at the next edit

    def append(
        self,
        x: ArrayLike,
        keys: Sequence[Any] | NDArray[Any] | None = None,
        *,
        columns: Any = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Add rows: (n, d) vectors, and n keys if the store has keys.

        `columns` is what they have beside: a mapping of names to n values, a `pyarrow.Table`, or a data frame. Of the
        columns of the store, what is missing is null. `fields` is what they have in each field of the store, such as
        ``{"tokens": list_of_arrays}``, coded as its rows are; nothing where one is missing.

        Raises
        ------
        DuplicateKeyError
            A key lives already, or comes twice.
        OptionError
            Keys of another type than the store's; a column that it does not have, or values that do not fit its type.
        ShapeError
            Vectors of another width, NaN or infinity, more or fewer keys or values than vectors.
        """
        vectors, names = self._rows(x, keys)
        beside = for_new_rows(columns, self._schema, len(vectors))
        coded = coded_rows(fields, self._drafts.fields, len(vectors))
        if names is not None:
            seen: set[Any] = set()
            twice = [key for key in names if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
            living = twice or [names[at] for at in np.flatnonzero(self._living(names)).tolist()]
            if living:
                told = ", ".join(map(repr, living[:NAMED])) + (" ..." if len(living) > NAMED else "")
                what = "comes twice" if twice else "lives"
                raise DuplicateKeyError(f"a key that {what}: {told}; upsert replaces rows, append only adds them")
        self._pend(vectors, names, beside, coded)

    def upsert(
        self,
        x: ArrayLike,
        keys: Sequence[Any] | NDArray[Any],
        *,
        columns: Any = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Add rows, in the place of those that have the same keys; the last one counts where a key comes twice.

        A whole row is replaced: where columns are missing, the new one has null, and nothing in fields that are
        missing. Raises as `append`, but for keys that live.
        """
        vectors, names = self._rows(x, keys)
        if names is None:
            raise OptionError(f"{self._name} has no keys, so nothing tells which rows to replace: append adds rows")
        beside = for_new_rows(columns, self._schema, len(vectors))
        coded = coded_rows(fields, self._drafts.fields, len(vectors))
        last = {key: at for at, key in enumerate(names)}
        chosen = sorted(last.values())
        names = [names[at] for at in chosen]
        self._remove(names)
        kept = {name: rows.take(np.array(chosen, np.int64)) for name, rows in coded.items()}
        self._pend(vectors[chosen], names, None if beside is None else beside.take(chosen), kept)

    def delete(self, keys: Sequence[Any] | NDArray[Any], *, missing: Literal["error", "ignore"] = "ignore") -> int:
        """Delete the rows of keys; return how many there were.

        `missing="error"` raises `KeyNotFoundError` where a key is not there; it is passed over otherwise.
        """
        self._require_open()
        names = as_keys(keys)
        names = names.tolist() if isinstance(names, np.ndarray) else list(names)
        if missing not in ("error", "ignore"):
            raise OptionError(f'missing is "error" or "ignore", found {missing!r}')
        if missing == "error":
            lost = [names[at] for at in np.flatnonzero(~self._living(names)).tolist()]
            if lost:
                raise KeyNotFoundError(f"no key {', '.join(map(repr, lost[:NAMED]))} in {self._name}; nothing deleted")
        return self._remove(dict.fromkeys(names))

    def delete_rows(self, rows: ArrayLike) -> int:
        """Delete rows by their numbers, or a mask, of the generation that the edit began with; return how many.

        Raises `IndexError` where one was deleted before, `OptionError` for what is no row.
        """
        self._require_open()
        refuse_foreign_rows(self._base, SearchOptions(metric=self._base.metric, rows=rows))
        found = np.unique(as_numbers(self._base.rows, rows, "rows"))
        self._dead.refuse(found)
        self._bury(found)
        return len(found)

    # From here to there

    def _begin(self) -> None:
        self._manifest = Manifest.read(self.path)
        self._workplace = self.path / WORKPLACE
        clear(self.path, self._workplace, self._manifest.generation)
        remove_left(self.path)
        self._base: Snapshot = reopened(self.path)
        self._drafts = Drafts(self._workplace, self._base, self._on_drift)
        self._pending = Pending(self._base.dimensions)
        self._dead = self._base.dead  # of the base, and of the drafts behind it

    def _end(self) -> int | None:
        self._flush()
        old = self._manifest
        if not len(self._drafts.shards) and len(self._dead) == len(self._base.dead):
            return None  # nothing has changed
        pieces = pieces_of(self._base, self._dead, old)
        first = self._base.rows
        for shard in self._drafts.shards:
            own = self._dead.within(first, first + shard.rows)
            first += shard.rows
            if len(own) < shard.rows:  # else nothing of it is left
                pieces.append(Piece(shard, Tombstones(own), None))
        mapped = max((entry["shards"][1] for entry in old.key_maps), default=0)
        with suppress(BusyError), Lock(self.path, name=COMPACTION_LOCK):  # whoever compacts takes care of all
            pieces = tidied(pieces, mapped, self._workplace)
        generation = old.generation + 1
        shards, built = shard_entries(pieces, generation, self._workplace)
        models, files = model_entries(self.path, pieces, old.models, self._workplace)
        built |= files
        # Members unknown here may speak of shards by their places (docs/format.md, section 10 (Versions)).
        in_place = [entry["file"] for entry in shards[: len(old.shards)]] == [entry["file"] for entry in old.shards]
        new = replace(old, generation=generation, shards=shards, models=models, more=old.more if in_place else {})
        if self._base.key_type is not None and len(pieces) - mapped > MOST_UNMAPPED:
            name = file_name("keys", generation, 0)
            built[name] = self._workplace / name
            found = write_map(built[name], pieces[mapped:])
            collisions = {digits: [number + mapped for number in numbers] for digits, numbers in found.items()}
            entry = entry_of(built[name], name, shards=[mapped, len(pieces)])
            new = replace(new, key_maps=(*old.key_maps, entry), collisions=old.collisions | collisions)
        commit(self.path, old, new, built)
        return generation

    @cached_property
    def _schema(self) -> Any:
        """The types of the store's columns, None where it has none."""
        return schema_of(self._base.shards)

    def _rows(
        self, x: ArrayLike, keys: Sequence[Any] | NDArray[Any] | None
    ) -> tuple[NDArray[np.float32], list[Any] | None]:
        """Return rows and keys as they are stored, checked."""
        self._require_open()
        vectors = as_vectors(x, self._base.dimensions)
        if keys is None or self._base.key_type is None:
            if keys is not None or self._base.key_type is not None:
                kind = self._base.key_type or "no"
                raise OptionError(f"{self._name} has {kind} keys; {'none' if keys is None else 'keys'} were given")
            return vectors, None
        names = as_keys(keys)
        if len(names) != len(vectors):
            raise ShapeError(f"{len(names)} keys for {len(vectors)} vectors")
        if len(names) and key_type_of(names) != self._base.key_type:
            raise OptionError(f"{self._name} has {self._base.key_type} keys, found {key_type_of(names)}")
        return vectors, names.tolist() if isinstance(names, np.ndarray) else list(names)

    def _pend(
        self, vectors: NDArray[np.float32], names: list[Any] | None, columns: Any, fields: Mapping[str, Coded]
    ) -> None:
        step = max(FLUSH_BYTES // (4 * self._base.dimensions), 1)
        for start in range(0, len(vectors), step):
            part = slice(start, start + step)
            beside = None if columns is None else columns.slice(start, step)
            coded = {name: rows[part].coded() for name, rows in fields.items()}
            self._pending.add(vectors[part], None if names is None else names[part], beside, coded)
            if self._pending.rows >= step:
                self._flush()

    def _flush(self) -> None:
        vectors, names, columns, fields = self._pending.taken()
        if len(vectors):
            self._drafts.write(vectors, names, columns, fields)

    def _living(self, names: Sequence[Any]) -> NDArray[np.bool_]:
        """Return which keys have a row, as the edit stands."""
        waiting = np.fromiter((name in self._pending for name in names), bool, len(names))
        return waiting | (self._find(names) >= 0)

    def _find(self, names: Sequence[Any]) -> NDArray[np.int64]:
        """Return the row of each key in the base or in a draft, -1 where there is none."""
        if not len(names):
            return np.empty(0, np.int64)
        rows = self._base.rows_of(names)
        rows[self._dead.mark(rows)] = -1
        first = self._base.rows
        for shard in self._drafts.shards:
            if shard.keys is not None:
                found = find_many(shard.keys, names)
                found = np.where(found >= 0, found + first, -1)
                found[self._dead.mark(found)] = -1
                rows = np.where(found >= 0, found, rows)
            first += shard.rows
        return rows

    def _remove(self, names: Iterable[Any]) -> int:
        """Delete the rows of distinct keys, where there are any; return how many."""
        names = list(names)
        waiting = self._pending.remove(names)
        rows = self._find(names)
        self._bury(np.sort(rows[rows >= 0]))
        return waiting + int(np.count_nonzero(rows >= 0))

    def _bury(self, rows: NDArray[np.int64]) -> None:
        """Delete living rows, each given once."""
        if len(rows):
            self._dead = Tombstones(np.sort(np.concatenate([self._dead.rows, rows]), kind="stable"))

    def _require_open(self) -> None:
        if self._held is None:
            raise ClosedError(f"{self._name}: an edit is a with block, and this one has ended or not begun")
