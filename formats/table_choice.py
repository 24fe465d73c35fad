"""Which array of several is the vectors, and which the keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vecstore.errors import FormatError, did_you_mean

__all__ = ["KEY_NAMES", "Shaped", "key_array", "left_out", "vector_array"]

KEY_NAMES = ("keys", "words", "ids", "key", "word", "id")
_VECTOR_NAMES = ("vectors", "embeddings", "embedding", "vector", "train", "emb")
_SHOWN = 8


class Shaped(NamedTuple):
    """Shape and type of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def vector_array(arrays: Mapping[str, Shaped], path: Path, named: str | None) -> str:
    """Return the array that is named, else one of a usual name, else the only table of numbers.

    Raises
    ------
    FormatError
        There is none of that name, or which one it is cannot be told.
    """
    if named is not None:
        if named not in arrays:
            known = ", ".join(list(arrays)[:_SHOWN]) or "nothing"
            raise FormatError(f"no array {named!r}{did_you_mean(named, arrays)}; it holds {known}", path=path)
        return named
    tables = [name for name, found in arrays.items() if len(found.shape) == 2 and found.dtype.kind in "fiu"]
    usual = [name for name in _VECTOR_NAMES if name in tables]
    if usual or len(tables) == 1:
        return (usual or tables)[0]
    shown = ", ".join(
        f"{name!r} {tuple(arrays[name].shape)} {arrays[name].dtype}" for name in (tables or list(arrays))[:_SHOWN]
    )
    which = "more than one array could be" if tables else "no array can be"
    raise FormatError(f"{which} the vectors; name it with array=... (it holds {shown or 'no arrays'})", path=path)


def key_array(arrays: Mapping[str, Shaped]) -> str | None:
    """Return the array of keys: one of a usual name with one dimension."""
    return next((name for name in KEY_NAMES if name in arrays and len(arrays[name].shape) == 1), None)


def left_out(arrays: Mapping[str, Shaped], *used: str | None) -> tuple[str, ...]:
    """Return the names of the other arrays."""
    return tuple(name for name in arrays if name not in used)
