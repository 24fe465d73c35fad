"""What stays of earlier generations: tags, going back, and the files that nobody needs any more."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vecstore.editing.commit import OWN_FILE, commit, keep
from vecstore.editing.lock import Lock
from vecstore.editing.recent import forget
from vecstore.errors import OptionError
from vecstore.formats.replacement import fsync_directory
from vecstore.remote.urls import local_path
from vecstore.store.history import kept_name, kept_names, manifest_of, tag_name, tags
from vecstore.store.manifest import MANIFEST_NAME, Manifest
from vecstore.store.opening import open_snapshot

__all__ = ["Cleaned", "clean", "remove_unnamed", "restore", "tag", "untag"]

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Cleaned:
    """What was removed: how many generations and files, and their bytes."""

    generations: int
    files: int
    bytes: int


def tag(path: str | os.PathLike[str], name: str, generation: int | None = None, *, wait: float = 0.0) -> int:
    """Give a generation a name, that in force by default; return its number.

    What has a tag stays, and opens as ``vecstore.open(path, generation=name)``. A tag that exists moves.
    Raises `OptionError` where there is no such generation, or no such name can be; `BusyError` as `vecstore.edit`.
    """
    directory, target = _directory(path), tag_name(name)
    with Lock(directory, wait_s=wait):
        found = manifest_of(directory, generation)
        names = [MANIFEST_NAME, kept_name(found.generation), *(map(tag_name, tags(directory)))]
        own = (each for each in names if (directory / each).exists())
        keep(directory, target, of=next(n for n in own if Manifest.read(directory, n).generation == found.generation))
        fsync_directory(directory)
    return found.generation


def untag(path: str | os.PathLike[str], name: str, *, wait: float = 0.0) -> None:
    """Remove a tag; raises `OptionError` where there is none. Its generation stays until `clean`."""
    directory = _directory(path)
    with Lock(directory, wait_s=wait):
        manifest_of(directory, name)
        (directory / tag_name(name)).unlink()
        fsync_directory(directory)


def restore(path: str | os.PathLike[str], generation: int | str, *, wait: float = 0.0) -> int:
    """Make the rows of an earlier generation, by its number or a tag, those in force; return the new generation.

    Nothing is lost: the generations in between stay until `clean`. Raises `OptionError` where there is no such one.
    """
    directory = _directory(path)
    with Lock(directory, wait_s=wait):
        old, found = Manifest.read(directory), manifest_of(directory, generation)
        open_snapshot(str(directory), check=True, generation=found.generation)  # raises where a file is missing
        new = replace(found, generation=old.generation + 1)
        commit(directory, old, new, {})
    return new.generation


def clean(path: str | os.PathLike[str], *, older_than: str | float = "1d", keep: int = 2, wait: float = 0.0) -> Cleaned:
    """Remove earlier generations, and the files that no other one needs.

    Parameters
    ----------
    path : path
    older_than : str or float
        Only what was replaced so long ago: ``"1d"``, ``"12h"``, ``"30m"``, or seconds. A reader that has read a
        manifest may not have opened its files yet; readers that have opened them lose nothing.
    keep : int
        Keep so many generations, the newest, however old they are; 1 is that in force alone. Those with tags stay.
    wait : float
        Seconds to wait for another writer to end.
    """
    if isinstance(keep, bool) or keep < 1:
        raise OptionError(f"keep is 1 or more: the generation in force stays; found {keep!r}")
    directory, before = _directory(path), time.time() - seconds(older_than)
    forget()
    with Lock(directory, wait_s=wait):
        kept = kept_names(directory)
        newest = sorted({*kept, Manifest.read(directory).generation})[-keep:]
        # A generation ended when the next manifest was written.
        ends = {at: _written_s(directory, after) for at, after in zip(kept, [*list(kept)[1:], None], strict=False)}
        gone = [at for at in kept if at not in newest and ends[at] <= before]
        for at in gone:
            (directory / kept[at]).unlink()
        fsync_directory(directory)  # before the files go that these named
        others = [*(kept[at] for at in kept if at not in gone), *map(tag_name, tags(directory))]
        removed = remove_unnamed(directory, others, before)
    return Cleaned(len(gone), len(removed), sum(removed))


def remove_unnamed(directory: Path, manifests: Iterable[str], before: float) -> list[int]:
    """Remove files that neither the manifest in force nor other manifests name; return the bytes of each.

    Those stay that were written after a time `before`. The lock is held.
    """
    named = {file for name in (MANIFEST_NAME, *manifests) for file in Manifest.read(directory, name).files}
    removed = []
    for file in directory.iterdir():
        if OWN_FILE.fullmatch(file.name) and file.name not in named:
            found = file.stat()
            if found.st_mtime <= before:
                file.unlink()
                removed.append(found.st_size)
    return removed


def seconds(age: str | float) -> float:
    """Return an age such as "1d" or "12h" in seconds; raises `OptionError` for anything else."""
    if isinstance(age, (int, float)) and not isinstance(age, bool) and age >= 0:
        return float(age)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", age) if isinstance(age, str) else None
    if found is None:
        raise OptionError(f'an age is such as "1d", "12h", "30m", "10s", or seconds; found {age!r}')
    return float(found[1]) * UNITS_S[found[2]]


def _written_s(directory: Path, generation: int | None) -> float:
    name = MANIFEST_NAME if generation is None else kept_name(generation)
    return (directory / name).stat().st_mtime


def _directory(path: str | os.PathLike[str]) -> Path:
    directory = Path(os.path.abspath(local_path(path, "keeping generations")))
    if directory.is_file():
        raise OptionError(f"{directory}: a store of one file has one generation")
    Manifest.read(directory)  # raises where it is no store
    return directory
