"""Paths or URLs: which of them something is. This is all that a program reads of this room that has no buckets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, Union
from urllib.parse import unquote, urlsplit

from vecstore.files import open_regular

if TYPE_CHECKING:
    from vecstore.remote.path import RemotePath

__all__ = ["Place", "is_url", "open_file", "place"]

Place: TypeAlias = Union[Path, "RemotePath"]


def is_url(path: object) -> bool:
    """Return whether this names something that is no file of this machine."""
    return isinstance(path, str) and "://" in path and not path.startswith("file://")


def place(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Place:
    """Return what a path or a URL names; `cache` is the folder for files of buckets."""
    text = os.fspath(path)
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    if not is_url(text):
        return Path(text)
    from vecstore.remote.path import remote_path

    return remote_path(text, cache)


def open_file(path: Place) -> IO[bytes]:
    """Open a file, or an object as a whole, for reading."""
    return open_regular(path) if isinstance(path, Path) else path.open()
