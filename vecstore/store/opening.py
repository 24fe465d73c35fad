"""From a path to a snapshot: which files a generation consists of, opened, and held against its manifest."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.container.mapped_file import MappedFile
from vecstore.errors import CorruptError, OptionError
from vecstore.keys.map import KeyMap
from vecstore.remote.urls import Place, place
from vecstore.shard.models import Models
from vecstore.shard.shard import Shard
from vecstore.store.history import manifest_of
from vecstore.store.manifest import MANIFEST_NAME, TOMBSTONES, Manifest
from vecstore.store.shards import ShardFile, Shards
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
    models = known.shards[0].models if known is not None else Models() if models is None else models
    options: dict[str, Any] = {
        "check": check,
        "safe": safe,
        "prefix": prefix,
        "code_bytes": code_bytes,
        "models": models,
    }
    directory = place(path) if isinstance(path, str) else path
    if not directory.is_dir():
        if generation is not None:
            raise OptionError(f"{path}: one file has no generations; leave out generation=")
        return Snapshot(str(path), Shards([ShardFile.of(Shard(directory, **options))]), None, [])
    for attempt in (1, 2):
        manifest = manifest_of(directory, generation)
        try:
            for entry in manifest.models:
                models.hold(entry["fingerprint"], _file(directory / entry["file"], safe=safe))
            shards = _shards(directory, manifest, known, options)
            maps = [KeyMap(directory / entry["file"], check=check, safe=safe) for entry in manifest.key_maps]
            dead = _tombstones(directory, manifest, check=check, safe=safe)
            break
        except FileNotFoundError as error:
            # A rewrite may have replaced the manifest, and removed what it named, since it was read.
            if attempt == 2 or manifest_of(directory, generation).generation == manifest.generation:
                raise CorruptError(f"{error.filename} is missing from the store", path=directory) from None
    for entry, key_map in zip(manifest.key_maps, maps, strict=True):
        first_shard, end = entry["shards"]
        _require_same(entry, key_map.container, key_map.shards == end - first_shard, directory)
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


def _shards(directory: Place, manifest: Manifest, known: Snapshot | None, options: dict[str, Any]) -> Shards:
    """Return the shards that a manifest names: mapped, so that they stay, but only the first one is read.

    Of those in a bucket nothing is kept before they are read: they may be cleaned away meanwhile.
    """
    entries = () if known is None or known.manifest is None else known.manifest.shards
    same = {_identity(entry): file for entry, file in zip(entries, known.shards.files if known else [], strict=False)}
    files: list[ShardFile] = []
    for entry in manifest.shards:
        file = same.get(_identity(entry))
        if file is None:
            place = _file(directory / entry["file"], safe=options["safe"])
            first = files[0] if files else None
            told = partial(_read, place, entry, first, directory, manifest, options)
            file = ShardFile(entry["rows"], told, far=not isinstance(place, MappedFile))
        files.append(file)
    return Shards(files)


def _file(place: Place, *, safe: bool) -> MappedFile | Place:
    """Return a file of the store: a local one mapped, so that it stays."""
    return MappedFile(place, safe=safe) if isinstance(place, Path) else place


def _identity(entry: dict[str, Any]) -> tuple[str, int]:
    return entry["fingerprint"], entry["rows"]


def _read(
    file: MappedFile | Place,
    entry: dict[str, Any],
    first: ShardFile | None,
    directory: Place,
    manifest: Manifest,
    options: dict[str, Any],
) -> Shard:
    """Return a shard; raises `CorruptError` unless it is the one that the manifest means."""
    try:
        shard = Shard(file, **options)
    except FileNotFoundError:
        if first is None:
            raise
        raise CorruptError(
            f"{entry['file']} is missing: where the store was cleaned since it was opened, refresh() has what is there",
            path=directory,
        ) from None
    other = shard if first is None else first.shard
    same_keys = (shard.keys and shard.keys.key_type) == (other.keys and other.keys.key_type)
    same_space = (shard.dimensions, shard.metric) == (other.dimensions, other.metric)
    named = shard.model is None or any(shard.model == model["fingerprint"] for model in manifest.models)
    alike = shard.rows == entry["rows"] and same_keys and same_space and named
    _require_same(entry, shard.container, alike, directory)
    return shard


def _require_same(entry: dict[str, Any], container: Container, alike: bool, directory: Place) -> None:
    """Raise `CorruptError` unless a file is the one that the manifest means."""
    if not alike or container.fingerprint != entry["fingerprint"]:
        raise _exchanged(entry, directory)


def _exchanged(entry: dict[str, Any], directory: Place) -> CorruptError:
    return CorruptError(
        f"{entry['file']} is not the file that the manifest means: restore it from a copy",
        path=directory / MANIFEST_NAME,
    )
