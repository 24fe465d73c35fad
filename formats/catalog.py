"""The formats of dumps: those of this package, and those that others bring under the entry-point group."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from vecstore.formats import (
    arrow_tables,
    columnar,
    delimited,
    faiss_index,
    fasttext_quantized,
    finalfusion,
    folders,
    gensim_native,
    hdf5,
    indexes,
    jsonl,
    npy,
    npz,
    postgres,
    sqlite_tables,
    static_model,
    tables,
    tensors,
    text,
    vecs,
    word2vec,
    zarr_folder,
)
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head

from vecstore.errors import FormatError, did_you_mean

__all__ = ["FOLDER", "FORMATS", "all_formats", "format_for_export", "format_named", "identify", "known_formats"]

_FAMILIES = (
    npy,
    npz,
    text,
    word2vec,
    columnar,
    vecs,
    hdf5,
    tensors,
    zarr_folder,
    delimited,
    jsonl,
    finalfusion,
    gensim_native,
    sqlite_tables,
    postgres,
    arrow_tables,
    faiss_index,
    indexes,
    folders,
    static_model,
    tables,
    fasttext_quantized,  # behind tables, which has the same beginning
)

FORMATS: dict[str, Format] = {entry.name: entry for family in _FAMILIES for entry in family.FORMATS}


FOLDER = Format("folder", (), "a folder of files of one kind")  # not in the table: it is what its files are


@cache
def all_formats() -> dict[str, Format]:
    """Return the formats by name: of this package, then those under the entry-point group ``vecstore.formats``."""
    from importlib.metadata import entry_points

    found = dict(FORMATS)
    for point in entry_points(group="vecstore.formats"):
        entry = point.load()
        if not isinstance(entry, Format):
            raise FormatError(f"format {point.name!r} is not a vecstore.formats.Format; its package is at fault")
        found.setdefault(entry.name, entry)
    return found


def known_formats() -> str:
    """Return the names, for messages."""
    return ", ".join(all_formats())


def format_named(name: str) -> Format:
    """Look a format up by its name."""
    found = FORMATS.get(name) or all_formats().get(name)
    if found is None:
        known = known_formats()
        raise FormatError(f"unknown format {name!r}{did_you_mean(name, all_formats())}; known: {known}")
    return found


def identify(head: Head) -> Format:
    """Return the format of a file or folder by its content; the suffix only breaks ties.

    Formats of other packages are asked only where none of this one is sure.
    """
    known = _likeliest(head, FORMATS) or _likeliest(head, all_formats())
    return known or (FOLDER if _has_files(head) and not head.is_store else _unknown(head))


def _has_files(head: Head) -> bool:
    return any((head.path / name).is_file() for name in head.names if not name.startswith((".", "_")))


def _likeliest(head: Head, formats: dict[str, Format]) -> Format | None:
    suffix = head.suffix
    named = [entry for entry in formats.values() if suffix in entry.suffixes]
    for entry in named:
        if entry.sniff(head) == SURE:  # so that the others need not be asked
            return entry
    asked = [(entry.sniff(head), entry in named, entry) for entry in formats.values()]
    best = max(asked, key=lambda found: found[:2])
    return best[2] if best[0] > 0 else None


def _unknown(head: Head) -> Format:
    if head.is_store:
        raise FormatError(
            "is a store, or a file of one, and no dump: export it first, or give store.vectors and list(store) to "
            "vecstore.write",
            path=head.path,
        )
    raise FormatError(f"no known dump format: {head.looks()}; name one with format=: {known_formats()}", path=head.path)


def format_for_export(path: Path, name: str | None) -> Format:
    """Return the format to write `path` in: the one named, else the one that its suffix stands for."""
    writable = [entry for entry in all_formats().values() if entry.writable]
    names = ", ".join(entry.name for entry in writable)
    if name is not None:
        entry = format_named(name)
        if not entry.writable:
            raise FormatError(f"format {name!r} can be read but not written; written are: {names}", path=path)
        return entry
    for entry in writable:
        if path.suffix.lower() in entry.suffixes:
            return entry
    endings = ", ".join(dict.fromkeys(suffix for entry in writable for suffix in entry.suffixes))
    raise FormatError(
        f"the name does not tell the format: end it in one of {endings}, or name one of {names}", path=path
    )
