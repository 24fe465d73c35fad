"""What vectors, queries and seeds must be, checked where they come in."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError, ShapeError

__all__ = ["LARGEST", "as_array", "as_queries", "as_vectors", "check_seed", "sound_rows"]

LARGEST = 1e15  # up to here squares of values, summed over dimensions and rows, stay far inside float32


def as_vectors(x: ArrayLike, dimensions: int | None = None) -> Floats:
    """Return `x` as (n, d) float32 or raise `ShapeError`: wrong shape, not numbers, NaN or infinity."""
    if isinstance(x, (str, PathLike)):
        raise ShapeError(f"vectors are an (n, d) array of numbers, found the name {str(x)!r}; read the file first")
    given = as_array(x)
    if given.ndim != 2 or given.dtype.kind not in "fiub":
        raise ShapeError(f"vectors are an (n, d) array of numbers, found shape {given.shape} of {given.dtype}")
    if given.shape[1] == 0 or (dimensions is not None and given.shape[1] != dimensions):
        raise ShapeError(f"vectors have {dimensions or 'one or more'} dimensions here, found {given.shape[1]}")
    if given.dtype == np.float32:
        vectors = np.ascontiguousarray(given)
    else:
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(given, np.float32)
    if not _sound(vectors) and not (sound := sound_rows(vectors)).all():
        row = int(np.flatnonzero(~sound)[0])
        if np.isfinite(vectors[row]).all():
            raise ShapeError(f"row {row} holds a value beyond {LARGEST:g}; scale the vectors")
        raise ShapeError(f"row {row} holds NaN or infinity (or a value beyond float32)")
    return vectors


def as_array(x: ArrayLike) -> NDArray[Any]:
    """Return `x` as an array or raise `ShapeError`: vectors of several lengths."""
    try:
        return np.asarray(x)
    except ValueError:
        raise ShapeError("vectors must all have the same length") from None


def as_queries(queries: ArrayLike, dimensions: int) -> Floats:
    """Return queries to measure with as (q, d) float32, or raise `ShapeError`: as vectors, and at least one."""
    try:
        found = as_vectors(queries, dimensions)
    except ShapeError as error:
        raise ShapeError(f"queries=: {error}") from None
    if not len(found):
        raise ShapeError("queries=: there are none; leave it out to measure with held-out rows alone")
    return found


def check_seed(seed: int) -> None:
    """Raise `OptionError` for what is no seed."""
    if not 0 <= seed < 2**31:
        raise OptionError(f"a seed is a number from 0 to 2**31 - 1, found {seed!r}")


def sound_rows(x: Floats) -> NDArray[np.bool_]:
    """Return which rows hold numbers from -LARGEST to LARGEST only: no NaN, no infinity, no overflow later: (n,)."""
    if _sound(x):
        return np.ones(len(x), bool)
    return np.asarray((np.abs(x) <= LARGEST).all(axis=1))


def _sound(x: Floats) -> bool:
    """Return whether all rows are seen to be sound at once; a few large values hide that."""
    if not x.flags.c_contiguous:
        return False
    numbers = x.reshape(-1)
    squares = float(np.einsum("i,i->", numbers, numbers))  # not a BLAS, whose threads go on turning afterwards
    return squares <= LARGEST**2 / 2  # not where there is a NaN; half, as sums are rounded
