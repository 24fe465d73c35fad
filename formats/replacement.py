"""A file that appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO

from vecstore.errors import ExistsError

__all__ = ["FolderReplacement", "Replacement", "append_file", "fsync_directory", "publish"]


UNABLE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # what a file system answers that cannot


class Replacement:
    """Context manager: what is written to the file it yields takes the place of `path` when the block succeeds.

    Until then it lies beside it under a hidden name that is always the same, so that what a killed process
    left is cleared by the next one. A block that fails leaves nothing.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self._path, self._force = path, force
        self._partial = path.with_name(f".{path.name}.partial")

    def __enter__(self) -> IO[bytes]:
        if self._path.is_dir():
            raise ExistsError(f"{self._path}: is a directory; choose another name")
        if not self._force and os.path.lexists(self._path):
            raise ExistsError(f"{self._path}: exists; choose another name, or replace it with force=True")
        self._file = open(self._partial, "w+b")  # some libraries read again what they wrote
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if kind is None:
                publish(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)


class FolderReplacement:
    """Context manager: the folder that it yields becomes `path` when the block succeeds; a failing one leaves nothing.

    A folder that exists is never replaced: what else lies in it is nobody's to remove.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")

    def __enter__(self) -> Path:
        if os.path.lexists(self._path):
            raise ExistsError(f"{self._path}: exists, and a folder is not replaced; remove it, or choose another name")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir()
        return self._partial

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                publish(self._partial, self._path)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)


def append_file(file: IO[bytes], source: IO[bytes]) -> None:
    """Write all of another file at the place where one stands: by the system alone, where it can do that."""
    source.flush()
    file.flush()
    at, begin, size = 0, file.tell(), source.seek(0, os.SEEK_END)
    try:
        while hasattr(os, "copy_file_range") and at < size:
            copied = os.copy_file_range(source.fileno(), file.fileno(), size - at, at, begin + at)
            if not copied:
                break
            at += copied
    except OSError:  # not by this file system, or not from that one: what is wrong with either shows below
        pass
    source.seek(at)
    file.seek(begin + at)
    shutil.copyfileobj(source, file, 1 << 20)


def publish(finished: Path, path: Path) -> None:
    """Move a finished file, or a directory to where none is, to `path`: in one step, and durably."""
    os.replace(finished, path)
    fsync_directory(path.parent)


def fsync_directory(directory: Path) -> None:
    """Make renames in a directory durable, where its file system knows how to."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    finally:
        os.close(handle)
