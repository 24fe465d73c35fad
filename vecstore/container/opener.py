"""Opening a container, on the disk or in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vecstore.container.container import Container
from vecstore.container.mapped_file import MappedFile
from vecstore.remote.urls import Place

if TYPE_CHECKING:
    from vecstore.remote.path import RemotePath

__all__ = ["downloaded", "open_container"]


def open_container(path: str | Place | MappedFile, *, check: bool = True, safe: bool = False) -> Container:
    """Open a container file; one in a bucket is always checked, and never copied into memory."""
    if isinstance(path, (str, Path, MappedFile)):
        return Container(path, check=check, safe=safe)
    from vecstore.container.remote_container import RemoteContainer

    return RemoteContainer(path)


def downloaded(path: RemotePath) -> Path:
    """Return a whole file of a bucket, verified, and kept in the cache."""

    def verified(copy: Path) -> str:
        container = Container(copy)
        container.verify()
        return container.fingerprint

    return path.download(verified)
