"""Dense vectors of rows, as they are given and as a shard keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.checks import sound_rows
from vecstore.errors import ShapeError
from vecstore.shard.field import Coded

__all__ = ["CodedVectors", "vectors_of"]


@dataclass(frozen=True)
class CodedVectors(Coded):
    """Coded vectors of rows: which rows have one (n,) bool, and the codes of each layer, zeros for those without."""

    there: NDArray[np.bool_]
    codes: tuple[Codes, ...]

    def __len__(self) -> int:
        return len(self.there)

    def take(self, rows: NDArray[np.int64]) -> Self:
        return type(self)(self.there[rows], tuple(codes[rows] for codes in self.codes))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        layers = zip(*(part.codes for part in parts), strict=True)
        return cls(np.concatenate([part.there for part in parts]), tuple(map(np.concatenate, layers)))

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return np.full(len(self), 1 + sum(codes.shape[1] for codes in self.codes))


def vectors_of(given: NDArray[Any], rows: NDArray[np.int64], dimensions: int | None = None) -> Floats:
    """Return rows of an array as checked vectors; raises `ShapeError`, with the number of the row."""
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(given[rows], np.float32)
    if dimensions is not None and x.shape[1] != dimensions:
        raise ShapeError(f"vectors of this field have {dimensions} dimensions, found {x.shape[1]}")
    sound = sound_rows(x)
    if not sound.all():
        raise ShapeError(f"row {rows[np.argmin(sound)]} of a field holds NaN, infinity or a value beyond 1e15")
    return x
