"""Rows of an edit that wait in memory until there are enough for a shard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats

__all__ = ["Pending"]


class Pending:
    """Rows that were added and not removed again, in the order in which they came.

    Attributes
    ----------
    rows : int
        How many were added since they were taken.
    """

    def __init__(self, dimensions: int) -> None:
        self._dimensions, self.rows, self._keyed = dimensions, 0, False
        self._vectors: list[Floats] = []
        self._place_of: dict[Any, int] = {}

    def __contains__(self, key: Any) -> bool:
        return key in self._place_of

    def add(self, vectors: Floats, keys: list[Any] | None) -> None:
        """Append rows; none of the keys is there."""
        for at, key in enumerate(keys or (), start=self.rows):
            self._place_of[key] = at
        self._keyed = keys is not None
        self._vectors.append(vectors)
        self.rows += len(vectors)

    def remove(self, keys: Iterable[Any]) -> int:
        """Remove the rows of some keys; return how many were there."""
        return sum(self._place_of.pop(key, None) is not None for key in keys)

    def taken(self) -> tuple[Floats, list[Any] | None]:
        """Return vectors (n, d) and keys, and forget them."""
        vectors = np.concatenate(self._vectors) if self._vectors else np.empty((0, self._dimensions), np.float32)
        keys, places = list(self._place_of), list(self._place_of.values())  # a key that came again has moved behind
        self.rows, self._vectors, self._place_of = 0, [], {}
        if not self._keyed:
            return vectors, None
        return (vectors if len(places) == len(vectors) else vectors[places]), keys
