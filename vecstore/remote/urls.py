"""Paths or URLs: which of them something is. This is all that a program reads of this room that has no buckets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, Union
from urllib.parse import unquote, urlsplit

from vecstore.errors import OptionError
from vecstore.files import open_regular

if TYPE_CHECKING:
    from vecstore.remote.path import RemotePath

__all__ = ["Place", "is_url", "local_path", "open_file", "place"]

Place: TypeAlias = Union[Path, "RemotePath"]


def is_url(path: object) -> bool:
    """Return whether this names something that is no file of this machine."""
    return isinstance(path, str) and "://" in path and not path.startswith("file://")


def place(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Place:
    """Return what a path or a URL names; `cache` is the folder for files of buckets."""
    text = os.fspath(path)
    if not is_url(text):
        return local_path(text, "")
    from vecstore.remote.path import remote_path

    return remote_path(text, cache)


def local_path(path: str | os.PathLike[str], doing: str) -> Path:
    """Return a path of this machine; raises `OptionError` for a URL, for what is not done in buckets."""
    text = os.fspath(path)
    if is_url(text):
        raise OptionError(f"{text}: {doing} is not done in a bucket; do it on a local copy, and upload that")
    return Path(unquote(urlsplit(text).path)) if text.startswith("file://") else Path(text)


def open_file(path: Place) -> IO[bytes]:
    """Open a file, or an object as a whole, for reading."""
    return open_regular(path) if isinstance(path, Path) else path.open()
