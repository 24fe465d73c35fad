"""Dumps that lie elsewhere, or can be read only once: they are copied to a temporary file, and read from there."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import weakref
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from vecstore.errors import FormatError, require

__all__ = ["FetchedFile", "fetched"]

_PIECE_BYTES = 1 << 20


class FetchedFile(os.PathLike[str]):
    """A copy that is removed when nobody holds it any more.

    Attributes
    ----------
    path : Path
        Of the copy; its name is that of the original.
    """

    def __init__(self, name: str, source: IO[bytes]) -> None:
        folder = tempfile.mkdtemp(prefix="vecstore-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder, name)
        with open(self.path, "wb") as file:
            shutil.copyfileobj(source, file, _PIECE_BYTES)

    def __fspath__(self) -> str:
        return str(self.path)


def fetched(source: Any) -> Any:
    """Return `source`, or a `FetchedFile` of it where it is a URL (read by fsspec) or a pipe.

    Raises
    ------
    FormatError
        It cannot be fetched.
    MissingExtraError
        fsspec, or what it needs for this kind of URL, is not installed.
    """
    if isinstance(source, FetchedFile):
        return source
    text = os.fspath(source)
    if "://" in text:
        return _downloaded(text)
    path = Path(text)
    if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
        with open(path, "rb") as pipe:
            return FetchedFile(path.name, pipe)
    return source


def _downloaded(url: str) -> FetchedFile:
    fsspec = require("fsspec", purpose=f"reading {url.partition(':')[0]}://")
    name = PurePosixPath(urlsplit(url).path).name or "dump"
    try:
        with fsspec.open(url, "rb") as remote:
            return FetchedFile(name, remote)
    except ImportError as error:
        raise FormatError(f"this kind of URL needs a library that is not installed: {error}", path=url) from None
    except Exception as error:  # every file system has errors of its own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise FormatError(f"cannot be fetched: {type(error).__name__}: {reason}", path=url) from None
