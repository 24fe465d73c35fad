"""Dumps that lie elsewhere, or can be read only once, go through a temporary file, and so do those written there."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from vecstore.formats.remote_files import MARKS, RemoteFiles

from vecstore.errors import ExistsError, FormatError, RemoteError, require
from vecstore.remote.fsspec_objects import FsspecObjects
from vecstore.remote.libraries import objects_at, objects_of_bucket
from vecstore.remote.objects import Objects
from vecstore.remote.urls import is_url, local_path

__all__ = ["FetchedFile", "fetched", "written"]

_PIECE_BYTES = 1 << 20
FSSPEC_FIRST = ("http", "https", "memory")  # its URLs may have queries, and its memory is what programs share


class FetchedFile(os.PathLike[str]):
    """A copy that is removed when nobody holds it any more.

    Attributes
    ----------
    path : Path
        Of the copy; its name is that of the original.
    """

    def __init__(self, name: str, write: Callable[[Path], object]) -> None:
        folder = tempfile.mkdtemp(prefix="vecstore-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder, name)
        write(self.path)

    def __fspath__(self) -> str:
        return str(self.path)


def fetched(source: Any) -> Any:
    """Return `source`, or a `FetchedFile` of it where it is a URL or a pipe; `RemoteFiles` of a pattern or a folder.

    Buckets are read by obstore where that is installed, other URLs by fsspec.

    Raises
    ------
    FormatError
        It cannot be fetched. `RemoteError` where a bucket does not give it.
    FileNotFoundError
        Nothing is there.
    MissingExtraError
        fsspec, or what it needs for this kind of URL, is not installed.
    """
    if isinstance(source, (FetchedFile, RemoteFiles)):
        return source
    text = os.fspath(source)
    if text.startswith("file://"):
        return local_path(text, "reading a dump")
    if is_url(text):
        return _downloaded(text)
    path = Path(text)
    if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
        with open(path, "rb") as pipe:
            return FetchedFile(path.name, partial(_copy, pipe))
    return source


@contextmanager
def written(path: str | os.PathLike[str], *, force: bool) -> Iterator[Path]:
    """Give a path to write a dump to; of a URL it is a temporary one, uploaded when the block ends.

    Raises
    ------
    ExistsError
        The object, or one beside it, is there, and `force` is not set.
    RemoteError
        The bucket cannot be written.
    """
    text = os.fspath(path)
    if not is_url(text):
        yield local_path(text, "writing a dump")
        return
    parent, _, name = text.rpartition("/")
    objects = objects_at(parent)
    with tempfile.TemporaryDirectory(prefix="vecstore-") as folder:
        _require_free(objects, [name], force)  # before the work, and again after it
        yield Path(folder, name)
        files = {str(file.relative_to(folder)): file for file in sorted(Path(folder).rglob("*")) if file.is_file()}
        _require_free(objects, list(files), force)
        for own, file in files.items():
            objects.put(own, file)


def _require_free(objects: Objects, names: list[str], force: bool) -> None:
    for name in names:
        with suppress(FileNotFoundError):
            if not force and objects.head(name):
                url = f"{objects.url}/{name}"
                raise ExistsError(f"{url}: exists; choose another name, or replace it with force=True")


def _copy(source: IO[bytes], path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(source, file, _PIECE_BYTES)


def _downloaded(url: str) -> FetchedFile | RemoteFiles:
    """Return a copy of a file, or the files that a pattern or a folder stands for."""
    scheme = urlsplit(url).scheme
    listed = scheme not in ("http", "https")  # whose servers have no folders, and whose URLs have queries
    if listed and (url.endswith("/") or any(mark in url.partition("://")[2] for mark in MARKS)):
        return RemoteFiles(url, _objects_at)
    try:
        return _file(url)
    except FileNotFoundError:
        try:
            found = RemoteFiles(url, _objects_at) if listed else None
        except (FormatError, RemoteError):
            found = None
        if found is None:
            raise
        return found


def _objects_at(url: str) -> Objects:
    return FsspecObjects(url) if urlsplit(url).scheme in FSSPEC_FIRST else objects_at(url)


def _file(url: str) -> FetchedFile:
    parent, _, own = url.rpartition("/")
    if urlsplit(url).scheme not in FSSPEC_FIRST and (objects := objects_of_bucket(parent)) is not None:
        return FetchedFile(own, partial(objects.download, own))
    fsspec = require("fsspec", purpose=f"reading {url.partition(':')[0]}://")
    name = PurePosixPath(urlsplit(url).path).name or "dump"
    try:
        with fsspec.open(url, "rb") as remote:
            return FetchedFile(name, partial(_copy, remote))
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(errno.ENOENT, "nothing is there", url) from None
    except ImportError as error:
        raise FormatError(f"this kind of URL needs a library that is not installed: {error}", path=url) from None
    except Exception as error:  # every file system has errors of its own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise FormatError(f"cannot be fetched: {type(error).__name__}: {reason}", path=url) from None
