"""A store of one file becomes a directory with the same name."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vecstore.editing.commit import entry_of
from vecstore.errors import BusyError, OptionError
from vecstore.formats.replacement import fsync_directory
from vecstore.shard.shard import Shard
from vecstore.store.manifest import Manifest

__all__ = ["make_directory", "remove_left"]

HERE, EXCHANGE = -100, 2  # of renameat2: paths are those of the process, and both stay
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # a system or a file system that has none
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def make_directory(path: Path) -> None:
    """Make a directory of a store that is one file, in one step where the system can exchange two names.

    Handles that are open go on. Nothing is copied. Raises `OptionError` where the file system has no hard links,
    `BusyError` where another process is at it.
    """
    shard, place = Shard(path), _place(path)
    with _held(path):
        if not path.is_file():
            return  # another process was first
        remove_left(path)
        place.mkdir()
        try:
            name = "shard-00000.vecs"
            try:
                os.link(path, place / name)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                raise OptionError(f"{path}: no directory can be made of it here: {error.strerror}") from None
            Manifest(0, (entry_of(place / name, name, rows=shard.rows),)).write(place)
            _exchange(place, path)
            fsync_directory(path.parent)
        finally:
            remove_left(path)


def remove_left(path: Path) -> None:
    """Remove what is left of making a directory: a directory that was not put in place, or a name of the file."""
    place = _place(path)
    if path.exists():  # else it has all that there is
        try:
            place.unlink(missing_ok=True)
        except OSError:  # a directory
            shutil.rmtree(place, ignore_errors=True)
        _aside(place).unlink(missing_ok=True)


def _aside(place: Path) -> Path:
    return place.with_name(f"{place.name}.file")


def _place(path: Path) -> Path:
    return path.with_name(f".{path.name}.directory.partial")


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{path}: another process is making a directory of it; try again") from None
        yield


def _exchange(directory: Path, file: Path) -> None:
    """Let a directory and a file take each other's names."""
    try:
        renamed = ctypes.CDLL(None, use_errno=True).renameat2
        failed = renamed(HERE, os.fsencode(directory), HERE, os.fsencode(file), EXCHANGE) and ctypes.get_errno()
    except (AttributeError, OSError):
        failed = errno.ENOSYS
    if not failed:
        return
    if failed not in NO_EXCHANGE:
        raise OSError(failed, os.strerror(failed), str(file))
    # Between these two steps nothing has the name: a process that dies there leaves the file in the directory.
    aside = _aside(directory)
    os.rename(file, aside)
    try:
        os.rename(directory, file)
    except BaseException:
        os.rename(aside, file)
        raise
    aside.unlink()
