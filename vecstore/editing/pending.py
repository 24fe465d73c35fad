"""Rows of an edit that wait in memory until there are enough for a shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.errors import require
from vecstore.shard.field import Coded

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
        self._columns: list[Any] = []
        self._fields: list[Mapping[str, Coded]] = []
        self._place_of: dict[Any, int] = {}

    def __contains__(self, key: Any) -> bool:
        return key in self._place_of

    def add(self, vectors: Floats, keys: list[Any] | None, columns: Any, fields: Mapping[str, Coded]) -> None:
        """Append rows, `columns` a table of the schema or None; none of the keys is there."""
        for at, key in enumerate(keys or (), start=self.rows):
            self._place_of[key] = at
        self._keyed = keys is not None
        self._vectors.append(vectors)
        self._columns += [] if columns is None else [columns]
        self._fields.append(fields)
        self.rows += len(vectors)

    def remove(self, keys: Iterable[Any]) -> int:
        """Remove the rows of some keys; return how many were there."""
        return sum(self._place_of.pop(key, None) is not None for key in keys)

    def taken(self) -> tuple[Floats, list[Any] | None, Any, dict[str, Coded]]:
        """Return vectors (n, d), keys, a table of columns and fields, and forget them."""
        vectors = np.concatenate(self._vectors) if self._vectors else np.empty((0, self._dimensions), np.float32)
        keys, places = list(self._place_of), list(self._place_of.values())  # a key that came again has moved behind
        columns = None
        if self._columns:
            columns = require("pyarrow", purpose="keeping columns").concat_tables(self._columns)
        first = self._fields[0] if self._fields else {}
        fields = {name: rows.joined([each[name] for each in self._fields]) for name, rows in first.items()}
        self.rows, self._vectors, self._columns, self._fields, self._place_of = 0, [], [], [], {}
        if not self._keyed:
            return vectors, None, columns, fields
        if len(places) == len(vectors):
            return vectors, keys, columns, fields
        columns = None if columns is None else columns.take(places)
        return vectors[places], keys, columns, {name: rows.take(np.array(places)) for name, rows in fields.items()}
