"""Where a store is built: a hidden directory beside its destination, which nobody mistakes for a store.

It has always the same name, so what a killed process left is cleared by the next one; and it is locked, so that two
conversions to one destination do not meet in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from math import inf
from pathlib import Path

from vecstore.editing.cleaning import remove_unnamed
from vecstore.editing.lock import Lock
from vecstore.errors import BusyError, ExistsError, FormatError
from vecstore.formats.replacement import fsync_directory, publish
from vecstore.remote.urls import local_path
from vecstore.store.history import kept_names, tag_name, tags
from vecstore.store.manifest import MANIFEST_NAME, Manifest

__all__ = ["Workplace"]


class Workplace:
    """A locked, empty directory to build in, and the ways to publish what was built.

    It holds two others: the store as it grows, and what the tasks of a conversion leave to each other.

    Parameters
    ----------
    destination : path
        The store to be: a file, or a directory when `sharded`.
    force : bool
        An existing store of the same kind may be replaced.
    resume : bool
        What an earlier attempt left stays, and so does what this one leaves when it fails.

    Attributes
    ----------
    path, tasks : Path
        Of the two directories.

    Raises
    ------
    ExistsError
        The destination exists and may not be replaced.
    BusyError
        Another process is building it.
    FileNotFoundError
        The destination's directory does not exist.
    """

    def __init__(self, destination: str | Path, *, sharded: bool, force: bool, resume: bool = False) -> None:
        self.destination = Path(os.path.abspath(local_path(destination, "writing row by row")))
        self.sharded, self._force = sharded, force
        self._require_free()
        self._root, self._resume = self.destination.with_name(f".{self.destination.name}.partial"), resume
        self.path, self.tasks = self._root / "store", self._root / "tasks"
        self._lock = self._take()
        for left in [] if resume else self._root.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.path.mkdir(exist_ok=True)
        self.tasks.mkdir(exist_ok=True)

    def publish_file(self, name: str) -> None:
        """Move the file `name` to the destination in one step."""
        self._require_free()  # again: something may have come there while this was built
        publish(self.path / name, self.destination)
        self.discard()

    def publish_directory(self, manifest: Manifest) -> None:
        """Make the files built here and `manifest` the store, in one step; then remove what it replaced."""
        self._require_free()
        if not self.destination.exists():
            manifest.write(self.path)
            publish(self.path, self.destination)
        else:
            with Lock(self.destination):
                self._replace(manifest)
        self.discard()

    def _replace(self, manifest: Manifest) -> None:
        """Put a manifest and its files in the place of those that are there, but for generations with tags."""
        old = Manifest.read(self.destination)
        renamed = manifest.renumbered(old)
        try:
            for entry, moved in zip(manifest.entries, renamed.entries, strict=True):
                os.replace(self.path / entry["file"], self.destination / moved["file"])
            for entry in manifest.models:  # whose names stand for their content
                os.replace(self.path / entry["file"], self.destination / entry["file"])
            fsync_directory(self.destination)
            renamed.write(self.destination)  # from here on readers see the new store
            for name in kept_names(self.destination).values():
                (self.destination / name).unlink()
        finally:
            named = [*kept_names(self.destination).values(), *map(tag_name, tags(self.destination))]
            remove_unnamed(self.destination, named, before=inf)

    def discard(self) -> None:
        """Remove the directory and what is in it, unless that has happened."""
        if self._lock >= 0:
            with suppress(OSError):  # workers may be at their tasks still: under another name they leave no more files
                os.rename(self.tasks, self._root / "left")
            shutil.rmtree(self._root, ignore_errors=True)
            self._unlock()

    def give_up(self) -> None:
        """Remove the directory, or, where that was agreed, leave it to who goes on."""
        if not self._resume:
            self.discard()
        elif self._lock >= 0:
            self._unlock()

    def _unlock(self) -> None:
        os.close(self._lock)
        self._lock = -1

    def _take(self) -> int:
        while True:
            self._root.mkdir(exist_ok=True)
            lock = os.open(self._root, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise BusyError(f"{self.destination}: another process is writing it; wait for it to end") from None
            try:
                if os.stat(self._root).st_ino == os.fstat(lock).st_ino:
                    return lock
            except FileNotFoundError:
                pass
            os.close(lock)  # its owner published or removed it in between

    def _require_free(self) -> None:
        path = self.destination
        if not path.parent.is_dir():
            raise FormatError(f"{path.parent}: no such directory; create it first")
        if not os.path.lexists(path):
            return
        if not self._force:
            raise ExistsError(f"{path}: exists; choose another name, or replace it with force=True")
        if path.is_dir() != self.sharded:
            kind = ("a directory", "a single file") if path.is_dir() else ("a single file", "a directory of shards")
            raise ExistsError(f"{path}: is {kind[0]} and would become {kind[1]}; remove it first")
        if path.is_dir() and not (path / MANIFEST_NAME).is_file():
            raise ExistsError(f"{path}: is a directory, but not of a store; it is left alone")
