"""Token vectors of rows, as they are given and as a shard keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.checks import as_vectors, sound_rows
from vecstore.errors import ShapeError
from vecstore.fields.runs import spread, starts_of
from vecstore.shard.field import Coded

__all__ = ["CodedTokens", "Items", "as_items"]


class Items:
    """The token vectors of items: one array an item, or all in one array with their counts.

    Parameters
    ----------
    arrays : sequence of n (t, d) arrays, or a (T, d) array where `starts` are given
    starts : (n + 1,) int64, optional
    """

    def __init__(self, arrays: Any, starts: NDArray[np.int64] | None = None) -> None:
        self._arrays, self._starts = arrays, starts

    def __len__(self) -> int:
        return len(self._arrays) if self._starts is None else len(self._starts) - 1

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many vectors these items have: (n,)."""
        if self._starts is not None:
            return self._starts[rows + 1] - self._starts[rows]
        return np.fromiter((len(self._arrays[row]) for row in rows.tolist()), np.int64, len(rows))

    def of(self, rows: NDArray[np.int64], dimensions: int | None = None) -> tuple[Floats, NDArray[np.int64]]:
        """Return the vectors of items one behind the other, (T, d) float32, and how many each has.

        Raises `ShapeError`, with the number of the item, for vectors of another width, NaN or infinity.
        """
        each = [_plain(self._item(row)) for row in rows.tolist()]
        width = dimensions or next((one.shape[1] for one in each if one.ndim == 2 and len(one)), 0)
        for row, one in zip(rows.tolist(), each, strict=True):
            if len(one) and (one.ndim != 2 or one.shape[1] != width or one.dtype.kind not in "fiub"):
                raise ShapeError(
                    f"item {row}: token vectors are a (t, {width or 'd'}) array of numbers, found {one.shape} of "
                    f"{one.dtype}"
                )
        counts = np.array([len(one) for one in each], np.int64)
        x = np.empty((int(counts.sum()), width), np.float32)
        if len(x):
            with np.errstate(over="ignore"):
                np.concatenate([one for one in each if len(one)], out=x, casting="unsafe")
        sound = sound_rows(x)
        if not sound.all():
            item = int(np.searchsorted(np.cumsum(counts), int(np.flatnonzero(~sound)[0]), side="right"))
            raise ShapeError(f"item {int(rows[item])}: token vectors hold NaN, infinity or a value beyond 1e15")
        return x, counts

    def _item(self, row: int) -> Any:
        if self._starts is None:
            return self._arrays[row]
        return self._arrays[int(self._starts[row]) : int(self._starts[row + 1])]


def as_items(given: Any, counts: Any = None) -> Items:
    """Return what models give as items.

    Parameters
    ----------
    given : sequence of n (t, d) arrays or tensors, an (n, t, d) array, or with `counts` a (T, d) array

    Raises
    ------
    ShapeError
        Something else.
    """
    if isinstance(given, Items):
        return given
    if counts is not None:
        number = np.asarray(counts)
        flat = given if isinstance(given, np.ndarray) else as_vectors(_plain(given))
        fits = flat.ndim == 2 and number.ndim == 1 and number.dtype.kind in "iu" and not (number < 0).any()
        if not fits or int(number.sum()) != len(flat):
            raise ShapeError(
                f"counts= are n whole numbers that sum to the vectors of a (T, d) array; found {number.shape} for "
                f"{flat.shape}"
            )
        return Items(flat, starts_of(number.astype(np.int64)))
    shape = getattr(given, "shape", None)
    if (
        isinstance(given, (str, bytes, dict))
        or not hasattr(given, "__len__")
        or (shape is not None and len(shape) != 3)
    ):
        raise ShapeError(
            "token vectors are a list of (t, d) arrays, one a row, or an (n, t, d) array; found "
            f"{type(given).__name__}{'' if shape is None else f' of shape {tuple(shape)}'}"
        )
    return Items(given)


def _plain(given: Any) -> NDArray[Any]:
    """Return an array of what may be a tensor on a device, of a type that numpy lacks."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    try:
        return np.asarray(given)
    except ValueError:
        raise ShapeError("token vectors of an item must all have the same length") from None


@dataclass(frozen=True)
class CodedTokens(Coded):
    """Token vectors of rows, coded: how many each has (n,), and all codes (T, bytes), one behind the other.

    With cells a code begins with the number of its cell, as `Codec.encode` gives it.
    """

    counts: NDArray[np.int64]
    codes: Codes

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, rows: NDArray[np.int64]) -> Self:
        starts = starts_of(self.counts)
        return type(self)(self.counts[rows], self.codes[spread(starts[rows], self.counts[rows])])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(np.concatenate([part.counts for part in parts]), np.concatenate([part.codes for part in parts]))

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return self.counts * self.codes.shape[1] + 8
