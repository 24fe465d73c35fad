"""Many files as one dump: patterns, folders of files, and the folders of tools that write such."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xxhash
from vecstore.formats.dump import Batch, Dump

from vecstore.errors import FormatError

__all__ = ["SeveralDumps", "joined_digest", "matching", "parts_of"]

_MOST_FILES = 100_000


class SeveralDumps(Dump):
    """Dumps of the same width and keys, one behind the other.

    Parameters
    ----------
    path : Path
        What they are called together.
    dumps : list of Dump
    """

    def __init__(self, path: Path, dumps: list[Dump], *, format: str | None = None) -> None:
        first = dumps[0]
        for dump in dumps[1:]:
            for what in ("dimensions", "key_type", "columns"):
                here, there = getattr(first, what), getattr(dump, what)
                if here != there:
                    raise FormatError(
                        f"files that do not belong together: other {what} than in {first.path.name}",
                        path=dump.path,
                        expected=str(here),
                        found=str(there),
                    )
        rows = [dump.rows for dump in dumps]
        super().__init__(
            path,
            format=format or first.format,
            rows=None if None in rows else sum(row or 0 for row in rows),
            dimensions=first.dimensions,
            key_type=first.key_type,
            dtype=first.dtype,
        )
        self.columns = first.columns
        self.left_out = tuple(dict.fromkeys(name for dump in dumps for name in dump.left_out))
        self._dumps = dumps

    @property
    def parts(self) -> Sequence[Dump]:
        """The dumps."""
        return self._dumps

    @property
    def size_bytes(self) -> int:
        """That of all parts."""
        return sum(dump.size_bytes for dump in self._dumps)

    def digest(self) -> str:
        """Return the XXH3 (128 bits) of those of the parts, in hexadecimal."""
        return joined_digest([dump.digest() for dump in self._dumps])

    @property
    def files(self) -> list[Path]:
        """The files that are read, in order."""
        return [file for dump in self._dumps for file in dump.files]

    def _batches(self, rows: int) -> Iterator[Batch]:
        total = max(self.size_bytes, 1)
        before = 0
        for dump in self._dumps:
            size = dump.size_bytes
            for batch in dump.batches(rows):
                yield replace(batch, fraction_read=(before + batch.fraction_read * size) / total)
            before += size


def joined_digest(digests: Sequence[str]) -> str:
    """Return the digest of a dump whose parts have these; of one part its own."""
    return digests[0] if len(digests) == 1 else xxhash.xxh3_128("".join(digests).encode()).hexdigest()


def matching(path: Path) -> list[Path]:
    """Return the files that a pattern such as ``part-*.parquet`` stands for, sorted by name; none for a plain path."""
    text = str(path)
    if path.exists() or not any(mark in text for mark in "*?["):
        return []
    at = next(number for number, part in enumerate(path.parts) if any(mark in part for mark in "*?["))
    folder = Path(*path.parts[:at])
    found = sorted(file for file in folder.glob(str(Path(*path.parts[at:]))) if _counts(file))
    if not found:
        raise FormatError("no file matches; check the pattern", path=path)
    return _few(found, path)


def parts_of(folder: Path) -> list[Path]:
    """Return the files of a folder that are its parts, sorted by name: the data files that its own description names.

    Folders of Hugging Face datasets (``state.json``) and of vector-io (``VDF_META.json``) name them; of others all
    files count but hidden ones.
    """
    if not folder.is_dir():
        raise FormatError("is no folder", path=folder)
    if (folder / "state.json").is_file():
        entries = _json(folder / "state.json", "_data_files")
        return [_inside(folder, entry.get("filename") if isinstance(entry, dict) else None) for entry in entries]
    if (folder / "VDF_META.json").is_file():
        return _few(sorted(folder.rglob("*.parquet")), folder)
    found = [file for file in sorted(folder.iterdir()) if _counts(file) and not file.name.startswith((".", "_"))]
    return _few(found, folder)


def _counts(file: Path) -> bool:
    """Return whether this is a file, or a link to one that is not there: who leaves that out loses rows in silence."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def _json(path: Path, name: str) -> list[Any]:
    try:
        found = json.loads(path.read_bytes()[: 64 << 20])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is not JSON: {str(error)[:80]}", path=path) from None
    inner = found.get(name) if isinstance(found, dict) else None
    if not isinstance(inner, list) or not inner:
        raise FormatError(f"names no {name}", path=path)
    return inner


def _inside(folder: Path, name: Any) -> Path:
    """Return a file that a description names; it has to lie in its folder."""
    if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
        raise FormatError("names a file that is not beside it", path=folder, found=repr(name)[:60])
    return folder / name


def _few(found: list[Path], path: Path) -> list[Path]:
    if len(found) > _MOST_FILES:
        raise FormatError(f"has more than {_MOST_FILES:,} files", path=path)
    return found
