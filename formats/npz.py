"""NumPy archives: which members are the vectors and the keys. Reading them is in `npy`."""

from __future__ import annotations

import zipfile
from pathlib import Path

from vecstore.formats.dump import KeyType
from vecstore.formats.key_column import ArrayKeys, KeyColumn, open_keys
from vecstore.formats.npy import ArrayDump, NpyArray

from vecstore.errors import FormatError, did_you_mean

__all__ = ["open_npz"]

_KEY_NAMES = ("keys", "words", "ids")


def open_npz(path: Path, *, array: str | None, keys: Path | None, key_type: KeyType | None) -> ArrayDump:
    """Open the array of the given name, or the one called "vectors", or the only table of numbers."""
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
    return ArrayDump(vectors, _keys(path, members, keys, key_type), format="npz")


def _only_table(path: Path, members: dict[str, str]) -> NpyArray:
    arrays = {name: NpyArray.open(path, member) for name, member in members.items() if name not in _KEY_NAMES}
    tables = {name: found for name, found in arrays.items() if len(found.shape) == 2 and found.dtype.kind in "fiu"}
    if len(tables) == 1:
        return next(iter(tables.values()))
    shapes = ", ".join(f"{name!r} {found.shape} {found.dtype}" for name, found in (tables or arrays).items())
    which = "more than one array could be" if tables else "no array can be"
    raise FormatError(f"{which} the vectors; name it with array=... (it holds {shapes or 'no arrays'})", path=path)


def _keys(path: Path, members: dict[str, str], keys: Path | None, key_type: KeyType | None) -> KeyColumn | None:
    if keys is not None:
        return open_keys(keys, key_type)
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
