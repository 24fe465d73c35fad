"""Commit: files that were built become part of a store by one rename of its manifest."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vecstore.container.container import Container
from vecstore.errors import CommitUncertainError, ConflictError, VecstoreError
from vecstore.formats.replacement import fsync_directory
from vecstore.store.history import kept_name
from vecstore.store.manifest import MANIFEST_NAME, Manifest

__all__ = ["OWN_FILE", "clear", "commit", "entry_of", "file_name", "keep"]

OWN_FILE = re.compile(r"(?:(?:shard|keys|dead)-\d+(?:-\d+)?|model-[0-9a-f]{16})\.vecs")
_OF_EDIT = re.compile(r"(?:shard|keys|dead)-(\d+)-\d+\.vecs")  # the number is that of the generation
_PARTIAL = f".{MANIFEST_NAME}.partial"
_PARTIALS = re.compile(r"\.(manifest|tag)[A-Za-z0-9._-]*\.json\.partial")


def file_name(kind: str, generation: int, number: int) -> str:
    """Return the name of a file, "shard", "keys" or "dead", that a generation brings."""
    return f"{kind}-{generation:05d}-{number:05d}.vecs"


def entry_of(path: Path, name: str, **more: Any) -> dict[str, Any]:
    """Return what a manifest says of a finished file, which will have that name; it is opened to see that it does."""
    return {"file": name, "bytes": path.stat().st_size, "fingerprint": Container(path).fingerprint, **more}


def clear(directory: Path, workplace: Path, generation: int) -> None:
    """Remove what a writer left that was killed: its workplace, and files of generations that never came."""
    shutil.rmtree(workplace, ignore_errors=True)
    for name in os.listdir(directory):  # a path of each would take 10 us, and there may be thousands to no avail
        found = _OF_EDIT.fullmatch(name)
        if (found and int(found[1]) > generation) or _PARTIALS.fullmatch(name):
            (directory / name).unlink(missing_ok=True)


def commit(directory: Path, old: Manifest, new: Manifest, built: Mapping[str, Path]) -> None:
    """Make `new` the manifest in force, and files part of the store; the lock is held.

    Parameters
    ----------
    directory : path
    old, new : Manifest
        The one in force, and its successor.
    built : mapping
        Finished files by the names that they get.

    Raises
    ------
    ConflictError
        Another manifest is in force than `old`; nothing has changed.
    CommitUncertainError
        The new manifest is in force, but the disk did not confirm that it lasts.
    """
    try:
        for name, file in built.items():
            os.replace(file, directory / name)
        fsync_directory(directory)
        _put(directory, old, new)
    except BaseException as error:
        if _in_force(directory, new):
            raise _uncertain(directory, new) from error
        for name in built:
            (directory / name).unlink(missing_ok=True)
        raise
    try:
        fsync_directory(directory)
    except OSError as error:
        raise _uncertain(directory, new) from error


def keep(directory: Path, name: str, *, of: str = MANIFEST_NAME) -> None:
    """Give a manifest one more name, under which it stays; what has that name is replaced."""
    partial = directory / f".{name}.partial"
    partial.unlink(missing_ok=True)
    try:
        try:
            os.link(directory / of, partial)
        except OSError:  # a file system without hard links
            _write(partial, (directory / of).read_bytes())
        os.replace(partial, directory / name)
    finally:
        partial.unlink(missing_ok=True)  # where both names were of one file already, a rename does nothing


def _put(directory: Path, old: Manifest, new: Manifest) -> None:
    found = Manifest.read(directory)
    if found.generation != old.generation:
        raise ConflictError(
            f"{directory}: generation {found.generation} came in between, this began with {old.generation}; do it again"
        )
    keep(directory, kept_name(old.generation))
    try:
        _write(directory / _PARTIAL, new.to_bytes())
        os.replace(directory / _PARTIAL, directory / MANIFEST_NAME)
    finally:
        (directory / _PARTIAL).unlink(missing_ok=True)


def _write(path: Path, body: bytes) -> None:
    with open(path, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _in_force(directory: Path, manifest: Manifest) -> bool:
    try:
        return Manifest.read(directory).generation == manifest.generation
    except (VecstoreError, OSError):
        return False


def _uncertain(directory: Path, manifest: Manifest) -> CommitUncertainError:
    return CommitUncertainError(
        f"{directory}: generation {manifest.generation} is in force, but the disk did not confirm it: after a loss of "
        "power the one before may be there again",
        generation=manifest.generation,
    )
