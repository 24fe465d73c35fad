"""The generations of a sharded store: manifests that were in force, kept beside the one that is, and those with tags.

A commit keeps the manifest that it replaces as ``manifest-GENERATION.json``, a tag is one more name of a manifest:
``tag-NAME.json``. They are hard links where the file system has these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vecstore.errors import FormatError, OptionError, did_you_mean
from vecstore.remote.urls import Place
from vecstore.store.manifest import MANIFEST_NAME, Manifest

__all__ = ["Version", "kept_name", "kept_names", "manifest_of", "tag_name", "tags", "versions"]

_KEPT = re.compile(r"manifest-(\d{8,})\.json")
_TAG = re.compile(r"tag-([A-Za-z0-9][A-Za-z0-9._-]*)\.json")


@dataclass(frozen=True)
class Version:
    """A generation of a store that can be opened.

    Attributes
    ----------
    generation : int
    rows : int
        Living ones.
    shards : int
    tags : tuple of str
    written_s : float
        When its manifest was written: seconds since 1970, by the clock of the machine that wrote it.
    """

    generation: int
    rows: int
    shards: int
    tags: tuple[str, ...]
    written_s: float


def kept_name(generation: int) -> str:
    """Return the name under which a manifest is kept that is not in force any more."""
    return f"manifest-{generation:08d}.json"


def tag_name(name: str) -> str:
    """Return the name of the manifest with a tag; raises `OptionError` for what cannot be a tag."""
    found = f"tag-{name}.json"
    if not _TAG.fullmatch(found) or name.isdecimal():
        raise OptionError(
            f"a tag is letters, digits, dots, dashes and underscores, and no number by itself; found {name!r}"
        )
    return found


def kept_names(directory: Place) -> dict[int, str]:
    """Return the names of the kept manifests by generation, rising."""
    found = (_KEPT.fullmatch(file.name) for file in directory.iterdir())
    return dict(sorted((int(match[1]), match[0]) for match in found if match))


def tags(directory: Place) -> dict[str, int]:
    """Return the generation of every tag."""
    found = sorted(match[1] for file in directory.iterdir() if (match := _TAG.fullmatch(file.name)))
    return {name: Manifest.read(directory, tag_name(name)).generation for name in found}


def manifest_of(directory: Place, generation: int | str | None = None) -> Manifest:
    """Return the manifest of a generation, by its number or a tag; the one in force by default.

    Raises
    ------
    OptionError
        There is no such generation, or tag.
    FormatError
        As `Manifest.read`.
    """
    if isinstance(generation, str):
        known = tags(directory)
        if generation not in known:
            told = f"tags are {', '.join(known)}" if known else "there are none"
            raise OptionError(f"{directory}: no tag {generation!r}{did_you_mean(generation, known)}; {told}")
        return Manifest.read(directory, tag_name(generation))
    manifest = Manifest.read(directory)
    if generation is None or manifest.generation == generation:
        return manifest
    for name in (
        kept_name(generation),
        *map(tag_name, (tag for tag, at in tags(directory).items() if at == generation)),
    ):
        try:
            return Manifest.read(directory, name)
        except FormatError:
            if (directory / name).exists():
                raise
    kept = [*kept_names(directory), manifest.generation]
    raise OptionError(
        f"{directory}: generation {generation} is not there, or was cleaned away; there are "
        f"{', '.join(map(str, kept[-10:]))}"
    )


def versions(directory: Place) -> list[Version]:
    """Return all generations that can be opened, the oldest first."""
    of_tags = tags(directory)
    names = {at: tag_name(tag) for tag, at in of_tags.items()} | kept_names(directory)
    found = [*_readable(directory, names), (MANIFEST_NAME, Manifest.read(directory))]
    by_generation = {manifest.generation: (name, manifest) for name, manifest in found}
    return [
        Version(
            generation,
            manifest.rows,
            len(manifest.shards),
            tuple(tag for tag, at in of_tags.items() if at == generation),
            (directory / name).stat().st_mtime,
        )
        for generation, (name, manifest) in sorted(by_generation.items())
    ]


def _readable(directory: Place, names: dict[int, str]) -> Iterator[tuple[str, Manifest]]:
    """Yield kept manifests that are still there: one may be cleaned away meanwhile."""
    for name in names.values():
        try:
            yield name, Manifest.read(directory, name)
        except FormatError:
            if (directory / name).exists():
                raise
