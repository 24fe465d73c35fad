"""Files of buckets on the local disk: kept under names that stand for their content, the least recently used dropped.

Any number of processes may share a cache. What is whole appears by a rename; what is filled piece by piece is a file
of `vecstore.remote.pieces`, of which only verified bytes are read. A file that is dropped stays readable for those
who have it open.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vecstore.errors import OptionError, RemoteError

__all__ = ["Cache"]

LIMIT_BYTES = 20_000_000_000
# What is dropped: files that were named here, and not the store of somebody who keeps one in this folder.
OWN = re.compile(r"[0-9a-f]{16}(-[0-9a-f]+)?\.(head|pieces|vecs|whole)|\.\w{8}\.partial")
LEFT_AFTER_S = 3600.0  # a temporary file that is as old has lost its process


class Cache:
    """A folder of cached files.

    Parameters
    ----------
    folder : path, optional
        `VECSTORE_STORE_CACHE`, or ``vecstore/stores`` in the user's cache folder, by default.
    limit_bytes : int, optional
        What its files may take together, but for those in use; `VECSTORE_STORE_CACHE_BYTES`, or 20 GB, by default.

    Raises
    ------
    OptionError
        `VECSTORE_STORE_CACHE_BYTES` is no number.
    RemoteError
        The folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, limit_bytes: int | None = None) -> None:
        self.folder = Path(folder) if folder else _default_folder()  # "" is no folder either
        self.limit_bytes = _default_limit() if limit_bytes is None else limit_bytes
        self.make_folder()

    def make_folder(self) -> None:
        """Make the folder where it is not there: somebody may have cleared it away."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self.unusable(error) from None

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None where it is not there."""
        path = self.folder / name
        try:
            body = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path)
        return body

    def whole(self, name: str, write: Callable[[Path], object]) -> Path:
        """Return the path of a file, which `write` makes where it is not there: at once or not at all."""
        path = self.folder / name
        with suppress(OSError):
            os.utime(path)
            return path
        self.make_folder()
        try:
            handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=self.folder)
            os.close(handle)
            try:
                write(Path(partial))
                os.replace(partial, path)
            finally:
                Path(partial).unlink(missing_ok=True)
        except RemoteError:
            raise
        except OSError as error:
            raise self.unusable(error) from None
        self.make_room()
        return path

    def forget(self, name: str) -> None:
        """Remove a file that turned out to be no good."""
        with suppress(OSError):
            (self.folder / name).unlink()

    def make_room(self, incoming_bytes: int = 0) -> None:
        """Drop files until there is room below the limit, the least recently used first, none that is in use."""
        with suppress(OSError), open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # one process is enough
            found = [_File(path) for path in self.folder.iterdir() if OWN.fullmatch(path.name)]
            now = max((file.used_s for file in found), default=0.0)
            total = sum(file.size_bytes for file in found) + incoming_bytes
            for file in sorted(found, key=lambda file: file.used_s):
                left = file.path.suffix == ".partial"
                if (left and file.used_s < now - LEFT_AFTER_S) or (not left and total > self.limit_bytes):
                    total -= file.drop()

    def unusable(self, error: OSError) -> RemoteError:
        """Return the error that says that nothing can be written here."""
        return RemoteError(
            f"{self.folder}: the cache cannot be used: {error.strerror or error}; "
            "make room there, or name another folder by cache= or VECSTORE_STORE_CACHE"
        )


class _File:
    def __init__(self, path: Path) -> None:
        self.path, self.used_s, self.size_bytes = path, 0.0, 0
        with suppress(FileNotFoundError):
            about = path.stat()
            self.used_s, self.size_bytes = about.st_mtime, 512 * about.st_blocks  # of files with holes, what is there

    def drop(self) -> int:
        """Remove the file unless it is in use; return the bytes that are free again."""
        with suppress(OSError), open(self.path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.unlink()
            return self.size_bytes
        return 0


def _default_folder() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("VECSTORE_STORE_CACHE") or caches / "vecstore" / "stores")


def _default_limit() -> int:
    given = os.environ.get("VECSTORE_STORE_CACHE_BYTES") or str(LIMIT_BYTES)
    if not given.isdecimal():
        raise OptionError(f"VECSTORE_STORE_CACHE_BYTES is a whole number of bytes, found {given!r}")
    return int(given)
