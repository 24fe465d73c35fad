"""The manifest of a sharded store: a directory's list of shards, replaced atomically.

docs/format.md, section 8 (Sharded stores), specifies it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from vecstore.container.document import field, parse, refuse_features, whole
from vecstore.container.part import checksum
from vecstore.errors import CorruptError, FormatError, OptionError, UnsupportedVersionError
from vecstore.remote.urls import Place, open_file
from vecstore.shard.models import model_file

__all__ = ["MANIFEST_NAME", "MOST_SHARDS", "TOMBSTONES", "Manifest", "require_few"]

MANIFEST_NAME = "manifest.json"
MAJOR, MINOR = 1, 0
TOMBSTONES = "tombstones"  # a feature, and the member of a shard's entry that it is about
MODELS = "models"  # a feature, and a member
MEASURED = ("certificate", "calibration")  # members that take the place of those of the shards
KNOWN_FEATURES = frozenset((TOMBSTONES, MODELS))  # what a manifest may require of its reader
MOST_SHARDS = 1 << 16
MOST_BYTES, MOST_VALUES = 1 << 26, 16 * MOST_SHARDS  # of a manifest
READ_BYTES = 1 << 16  # of it at once

_KNOWN = frozenset(
    ("format", "version", "features", "generation", "shards", "key_maps", "collisions", "xxh3", MODELS, *MEASURED)
)
Entries: TypeAlias = tuple[dict[str, Any], ...]

_END = re.compile(rb',\n "xxh3": "[0-9a-f]{16}"\n}\n')  # how every manifest ends
_END_BYTES = 32
_DIGITS_AT = -20  # where the digits of the checksum begin
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.vecs")
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Manifest:
    """What a sharded store consists of.

    Attributes
    ----------
    generation : int
        Grows by one with each replacement.
    shards : tuple of dict
        ``{"file", "rows", "bytes", "fingerprint"}`` in row order; with ``"tombstones"``, a dict of the same members,
        where some of the rows were deleted.
    key_maps : tuple of dict
        ``{"file", "shards": [first, end], "bytes", "fingerprint"}``, in the order of the shards that they cover.
        Shards that none covers are asked one by one.
    collisions : dict
        Key hashes that several shards of one key map hold, with those shards.
    models : tuple of dict
        ``{"file", "bytes", "fingerprint"}`` of the files that hold what shards refer to.
    measured : dict
        What was measured of the store after its conversion, in the place of what shards tell: its ``certificate``, and
        its ``calibration``.
    more : dict
        Members unknown here that a reader may ignore; kept when the manifest is rewritten.
    """

    generation: int
    shards: tuple[dict[str, Any], ...]
    key_maps: tuple[dict[str, Any], ...] = ()
    collisions: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    models: tuple[dict[str, Any], ...] = ()
    measured: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    more: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows live."""
        return sum(entry["rows"] - entry.get(TOMBSTONES, {"rows": 0})["rows"] for entry in self.shards)

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
        return {entry["file"] for entry in self.every}

    @property
    def every(self) -> list[dict[str, Any]]:
        """What it says of each file: shards, key maps, models, deleted rows."""
        return [*self.entries, *self.models, *_tombstones(self.shards)]

    @property
    def features(self) -> list[str]:
        """What it requires of its reader."""
        told = {MODELS: self.models, TOMBSTONES: [*_tombstones(self.shards)]}
        return [feature for feature, used in told.items() if used]

    def write(self, directory: Path) -> None:
        """Replace the manifest of `directory`; afterwards a reader sees the old one or this one, whatever happens."""
        from vecstore.formats.replacement import Replacement  # readers do not need it

        with Replacement(directory / MANIFEST_NAME, force=True) as file:
            file.write(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file that holds this manifest; raises `OptionError` for more shards than would be read."""
        require_few(len(self.shards))
        document = {
            **self.more,
            "format": "vecstore",
            "version": [MAJOR, MINOR],
            "features": self.features,
            "generation": self.generation,
            "shards": list(self.shards),
            "key_maps": list(self.key_maps),
            "collisions": self.collisions,
            **({MODELS: list(self.models)} if self.models else {}),
            **self.measured,
        }
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return _sealed(text.removesuffix("\n}").encode() + b',\n "xxh3": "0000000000000000"\n}\n')

    @classmethod
    def read(cls, directory: Place, name: str = MANIFEST_NAME) -> Manifest:
        """Return the manifest of `directory`, or one that was kept under another name.

        Raises
        ------
        FormatError
            There is none, or it is no manifest of a store.
        CorruptError
            Its checksum does not match, or a member is malformed.
        UnsupportedVersionError
            A newer vecstore wrote it.
        """
        path = directory / name
        try:
            with open_file(path) as file:
                pieces = iter(lambda: file.read(READ_BYTES), b"")  # room for what is there, not for what may be
                body = b"".join(islice(pieces, MOST_BYTES // READ_BYTES))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise FormatError(f"not a vecstore store: a directory without {name}", path=directory) from None
        document = parse(body, path, most_values=MOST_VALUES)
        if document.get("format") != "vecstore":
            raise FormatError("not the manifest of a vecstore store", path=path)
        _require_version(document, path)
        _require_checksum(body, path)
        refuse_features(document, KNOWN_FEATURES, path)
        shards, key_maps, models = (read(document, path) for read in (_shards, _key_maps, _models))
        names = [entry["file"] for entry in (*shards, *key_maps, *models, *_tombstones(shards))]
        if len(set(names)) < len(names):
            raise CorruptError("the manifest names a file twice", path=path)
        return cls(
            whole(document, "generation", path),
            shards,
            key_maps,
            _collisions(document, path),
            models,
            {name: field(document, name, dict, path) for name in MEASURED if name in document},
            {name: value for name, value in document.items() if name not in _KNOWN},
        )


def require_few(shards: int) -> None:
    """Raise `OptionError` where these are more shards than a store has."""
    if shards > MOST_SHARDS:
        raise OptionError(f"{shards:,} shards: a store has at most {MOST_SHARDS:,}; give a larger shard_bytes=")


def _require_version(document: dict[str, Any], path: Place) -> None:
    version = field(document, "version", list, path)
    major = whole({"version": version[0] if version else None}, "version", path, least=1)
    if major > MAJOR:
        raise UnsupportedVersionError(
            "written by a newer vecstore: upgrade this one",
            path=path,
            expected=f"version {MAJOR}.x",
            found=".".join(map(str, version)),
        )


def _require_checksum(body: bytes, path: Place) -> None:
    if not _END.fullmatch(body[-_END_BYTES:]):
        raise CorruptError("the manifest has no checksum at its end: restore it from a copy", path=path)
    if _sealed(body) != body:
        raise CorruptError("the manifest is damaged: restore it from a copy", path=path)


def _sealed(body: bytes) -> bytes:
    """Return the bytes of a manifest with the right digits at its end."""
    before, after = body[:_DIGITS_AT], body[_DIGITS_AT + 16 :]
    return before + f"{checksum(before + b'0' * 16 + after):016x}".encode() + after


def _shards(document: dict[str, Any], path: Place) -> tuple[dict[str, Any], ...]:
    found = _files(document, "shards", path)
    if not 1 <= len(found) <= MOST_SHARDS:
        raise CorruptError(f"the manifest names {len(found)} shards", path=path, expected=f"1 to {MOST_SHARDS}")
    dead = _entries([*_tombstones(found)], TOMBSTONES, path)
    if dead and TOMBSTONES not in document["features"]:
        raise CorruptError("shards: deleted rows without the feature 'tombstones'", path=path)
    for entry in found:
        rows = whole(entry, "rows", path)
        if TOMBSTONES in entry:
            whole(entry[TOMBSTONES], "rows", path, least=1, most=rows)
    return found


def _tombstones(shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what entries say of their deleted rows."""
    return (entry[TOMBSTONES] for entry in shards if TOMBSTONES in entry)


def _key_maps(document: dict[str, Any], path: Place) -> tuple[dict[str, Any], ...]:
    found, end = _files(document, "key_maps", path), 0
    for entry in found:
        edges = dict(zip(("first", "end", "more"), field(entry, "shards", list, path), strict=False))
        first = whole(edges, "first", path, least=end)
        end = whole(edges, "end", path, least=first + 1, most=len(document["shards"]))
        if "more" in edges:
            raise CorruptError("key_maps: member 'shards' has more than two numbers", path=path)
    return found


def _models(document: dict[str, Any], path: Place) -> Entries:
    found = _files(document, MODELS, path) if MODELS in document else ()
    if (MODELS in document["features"]) != bool(found):
        raise CorruptError("the feature and the member 'models' do not agree", path=path)
    for entry in found:
        if entry["file"] != model_file(entry["fingerprint"]):
            raise CorruptError("models: a file that is not named after its fingerprint", path=path)
    return found


def _files(document: dict[str, Any], name: str, path: Place) -> tuple[dict[str, Any], ...]:
    return _entries(field(document, name, list, path), name, path)


def _entries(entries: list[Any], name: str, path: Place) -> Entries:
    for entry in entries:
        if not isinstance(entry, dict) or not _FILE_NAME.fullmatch(field(entry, "file", str, path)):
            raise CorruptError(f"{name}: an entry that names no file of the store's directory", path=path)
        whole(entry, "bytes", path)
        field(entry, "fingerprint", str, path)
    return tuple(entries)


def _collisions(document: dict[str, Any], path: Place) -> dict[str, list[int]]:
    found = field(document, "collisions", dict, path)
    for digits in found:
        if not _HASH.fullmatch(digits):
            raise CorruptError(f"collisions: {digits[:40]!r} is not a hash", path=path)
        for shard in field(found, digits, list, path):
            whole({digits: shard}, digits, path, most=len(document["shards"]) - 1)
    return found
