"""Dense vectors of rows, as they are given and as a shard keeps them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.checks import sound_rows
from vecstore.errors import ShapeError
from vecstore.fields.multi.trained import TokenRows
from vecstore.shard.field import Coded, FieldRows

if TYPE_CHECKING:
    from vecstore.fields.dense.encoding import Encoding
    from vecstore.fields.dense.trained import TrainedDense

__all__ = ["CodedVectors", "GivenVectors", "TokenVectors", "VectorRows", "vectors_of"]

ENCODED_NUMBERS = 1 << 22  # of float32, at once


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


class VectorRows(FieldRows):
    """Vectors of rows that are not coded yet, and what codes them."""

    def __init__(self, trained: TrainedDense, rows: NDArray[np.int64]) -> None:
        self._trained, self._rows = trained, rows

    @abstractmethod
    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the vectors of rows, as they were given first, and which have one; raises `ShapeError`."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return np.full(len(self), 1 + self._trained.code_bytes)

    def coded(self) -> CodedVectors:
        parts, step = [self._trained.empty(0)], max(ENCODED_NUMBERS // self._trained.codec.dimensions, 1)
        for start in range(0, len(self), step):
            parts.append(self._trained.encode(*self.vectors(self._rows[start : start + step])))
        return CodedVectors.joined(parts)


class GivenVectors(VectorRows):
    """An (n, d) array, which may be mapped."""

    def __init__(self, trained: TrainedDense, given: NDArray[Any], rows: NDArray[np.int64] | None = None) -> None:
        super().__init__(trained, np.arange(len(given)) if rows is None else rows)
        self._given = given

    def take(self, rows: NDArray[np.int64]) -> GivenVectors:
        return GivenVectors(self._trained, self._given, self._rows[rows])

    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        return vectors_of(self._given, rows, self._trained.codec.dimensions), np.ones(len(rows), np.bool_)


class TokenVectors(VectorRows):
    """The encodings of rows' token vectors."""

    def __init__(
        self, trained: TrainedDense, encoding: Encoding, tokens: TokenRows, rows: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(trained, np.arange(len(tokens)) if rows is None else rows)
        self._encoding, self._tokens = encoding, tokens

    def take(self, rows: NDArray[np.int64]) -> TokenVectors:
        return TokenVectors(self._trained, self._encoding, self._tokens, self._rows[rows])

    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        x, counts = self._tokens.vectors(rows)
        return self._encoding.documents(x, counts), counts > 0


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
