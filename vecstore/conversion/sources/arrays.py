"""Vectors and keys in memory as the dump of a conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import ShapeError
from vecstore.fields.field import sources_of
from vecstore.formats import Batch, Dump
from vecstore.keys.kind import KINDS, key_type_of
from vecstore.shard.attribute_types import as_table

__all__ = ["ArrayDump"]

HASHED_ROWS = 8192


class ArrayDump(Dump):
    """Vectors, keys, columns and fields in memory, read as if they were a dump."""

    def __init__(
        self,
        vectors: ArrayLike,
        keys: Sequence[Any] | NDArray[Any] | None = None,
        columns: Any = None,
        fields: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        given = np.asarray(vectors)
        if given.ndim != 2 or given.dtype.kind not in "fiub":
            raise ShapeError(f"vectors are an (n, d) array of numbers, found shape {given.shape} of {given.dtype}")
        if keys is not None and len(keys) != len(given):
            raise ShapeError(f"{len(keys)} keys for {len(given)} vectors")
        key_type = key_type_of(keys) if keys is not None and len(keys) else None
        super().__init__(Path("array"), format="array", rows=len(given), dimensions=given.shape[1], key_type=key_type)
        self._given = given
        self._keys = None if keys is None or key_type is None else KINDS[key_type].column(keys)
        self._table = None if columns is None else as_table(columns)
        if self._table is not None:
            self.columns = tuple(self._table.column_names)
            if len(self._table) != len(given):
                raise ShapeError(f"columns of {len(self._table)} rows for {len(given)} vectors")
        self.fields = sources_of(fields, len(given), seed=seed)

    @property
    def size_bytes(self) -> int:
        return 4 * self._given.size

    def digest(self) -> str:
        """Return the XXH3 (128 bits) of the vectors as given, row after row, in hexadecimal."""
        digest = xxhash.xxh3_128()
        for start in range(0, len(self._given), HASHED_ROWS):
            digest.update(np.ascontiguousarray(self._given[start : start + HASHED_ROWS]))
        return digest.hexdigest()

    def _batches(self, rows: int) -> Iterator[Batch]:
        for start in range(0, len(self._given), rows):
            with np.errstate(over="ignore"):
                piece = np.array(self._given[start : start + rows], np.float32, order="C")
            stop = start + len(piece)
            keys = None if self._keys is None else self._keys[start:stop]
            fields = {name: source.rows[start:stop] for name, source in self.fields.items()}
            yield Batch(piece, keys, {}, stop / len(self._given), self._columns(start, len(piece)), fields)

    def _columns(self, start: int, rows: int) -> dict[str, Any]:
        if self._table is None:
            return {}
        some = self._table.slice(start, rows)
        return dict(zip(some.column_names, some.columns, strict=True))
