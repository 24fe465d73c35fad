"""What stays of earlier generations: tags, going back, and the files that nobody needs any more."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vecstore.editing.bucket import lock_of, put_manifest
from vecstore.editing.commit import OWN_FILE, commit, keep
from vecstore.editing.recent import forget
from vecstore.errors import OptionError
from vecstore.formats.replacement import fsync_directory
from vecstore.remote.heads import HEAD_SUFFIX
from vecstore.remote.urls import Place, place
from vecstore.store.history import kept_name, kept_names, manifest_of, tag_name, tags
from vecstore.store.manifest import MANIFEST_NAME, Manifest
from vecstore.store.opening import open_snapshot

__all__ = ["Cleaned", "clean", "remove_unnamed", "restore", "tag", "untag"]

REMOVALS = 8  # at the same time
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
    with _changing(directory, wait):
        found = manifest_of(directory, generation)
        if not isinstance(directory, Path):
            (directory / target).put(found.to_bytes())
            return found.generation
        names = [MANIFEST_NAME, kept_name(found.generation), *(map(tag_name, tags(directory)))]
        own = (each for each in names if (directory / each).exists())
        keep(directory, target, of=next(n for n in own if Manifest.read(directory, n).generation == found.generation))
    return found.generation


def untag(path: str | os.PathLike[str], name: str, *, wait: float = 0.0) -> None:
    """Remove a tag; raises `OptionError` where there is none. Its generation stays until `clean`."""
    directory = _directory(path)
    with _changing(directory, wait):
        manifest_of(directory, name)
        (directory / tag_name(name)).unlink()


def restore(path: str | os.PathLike[str], generation: int | str, *, wait: float = 0.0) -> int:
    """Make the rows of an earlier generation, by its number or a tag, those in force; return the new generation.

    Nothing is lost: the generations in between stay until `clean`. Raises `OptionError` where there is no such one; in
    a bucket `ConflictError` where another writer was first.
    """
    directory = _directory(path)
    with lock_of(directory, wait):  # the commit makes itself last
        found = manifest_of(directory, generation)
        open_snapshot(directory, check=True, generation=found.generation)  # raises where a file is missing
        if not isinstance(directory, Path):
            return put_manifest(directory, found)
        old = Manifest.read(directory)
        commit(directory, old, replace(found, generation=old.generation + 1), {})
    return old.generation + 1


def clean(path: str | os.PathLike[str], *, older_than: str | float = "1d", keep: int = 2, wait: float = 0.0) -> Cleaned:
    """Remove earlier generations, and the files that no other one needs.

    In a bucket also what commits left that failed. Writers that are at work longer than `older_than` would lose what
    they have uploaded: nothing there keeps others out.

    Parameters
    ----------
    path : path or URL
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
    with _changing(directory, wait):
        kept = kept_names(directory)
        newest = sorted({*kept, Manifest.read(directory).generation})[-keep:]
        # A generation ended when the next manifest was written.
        after = [*(kept[at] for at in list(kept)[1:]), MANIFEST_NAME]
        ends = {at: (directory / name).stat().st_mtime for at, name in zip(kept, after, strict=False)}
        gone = [at for at in kept if at not in newest and ends[at] <= before]
        for at in gone:
            (directory / kept[at]).unlink()
        if isinstance(directory, Path):
            fsync_directory(directory)  # before the files go that these named
        others = [*(kept[at] for at in kept if at not in gone), *map(tag_name, tags(directory))]
        removed = remove_unnamed(directory, others, before)
    return Cleaned(len(gone), len(removed), sum(removed))


def remove_unnamed(directory: Place, manifests: Iterable[str], before: float) -> list[int]:
    """Remove files that neither the manifest in force nor other manifests name; return the bytes of each.

    Those stay that were written after a time `before`. The lock is held.
    """
    named = {file for name in (MANIFEST_NAME, *manifests) for file in Manifest.read(directory, name).files}

    def removed(file: Any) -> int:
        """Return the bytes that are free now, -1 where a file stays."""
        own = file.name.removesuffix(HEAD_SUFFIX)
        if own in named or not OWN_FILE.fullmatch(own):
            return -1
        found = file.stat()
        if found.st_mtime > before:
            return -1
        file.unlink()
        return int(found.st_size)

    with ThreadPoolExecutor(REMOVALS) as pool:
        return [size for size in pool.map(removed, list(directory.iterdir())) if size >= 0]


def seconds(age: str | float) -> float:
    """Return an age such as "1d" or "12h" in seconds; raises `OptionError` for anything else."""
    if isinstance(age, (int, float)) and not isinstance(age, bool) and age >= 0:
        return float(age)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", age) if isinstance(age, str) else None
    if found is None:
        raise OptionError(f'an age is such as "1d", "12h", "30m", "10s", or seconds; found {age!r}')
    return float(found[1]) * UNITS_S[found[2]]


def _directory(path: str | os.PathLike[str]) -> Place:
    given = place(path)
    directory = Path(os.path.abspath(given)) if isinstance(given, Path) else given
    if not directory.is_dir() and directory.exists():
        raise OptionError(f"{directory}: a store of one file has one generation")
    Manifest.read(directory)  # raises where it is no store
    return directory


@contextmanager
def _changing(directory: Place, wait_s: float) -> Iterator[None]:
    """Hold the lock of a store, and make what the block removed and renamed last."""
    with lock_of(directory, wait_s):
        yield
        if isinstance(directory, Path):
            fsync_directory(directory)
