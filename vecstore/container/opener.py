"""Opening a container, on the disk or in a bucket."""

from __future__ import annotations

from pathlib import Path

from vecstore.container.container import Container
from vecstore.container.mapped_file import MappedFile
from vecstore.remote.urls import Place

__all__ = ["open_container"]


def open_container(path: str | Place | MappedFile, *, check: bool = True, safe: bool = False) -> Container:
    """Open a container file; one in a bucket is always checked, and never copied into memory."""
    if isinstance(path, (str, Path, MappedFile)):
        return Container(path, check=check, safe=safe)
    from vecstore.container.remote_container import RemoteContainer
    from vecstore.remote.objects import NoRanges

    try:
        return RemoteContainer(path)
    except NoRanges:
        return Container(path.download(lambda copy: Container(copy).verify()))
