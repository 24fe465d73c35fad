"""A store of one file becomes a directory with the same name."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from vecstore.editing.commit import entry_of
from vecstore.errors import OptionError
from vecstore.formats.replacement import fsync_directory
from vecstore.shard.shard import Shard
from vecstore.store.manifest import Manifest

__all__ = ["make_directory"]

HERE, EXCHANGE = -100, 2  # of renameat2: paths are those of the process, and both stay


def make_directory(path: Path) -> None:
    """Make a directory of a store that is one file, in one step where the system can exchange two names.

    Handles that are open go on. Nothing is copied. Raises `OptionError` where the file system has no hard links.
    """
    shard = Shard(path)
    place = path.with_name(f".{path.name}.directory.partial")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        name = "shard-00000.vecs"
        try:
            os.link(path, place / name)
        except OSError as error:
            raise OptionError(f"{path}: no directory can be made of it here: {error.strerror}") from None
        Manifest(0, (entry_of(place / name, name, rows=shard.rows),)).write(place)
        _exchange(place, path)
        fsync_directory(path.parent)
    finally:
        place.unlink() if place.is_file() else shutil.rmtree(place, ignore_errors=True)


def _exchange(directory: Path, file: Path) -> None:
    """Let a directory and a file take each other's names."""
    try:
        renamed = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        renamed = None
    if renamed is None or renamed(HERE, os.fsencode(directory), HERE, os.fsencode(file), EXCHANGE):
        # Between these two steps nothing has the name: the file is still in the directory.
        file.unlink()
        os.rename(directory, file)
