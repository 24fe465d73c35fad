"""From a path to a snapshot: which files a generation consists of, opened, and held against its manifest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptError, OptionError
from vecstore.keys.map import KeyMap
from vecstore.remote.urls import Place, place
from vecstore.shard.shard import Models, Shard
from vecstore.store.history import manifest_of
from vecstore.store.manifest import MANIFEST_NAME, TOMBSTONES, Manifest
from vecstore.store.snapshot import Snapshot
from vecstore.store.tombstones import Tombstones, read_tombstones

__all__ = ["open_snapshot"]


def open_snapshot(
    path: str | Place,
    *,
    check: bool,
    safe: bool = False,
    prefix: int | None = None,
    code_bytes: int | None = None,
    models: Models | None = None,
    generation: int | str | None = None,
    known: Snapshot | None = None,
) -> Snapshot:
    """Open a shard file, or the shards that the manifest of a directory names.

    Parameters
    ----------
    check : bool
        Compare what is read with checksums.
    safe : bool
        Read files into memory instead of mapping them.
    prefix, code_bytes, models : optional
        See `Shard`.
    generation : int or str, optional
        An earlier one, by its number or a tag; the one in force by default.
    known : Snapshot, optional
        Another generation, opened alike: files that both name are not opened again.
    """
    models = known.shards[0].models if known is not None else {} if models is None else models
    opened = {} if known is None else {shard.container.fingerprint: shard for shard in known.shards}

    def shard(file: Place) -> Shard:
        return Shard(file, check=check, safe=safe, prefix=prefix, code_bytes=code_bytes, models=models)

    directory = place(path) if isinstance(path, str) else path
    if not directory.is_dir():
        if generation is not None:
            raise OptionError(f"{path}: one file has no generations; leave out generation=")
        return Snapshot(str(path), [shard(directory)], None, [])
    for attempt in (1, 2):
        manifest = manifest_of(directory, generation)
        try:
            shards = [opened.get(entry["fingerprint"]) or shard(directory / entry["file"]) for entry in manifest.shards]
            maps = [KeyMap(directory / entry["file"], check=check, safe=safe) for entry in manifest.key_maps]
            dead = _tombstones(directory, manifest, check=check, safe=safe)
            break
        except FileNotFoundError as error:
            # A rewrite may have replaced the manifest, and removed what it named, since it was read.
            if attempt == 2 or manifest_of(directory, generation).generation == manifest.generation:
                raise CorruptError(f"{error.filename} is missing from the store", path=directory) from None
    _require_agreement(directory, manifest, shards, maps)
    firsts = np.cumsum([0, *(entry["rows"] for entry in manifest.shards)])[:-1].tolist()
    return Snapshot(str(path), shards, manifest, maps, Tombstones.joined(dead, firsts))


def _tombstones(directory: Place, manifest: Manifest, *, check: bool, safe: bool) -> list[NDArray[np.int64]]:
    """Return the deleted rows of each shard."""
    found = [np.empty(0, np.int64) for _ in manifest.shards]
    for number, shard in enumerate(manifest.shards):
        if TOMBSTONES in shard:
            entry = shard[TOMBSTONES]
            rows, container = read_tombstones(directory / entry["file"], shard["rows"], check=check, safe=safe)
            if (len(rows), container.fingerprint) != (entry["rows"], entry["fingerprint"]):
                raise _exchanged(entry, directory)
            found[number] = rows
    return found


def _exchanged(entry: dict[str, Any], directory: Place) -> CorruptError:
    return CorruptError(
        f"{entry['file']} is not the file that the manifest means: restore it from a copy",
        path=directory / MANIFEST_NAME,
    )


def _require_agreement(directory: Place, manifest: Manifest, shards: list[Shard], maps: list[KeyMap]) -> None:
    """Raise `CorruptError` unless the files are those that the manifest means."""
    first = shards[0]
    opened: list[Shard | KeyMap] = [*shards, *maps]
    for entry, part in zip(manifest.entries, opened, strict=True):
        same = part.container.fingerprint == entry["fingerprint"]
        if isinstance(part, KeyMap):
            first_shard, end = entry["shards"]
            same = same and part.shards == end - first_shard
        if isinstance(part, Shard):
            same_keys = (part.keys and part.keys.key_type) == (first.keys and first.keys.key_type)
            same_space = (part.dimensions, part.metric) == (first.dimensions, first.metric)
            same = same and part.rows == entry["rows"] and same_keys and same_space
        if not same:
            raise _exchanged(entry, directory)
