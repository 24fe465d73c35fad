"""Attributes of keys, such as how often a word came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Attributes"]


class Attributes(dict[str, NDArray[Any]]):
    """An array for each attribute, with a value for each position."""

    def allocate(self, name: str, kind: Any, rows: int) -> NDArray[Any]:
        """Return the array of an attribute, made or made longer if need be.

        Raises `TypeError`, as gensim does, for values of another type than it has.
        """
        kind = np.dtype(np.int64 if kind is int else object if kind is str else kind)
        if name not in self:
            self[name] = np.zeros(rows, kind)
        held = self[name]
        if not np.issubdtype(kind, held.dtype):
            raise TypeError(f"attribute {name!r} holds {held.dtype}, and {kind} is none")
        if len(held) != rows:
            self[name] = np.zeros(rows, held.dtype)
            self[name][: len(held)] = held[:rows]
        return self[name]

    def resize(self, rows: int) -> None:
        """Let every array have so many values."""
        for name, held in list(self.items()):
            self.allocate(name, held.dtype, rows)
