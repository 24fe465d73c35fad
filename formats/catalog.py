"""The table of dump formats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vecstore.errors import FormatError, did_you_mean

__all__ = ["FORMATS", "Format", "format_for_export", "format_named", "known_formats"]


@dataclass(frozen=True)
class Format:
    """One dump format.

    Attributes
    ----------
    name : str
        What `open_dump(format=...)` and `--from` take.
    suffixes : tuple of str
        Usual endings of file names. They decide only where content does not.
    description : str
    readable, writable : bool
    library : str or None
        What has to be installed to read or write it.
    """

    name: str
    suffixes: tuple[str, ...]
    description: str
    readable: bool = True
    writable: bool = False
    library: str | None = None


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("npy", (".npy",), "NumPy array (n, d); keys in a file of their own, one a line", writable=True),
        Format("npz", (".npz",), "NumPy archive: an array (n, d) and, if there is one, an array of keys"),
        Format("word2vec", (".vec", ".txt"), "word2vec text: a line 'n d', then 'key x1 ... xd'", writable=True),
        Format("word2vec-binary", (".bin",), "word2vec binary: a line 'n d', then key, space, d float32"),
        Format("glove", (".txt",), "GloVe text: lines 'key x1 ... xd' without a header"),
        Format(
            "parquet",
            (".parquet", ".pq"),
            "Parquet: a column of lists of numbers and a column of keys",
            writable=True,
            library="pyarrow",
        ),
        Format(
            "arrow",
            (".arrow", ".feather", ".arrows", ".ipc"),
            "Arrow IPC file or stream, Feather v2: columns as in Parquet",
            library="pyarrow",
        ),
    )
}


def known_formats() -> str:
    """Return the names, for messages."""
    return ", ".join(FORMATS)


def format_named(name: str) -> Format:
    """Look a format up by its name."""
    try:
        return FORMATS[name]
    except KeyError:
        known = known_formats()
        raise FormatError(f"unknown format {name!r}{did_you_mean(name, FORMATS)}; known: {known}") from None


def format_for_export(path: Path, name: str | None) -> Format:
    """Return the format to write `path` in: the one named, else the one that its suffix stands for."""
    writable = [entry for entry in FORMATS.values() if entry.writable]
    names = ", ".join(entry.name for entry in writable)
    if name is not None:
        entry = format_named(name)
        if not entry.writable:
            raise FormatError(f"format {name!r} can be read but not written; written are: {names}", path=path)
        return entry
    for entry in writable:
        if path.suffix.lower() in entry.suffixes:
            return entry
    endings = ", ".join(suffix for entry in writable for suffix in entry.suffixes)
    raise FormatError(
        f"the name does not tell the format: end it in one of {endings}, or name one of {names}", path=path
    )
