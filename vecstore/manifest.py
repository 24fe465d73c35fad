"""The manifest of a sharded store: a directory's list of shards, replaced atomically.

docs/format.md, section 6, specifies it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vecstore.errors import CorruptError, FormatError, UnsupportedVersionError
from vecstore.part import checksum

__all__ = ["MANIFEST_NAME", "Manifest", "fsync_directory", "replace_file"]

MANIFEST_NAME = "manifest.json"
MAJOR, MINOR = 1, 0
_CHECKSUM = re.compile(rb'"xxh3": "([0-9a-f]{16})"')
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.vecs")


@dataclass(frozen=True)
class Manifest:
    """What a sharded store consists of.

    Attributes
    ----------
    generation : int
        Grows by one with each replacement.
    shards : tuple of dict
        ``{"file", "rows", "bytes"}`` in row order.
    key_maps : tuple of dict
        ``{"file", "shards": [first, end], "bytes"}``.
    collisions : dict
        Key hashes that several shards hold, with those shards.
    more : dict
        Members unknown here that a reader may ignore; kept when the manifest is rewritten.
    """

    generation: int
    shards: tuple[dict[str, Any], ...]
    key_maps: tuple[dict[str, Any], ...] = ()
    collisions: dict[str, list[int]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All shards, then all key maps."""
        return [*self.shards, *self.key_maps]

    def renumbered(self, old: Manifest) -> Manifest:
        """Return this manifest as the successor of `old`, with file names that the other does not use."""
        generation = old.generation + 1
        shards = [entry | {"file": f"shard-{generation:05d}-{i:05d}.vecs"} for i, entry in enumerate(self.shards)]
        maps = [entry | {"file": f"keys-{generation:05d}-{i:05d}.vecs"} for i, entry in enumerate(self.key_maps)]
        return replace(self, generation=generation, shards=tuple(shards), key_maps=tuple(maps))

    @property
    def files(self) -> set[str]:
        """Names of all files that belong to the store beside the manifest."""
        return {entry["file"] for entry in self.entries}

    def write(self, directory: Path) -> None:
        """Replace the manifest of `directory`; afterwards a reader sees the old one or this one, whatever happens."""
        document = {
            **self.more,
            "format": "vecstore",
            "version": [MAJOR, MINOR],
            "features": [],
            "generation": self.generation,
            "shards": list(self.shards),
            "key_maps": list(self.key_maps),
            "collisions": self.collisions,
            "xxh3": "0" * 16,
        }
        body = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
        at = _checksum_place(body)
        body = body[:at] + f"{checksum(body):016x}".encode() + body[at + 16 :]
        replace_file(directory / MANIFEST_NAME, body)

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Return the manifest of `directory`.

        Raises
        ------
        FormatError
            There is none, or it is no manifest of a store.
        CorruptError
            Its checksum does not match.
        UnsupportedVersionError
            A newer vecstore wrote it.
        """
        path = directory / MANIFEST_NAME
        try:
            body = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise FormatError("not a vecstore store: a directory without manifest.json", path=directory) from None
        try:
            document = json.loads(body)
        except ValueError:
            raise CorruptError("the manifest is not JSON: restore it from a copy", path=path) from None
        if not isinstance(document, dict) or document.get("format") != "vecstore":
            raise FormatError("not the manifest of a vecstore store", path=path)
        version = document.get("version")
        if isinstance(version, list) and version and isinstance(version[0], int) and version[0] > MAJOR:
            raise UnsupportedVersionError(
                "written by a newer vecstore: upgrade this one (pip install -U vecstore)",
                path=path,
                expected=f"version {MAJOR}.x",
                found=".".join(map(str, version)),
            )
        cls._check(body, path)
        known = {"format", "version", "features", "generation", "shards", "key_maps", "collisions", "xxh3"}
        if document["features"]:
            raise UnsupportedVersionError(
                f"needs {', '.join(document['features'])}, unknown to this vecstore: upgrade it", path=path
            )
        found = cls(
            document["generation"],
            tuple(document["shards"]),
            tuple(document["key_maps"]),
            document["collisions"],
            {name: value for name, value in document.items() if name not in known},
        )
        if not found.shards or not all(_FILE_NAME.fullmatch(name) for name in found.files):
            raise FormatError("the manifest names no shards, or files outside its directory", path=path)
        return found

    @staticmethod
    def _check(body: bytes, path: Path) -> None:
        try:
            at = _checksum_place(body)
        except ValueError:
            raise CorruptError("the manifest has no checksum: restore it from a copy", path=path) from None
        if f"{checksum(body[:at] + b'0' * 16 + body[at + 16 :]):016x}".encode() != body[at : at + 16]:
            raise CorruptError("the manifest is damaged: restore it from a copy", path=path)


def _checksum_place(body: bytes) -> int:
    """Return where the digits of the checksum begin: the last member so called."""
    found = [match.start(1) for match in _CHECKSUM.finditer(body)]
    if not found:
        raise ValueError
    return found[-1]


def replace_file(path: Path, body: bytes) -> None:
    """Give the file at `path` new content in one step: write beside it, fsync, rename, fsync the directory."""
    beside = path.with_name(f".{path.name}.partial")
    with open(beside, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    fsync_directory(path.parent)


def fsync_directory(directory: Path) -> None:
    """Make renames in `directory` durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
