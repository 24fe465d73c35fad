"""What a generation is made of: shards, those that are there and new ones, and their deleted rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.editing.commit import entry_of, file_name
from vecstore.editing.merging import Source, living_keys
from vecstore.keys.map import write_key_map
from vecstore.shard.models import model_file
from vecstore.shard.shard import Shard
from vecstore.store.manifest import TOMBSTONES, Manifest
from vecstore.store.snapshot import Snapshot
from vecstore.store.tombstones import Tombstones, write_tombstones

__all__ = ["Piece", "model_entries", "pieces_of", "shard_entries", "write_map"]


class Piece(NamedTuple):
    """A shard of a generation.

    Attributes
    ----------
    shard : Shard
    dead : Tombstones
        Its deleted rows, counted from its first one.
    entry : dict or None
        What the manifest says of it; None for a new one, whose file lies where it was built.
    """

    shard: Shard
    dead: Tombstones
    entry: dict[str, Any] | None

    @property
    def source(self) -> Source:
        """The same, to be merged."""
        return Source(self.shard, self.dead)

    @property
    def bytes(self) -> int:
        """Of its file."""
        return len(self.shard.container.data)


def pieces_of(snapshot: Snapshot, dead: Tombstones, manifest: Manifest) -> list[Piece]:
    """Return those of a snapshot, with these rows deleted."""
    edges = zip(snapshot.edges, snapshot.edges[1:], snapshot.shards, manifest.shards, strict=False)
    return [Piece(shard, Tombstones(dead.within(first, end)), entry) for first, end, shard, entry in edges]


def shard_entries(
    pieces: Sequence[Piece], generation: int, workplace: Path
) -> tuple[tuple[dict[str, Any], ...], dict[str, Path]]:
    """Return what the manifest of a generation says of its shards, and new files by their names."""
    entries, built = [], dict[str, Path]()
    for number, piece in enumerate(pieces):
        entry = piece.entry
        if entry is None:
            name = file_name("shard", generation, number)
            built[name] = Path(piece.shard.path)
            found = piece.shard.container
            entry = {"file": name, "bytes": len(found.data), "fingerprint": found.fingerprint, "rows": piece.shard.rows}
        if len(piece.dead) != entry.get(TOMBSTONES, {"rows": 0})["rows"]:
            name = file_name("dead", generation, number)
            built[name] = workplace / name
            workplace.mkdir(exist_ok=True)
            write_tombstones(built[name], piece.dead.rows)
            entry = entry | {TOMBSTONES: entry_of(built[name], name, rows=len(piece.dead))}
        entries.append(entry)
    return tuple(entries), built


def model_entries(
    directory: Path, pieces: Sequence[Piece], known: Sequence[dict[str, Any]], workplace: Path
) -> tuple[tuple[dict[str, Any], ...], dict[str, Path]]:
    """Return what a manifest says of the models that shards refer to, and new files by their names.

    `known` are entries of the manifest before; other models lie in the workplace. The lock of the directory is held.
    """
    entries, built = {entry["fingerprint"]: entry for entry in known}, dict[str, Path]()
    used = dict.fromkeys(piece.shard.model for piece in pieces if piece.shard.model is not None)
    for model in used:
        if model not in entries:
            name = model_file(model)
            entries[model] = entry_of(workplace / name, name)
            if not (directory / name).exists():  # an earlier generation may have it: its name stands for its content
                built[name] = workplace / name
    return tuple(entries[model] for model in used), built


def write_map(path: Path, pieces: Sequence[Piece]) -> dict[str, list[int]]:
    """Write the key map of some shards' living rows; return the collisions, as `write_key_map` does."""
    path.parent.mkdir(exist_ok=True)
    hashes: list[NDArray[np.uint64]] = [
        np.concatenate([np.empty(0, np.uint64), *(keys.hashes() for keys in living_keys(piece.source))])
        for piece in pieces
    ]
    return write_key_map(path, hashes)
