"""Compaction: small shards become large ones, and deleted rows go. Codes and keys are copied, nothing is decoded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.editing.bucket import checked_out
from vecstore.editing.commit import clear, commit, entry_of, file_name
from vecstore.editing.lock import COMPACTION_LOCK, Lock
from vecstore.editing.merging import likeness, merge
from vecstore.editing.pieces import Piece, model_entries, pieces_of, shard_entries, write_map
from vecstore.errors import ConflictError, OptionError
from vecstore.keys.indexes import find_many
from vecstore.remote.urls import is_url
from vecstore.shard.shard import Shard
from vecstore.store.manifest import Manifest
from vecstore.store.opening import open_snapshot
from vecstore.store.tombstones import NO_TOMBSTONES, Tombstones

__all__ = ["Compacted", "compact", "tidied"]

WORKPLACE, KEY_MAP = ".compaction.partial", "keys.vecs"
TIER = 8  # so many shards of a tier make one of the next, and have so many times its rows
AUTOMATIC_BYTES = 64 << 20  # at the end of an edit nothing larger is merged
LARGEST_BYTES = 1 << 30  # of a merged shard
DEAD_SHARE = 0.1  # from which on a shard is rewritten


@dataclass(frozen=True)
class Compacted:
    """What compaction did.

    Attributes
    ----------
    before, after : int
        Shards.
    dropped : int
        Deleted rows whose bytes are gone.
    generation : int or None
        The one that it made; None where there was nothing to do.
    """

    before: int
    after: int
    dropped: int
    generation: int | None


def compact(
    path: str | os.PathLike[str], *, wait: float = 0.0, cache: str | os.PathLike[str] | None = None
) -> Compacted:
    """Merge small shards of a store, and leave out the bytes of deleted rows.

    Others read and edit the store meanwhile: files are built beside it, and put in place in one step. Rows that were
    deleted meanwhile stay deleted. Where deleted rows went, those behind them have other numbers afterwards.

    Parameters
    ----------
    path : path or URL
        A store that is a directory. One in a bucket is compacted in a copy on the local disk, as edits are.
    wait : float
        Seconds to wait for an edit to end, once all is built; in a bucket before, for those that have the same cache.
    cache : path, optional
        The folder for files of a store in a bucket, as `vecstore.open` has it.

    Raises
    ------
    BusyError
        The store is being compacted, or an edit does not end.
    ConflictError
        The store was restored or converted again meanwhile; nothing has changed.
    """
    if isinstance(path, str) and is_url(path):
        with checked_out(path, wait_s=wait, cache=cache) as local:
            return compact(local)
    directory = Path(os.path.abspath(path))
    if directory.is_file():
        raise OptionError(f"{directory}: a store of one file is compact")
    Manifest.read(directory)  # raises where it is no store
    workplace = directory / WORKPLACE
    with Lock(directory, name=COMPACTION_LOCK):
        shutil.rmtree(workplace, ignore_errors=True)
        try:
            return _compacted(directory, workplace, wait)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def tidied(pieces: list[Piece], first: int, workplace: Path) -> list[Piece]:
    """Return the pieces of an edit with small shards merged from number `first` on, and those that are mostly dead.

    Eight shards of a tier make one of the next: so few are left of any number of edits, and a row is copied a few times
    only. Without keys, numbers are what rows are found by: there, deleted rows stay.
    """
    if pieces[0].shard.keys is not None:
        for number, piece in enumerate(pieces):
            if _rewritten(piece) and piece.bytes <= AUTOMATIC_BYTES:
                pieces[number] = _merged([piece], workplace)
    while (run := _tail(pieces[first:])) and len(run) >= TIER:
        pieces[-len(run) :] = [_merged(run, workplace)]
    return pieces


def _tail(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the last pieces, as far as they are alike and of the last one's tier, or of lower ones."""
    run: list[Piece] = []
    size, tier = 0, _tier(pieces[-1]) if pieces else 0
    for piece in reversed(pieces):
        size += piece.bytes
        moves = piece.shard.keys is not None or not piece.dead
        if _tier(piece) > tier or not moves or size > AUTOMATIC_BYTES:
            break
        run.append(piece)
    if len(run) < TIER:  # most edits end here, and need not restore a codec to know whether shards are alike
        return []
    alike = likeness(run[0].shard)
    run = [] if alike is None else list(takewhile(lambda piece: likeness(piece.shard) == alike, run))[::-1]
    return run if sum(piece.source.living for piece in run) else []


def _tier(piece: Piece) -> int:
    return (piece.shard.rows.bit_length() - 1) // 3  # powers of eight


def _rewritten(piece: Piece) -> bool:
    """Return whether a shard has so many deleted rows that it is worth a copy without them."""
    return 0 < piece.source.living < (1 - DEAD_SHARE) * piece.shard.rows and likeness(piece.shard) is not None


def _merged(run: Sequence[Piece], workplace: Path) -> Piece:
    workplace.mkdir(exist_ok=True)
    path = workplace / f"merged-{sum(1 for _ in workplace.iterdir())}.vecs"
    merge(path, [piece.source for piece in run])
    return Piece(Shard(path, models=run[0].shard.models), NO_TOMBSTONES, None)


def _compacted(directory: Path, workplace: Path, wait_s: float) -> Compacted:
    snapshot = open_snapshot(str(directory), check=True)
    manifest = snapshot.manifest
    assert manifest is not None
    before = pieces_of(snapshot, snapshot.dead, manifest)
    groups = _groups(before)
    dropped = sum(len(piece.dead) for group in groups if _changes(group) for piece in group)
    if not any(map(_changes, groups)):
        return Compacted(len(before), len(before), 0, None)
    after = [_merged(group, workplace) if _changes(group) else group[0] for group in groups]
    mapped = snapshot.key_type is not None and len(after) > 1
    collisions = write_map(workplace / KEY_MAP, after) if mapped else {}
    with Lock(directory, wait_s=wait_s):
        old = Manifest.read(directory)
        names = [entry["file"] for entry in manifest.shards]
        if [entry["file"] for entry in old.shards[: len(names)]] != names:
            raise ConflictError(f"{directory}: other shards took the place of those that were compacted; do it again")
        clear(directory, workplace / "none", old.generation)
        now = open_snapshot(str(directory), check=True, known=snapshot)
        current = pieces_of(now, now.dead, old)
        moved, at = [], 0
        for group, piece in zip(groups, after, strict=True):
            moved.append(_caught_up(group, current[at : at + len(group)], piece))
            at += len(group)
        generation = old.generation + 1
        pieces = [*moved, *current[at:]]
        shards, built = shard_entries(pieces, generation, workplace)
        models, files = model_entries(directory, pieces, [*manifest.models, *old.models], workplace)
        built |= files
        maps: tuple[dict[str, Any], ...] = ()
        if mapped:
            name = file_name("keys", generation, 0)
            built[name] = workplace / KEY_MAP
            maps = (entry_of(built[name], name, shards=[0, len(after)]),)
        new = Manifest(generation, shards, maps, collisions, models, old.measured)
        commit(directory, old, new, built)
    return Compacted(len(old.shards), len(shards), dropped, generation)


def _groups(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return runs of shards that are alike, and together small enough."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        alike = likeness(piece.shard)
        last = groups[-1] if groups else []
        fits = sum(each.bytes for each in last) + piece.bytes <= LARGEST_BYTES
        if last and alike is not None and fits and likeness(last[0].shard) == alike:
            last.append(piece)
        else:
            groups.append([piece])
    return groups


def _changes(group: Sequence[Piece]) -> bool:
    """Return whether a run is written anew: several shards with rows that live, or one with many deleted ones."""
    if len(group) == 1:
        return _rewritten(group[0])
    return any(piece.source.living for piece in group)


def _caught_up(group: Sequence[Piece], current: Sequence[Piece], piece: Piece) -> Piece:
    """Return what was made of a run, with the rows deleted that were deleted since."""
    if piece.entry is not None:
        return current[0]
    found, first = [], 0
    for then, now in zip(group, current, strict=True):
        rows = np.setdiff1d(now.dead.rows, then.dead.rows, assume_unique=True)
        if piece.shard.keys is not None and then.shard.keys is not None:
            found.append(find_many(piece.shard.keys, then.shard.keys.keys(rows)))
        else:
            found.append(first + rows - np.searchsorted(then.dead.rows, rows))
        first += then.source.living
    dead = np.sort(np.concatenate(found))
    return Piece(piece.shard, Tombstones(dead) if len(dead) else NO_TOMBSTONES, None)
