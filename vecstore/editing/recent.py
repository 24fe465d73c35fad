"""The store that this process edited last stays open: the next edit need not open its files and its codec again."""

from __future__ import annotations

from pathlib import Path

from vecstore.store.manifest import Manifest
from vecstore.store.opening import open_snapshot
from vecstore.store.snapshot import Snapshot

__all__ = ["forget", "reopened"]

_recent: dict[Path, Snapshot] = {}  # one at most: its files stay mapped


def reopened(directory: Path) -> Snapshot:
    """Return the generation in force, with the files that are open from the last edit; raises as `open_snapshot`."""
    known = _recent.get(directory)
    if known is not None and not all((directory / name).exists() for name in Manifest.read(directory).files):
        known = None  # so that opening says which file is missing
    snapshot = open_snapshot(str(directory), check=True, known=known)
    forget()
    _recent[directory] = snapshot
    return snapshot


def forget() -> None:
    """Let go of the files, so that the space of those that were removed is free."""
    _recent.clear()
