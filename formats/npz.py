"""NumPy archives: which members are the vectors and the keys. Reading them is in `npy`."""

from __future__ import annotations

import zipfile
from pathlib import Path

from vecstore.formats.array_dump import ArrayDump
from vecstore.formats.array_keys import ArrayKeys, open_keys
from vecstore.formats.dump import Dump, KeyType
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.key_column import KeyColumn
from vecstore.formats.key_spool import KeySpool
from vecstore.formats.npy_array import NpyArray, write_npy
from vecstore.formats.reading import ReadingOptions

from vecstore.errors import FormatError, did_you_mean

__all__ = ["FORMATS", "zip_names"]

_KEY_NAMES = ("keys", "words", "ids")


def _sniff(head: Head) -> float:
    return 0.9 if any(name.endswith(".npy") for name in zip_names(head)) else 0.0


def _open(head: Head, options: ReadingOptions) -> Dump:
    """Open the array of the given name, or the one called "vectors", or the only table of numbers."""
    path, array = head.path, options.get("array")
    members = _members(path)
    if array is not None:
        if array not in members:
            raise FormatError(
                f"no array {array!r}{did_you_mean(array, members)}; it holds {', '.join(members)}", path=path
            )
        vectors = NpyArray.open(path, members[array])
    elif "vectors" in members:
        vectors = NpyArray.open(path, members["vectors"])
    else:
        vectors = _only_table(path, members)
    keys = open_keys(options) or _own_keys(path, members, options.get("key_type"))
    dump = ArrayDump(vectors, keys, format="npz")
    used = {vectors.member, *([] if keys is None else _KEY_NAMES)}
    dump.left_out = tuple(name for name, member in members.items() if member not in used and name not in used)
    return dump


def _only_table(path: Path, members: dict[str, str]) -> NpyArray:
    arrays = {name: NpyArray.open(path, member) for name, member in members.items() if name not in _KEY_NAMES}
    tables = {name: found for name, found in arrays.items() if len(found.shape) == 2 and found.dtype.kind in "fiu"}
    if len(tables) == 1:
        return next(iter(tables.values()))
    shapes = ", ".join(f"{name!r} {found.shape} {found.dtype}" for name, found in (tables or arrays).items())
    which = "more than one array could be" if tables else "no array can be"
    raise FormatError(f"{which} the vectors; name it with array=... (it holds {shapes or 'no arrays'})", path=path)


def _own_keys(path: Path, members: dict[str, str], key_type: KeyType | None) -> KeyColumn | None:
    name = next((name for name in _KEY_NAMES if name in members), None)
    return None if name is None else ArrayKeys(NpyArray.open(path, members[name]), key_type)


def _members(path: Path) -> dict[str, str]:
    """Return array name -> member of the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise FormatError(f"the zip archive is truncated or damaged ({error}); fetch it again", path=path) from error
    if any(entry.flag_bits & 1 for entry in entries):
        raise FormatError("the zip archive is encrypted; extract it first", path=path)
    names = [entry.filename for entry in entries if entry.filename.endswith(".npy")]
    if len(set(names)) < len(names):
        raise FormatError("holds an array of the same name twice; write it again", path=path)
    return {name.removesuffix(".npy"): name for name in names}


def zip_names(head: Head) -> list[str]:
    """Return the names in a zip archive; none for another file, or a damaged one."""
    if not head.data.startswith((b"PK\x03\x04", b"PK\x05\x06")) or head.compression:
        return []
    try:
        with zipfile.ZipFile(head.path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return ["damaged.npy"]  # opening it says what is wrong


def _write(output: Output) -> None:
    with output.file() as file, zipfile.ZipFile(file, "w") as archive, KeySpool(output) as keys:
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            blocks = (keys.taken(own, vectors) for own, vectors in output.pairs)
            write_npy(member, blocks, shape=(output.rows, output.dimensions), dtype="<f4")
        if output.key_type is not None:
            with archive.open("keys.npy", "w", force_zip64=True) as member:
                write_npy(member, keys.blocks(), shape=(output.rows,), dtype=keys.dtype)


FORMATS = (
    Format(
        "npz",
        (".npz",),
        "NumPy archive: an array (n, d) and, if there is one, an array of keys",
        open=_open,
        sniff=_sniff,
        write=_write,
        options=("keys", "array"),
    ),
)
