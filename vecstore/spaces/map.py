"""A linear map between spaces."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError, ShapeError
from vecstore.spaces.turned import turnable, write_mapped, write_turned
from vecstore.store.store import Store

__all__ = ["Map"]

ORTHOGONAL = 1e-4  # how far products of rows may be from those of unit vectors


class Map:
    """A matrix that vectors are multiplied by: ``map(x) = x @ matrix``.

    ``a @ b`` is first a, then b. ``m.T`` is the inverse of an orthogonal one.

    Parameters
    ----------
    matrix : (d, e) array
        From d dimensions to e.

    Examples
    --------
    >>> turn = Map([[0, 1], [-1, 0]])
    >>> turn.map([1, 0]).tolist(), (turn @ turn.T).map([3, 4]).tolist()
    ([0.0, 1.0], [3.0, 4.0])
    """

    def __init__(self, matrix: ArrayLike) -> None:
        self.matrix: Floats = np.array(matrix, np.float32)
        if self.matrix.ndim != 2 or not np.isfinite(self.matrix).all():
            raise ShapeError(f"a map is a (d, e) matrix of finite numbers, found shape {self.matrix.shape}")

    def map(self, x: ArrayLike) -> Floats:
        """Return vectors (..., d) in the other space: (..., e) float32."""
        given = np.asarray(x, np.float32)
        if not given.ndim or given.shape[-1] != len(self.matrix):
            raise ShapeError(f"vectors of {len(self.matrix)} dimensions, found shape {given.shape}")
        return np.asarray(given @ self.matrix)

    def __matmul__(self, other: Map) -> Map:
        if self.matrix.shape[1] != len(other.matrix):
            raise ShapeError(f"a map to {self.matrix.shape[1]} dimensions before one from {len(other.matrix)}")
        return Map(self.matrix.astype(np.float64) @ other.matrix)

    @property
    def T(self) -> Map:
        """The map by the transposed matrix."""
        return Map(self.matrix.T)

    @cached_property
    def orthogonal(self) -> bool:
        """Whether it keeps lengths and angles, so that a search may map the query instead of the rows."""
        d, e = self.matrix.shape
        return d == e and bool(np.abs(self.matrix @ self.matrix.T - np.eye(d)).max() < ORTHOGONAL)

    def convert(self, store: Store, path: str | Path, codec: str | None = None, *, force: bool = False) -> None:
        """Write a store of the mapped vectors, with the same keys.

        The codes of a store of one file without cells are copied as they are where the map is orthogonal and no other
        codec is asked for: the map becomes the first step of the codec, and the mapped vectors are exactly as good.
        Otherwise rows are decoded, mapped, and coded again.

        Parameters
        ----------
        store : Store
        path : path
        codec : str, optional
            Of the new store; by default that of the old one.
        force : bool
            Replace an existing store.
        """
        if store.dimensions != len(self.matrix):
            raise OptionError(f"a map of {len(self.matrix)} dimensions for a store of {store.dimensions}")
        if codec is None and self.orthogonal and turnable(store):
            write_turned(store, self.matrix, path, force=force)
        else:
            write_mapped(store, self.matrix, path, str(store.codec.spec) if codec is None else codec, force=force)

    def __repr__(self) -> str:
        kind = "orthogonal" if self.orthogonal else "linear"
        return f"<Map {self.matrix.shape[0]} -> {self.matrix.shape[1]}, {kind}>"
