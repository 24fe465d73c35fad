"""How token vectors are coded: merged, and each by one codec; and what writes their codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.container import ColumnWriter, ContainerWriter
from vecstore.fields.multi.pooling import pooled, pooled_counts
from vecstore.fields.multi.tokens import CodedTokens, Items, as_items
from vecstore.shard.field import FieldRows, FieldWriter, TrainedField
from vecstore.shard.layers import LayerWriter

__all__ = ["MultiWriter", "TokenRows", "TrainedMulti"]

ENCODED_NUMBERS = 1 << 22  # of float32, at once
ID_TYPES = {1: "|u1", 2: "<u2"}  # of the number of a cell, by its bytes


@dataclass(frozen=True, eq=False)
class TrainedMulti(TrainedField):
    """Codes the token vectors of rows.

    Attributes
    ----------
    codec : Codec
        Of one vector.
    pool : int
        How many vectors of an item become one, on average; 1 where all are kept.
    unit : bool
        Vectors have length one, and are scaled to that when they are decoded: what coding did to their lengths is
        undone, which keeps a third of the rows that would else be lost.
    certificate : dict
        What coding costs, as it was measured.
    """

    codec: Codec
    pool: int = 1
    unit: bool = False
    certificate: dict[str, Any] = field(default_factory=dict)

    kind = "multi"

    @property
    def code_bytes(self) -> int:
        """Bytes of a vector: of its code, and of the number of its cell."""
        return self.codec.cell_bytes + self.codec.code_bytes

    def rows(self, given: Any) -> TokenRows:
        return TokenRows(self, as_items(given))

    def empty(self, rows: int) -> CodedTokens:
        return CodedTokens(np.zeros(rows, np.int64), np.empty((0, self.code_bytes), np.uint8))

    def kept(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many vectors are left of so many of each item: (n,)."""
        return pooled_counts(counts, self.pool)

    def encode(self, x: Floats, counts: NDArray[np.int64]) -> CodedTokens:
        """Return items coded: their vectors (T, d), one item behind the other, and how many each has (n,)."""
        x, counts = pooled(x, counts, self.pool)
        return CodedTokens(counts, self.codec.encode(x)) if len(x) else self.empty(len(counts))

    def decode(self, codes: Codes) -> Floats:
        """Return the vectors of codes: (T, d) float32."""
        x = self.codec.decode(codes)
        return unit(x) if self.unit else x

    def writer(self, container: ContainerWriter, prefix: str) -> MultiWriter:
        return MultiWriter(container, prefix, self)

    @property
    def model_bytes(self) -> int:
        return self.codec.model_bytes


class TokenRows(FieldRows):
    """Token vectors of rows as they were given, and what codes them."""

    def __init__(self, trained: TrainedMulti, items: Items, rows: NDArray[np.int64] | None = None) -> None:
        self._trained, self._items = trained, items
        self._rows = np.arange(len(items)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: NDArray[np.int64]) -> TokenRows:
        return TokenRows(self._trained, self._items, self._rows[rows])

    @property
    def items(self) -> Items:
        """What was given: of all rows that these were taken from."""
        return self._items

    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
        """Return the vectors of some of the rows as they were given, (T, d), and how many each has."""
        return self._items.of(self._rows[rows], self._trained.codec.dimensions)

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return self._trained.kept(self._items.counts(self._rows)) * self._trained.code_bytes + 8

    def coded(self) -> CodedTokens:
        parts, done = [self._trained.empty(0)], 0
        ends = np.cumsum(self._items.counts(self._rows)) * self._trained.codec.dimensions
        while done < len(self):  # some items at a time, one at least
            before = int(ends[done - 1]) if done else 0
            stop = max(int(np.searchsorted(ends, before + ENCODED_NUMBERS, side="right")), done + 1)
            parts.append(self._trained.encode(*self._items.of(self._rows[done:stop], self._trained.codec.dimensions)))
            done = stop
        return CodedTokens.joined(parts)


class MultiWriter(FieldWriter):
    """Writes token vectors: codes in the order of rows, where those of each row begin, and the cell of each vector."""

    def __init__(self, container: ContainerWriter, prefix: str, trained: TrainedMulti) -> None:
        self._container, self._prefix, self._trained = container, prefix, trained
        self._codes = LayerWriter(container, f"{prefix}codes.0", trained.codec.layers[0])
        self._starts = ColumnWriter(container, f"{prefix}starts", "<i8")
        self._id_bytes = trained.codec.cell_bytes
        if self._id_bytes:
            self._ids = ColumnWriter(container, f"{prefix}cells", ID_TYPES[self._id_bytes])
        self._vectors = 0

    def add(self, rows: CodedTokens) -> None:
        ends = self._vectors + np.cumsum(rows.counts)
        self._starts.add(ends - rows.counts)
        if self._id_bytes:
            ids = np.ascontiguousarray(rows.codes[:, : self._id_bytes])
            self._ids.add(ids.view(ID_TYPES[self._id_bytes])[:, 0])
        self._codes.add(rows.codes[:, self._id_bytes :])
        self._vectors += len(rows.codes)

    def close(self) -> dict[str, Any]:
        trained = self._trained
        self._starts.add(np.array([self._vectors]))
        self._starts.close()
        self._codes.close()
        if self._id_bytes:
            self._ids.close()
        for name, array in trained.codec.arrays.items():
            self._container.put_array(f"{self._prefix}model.{name}", array)
        spec = trained.codec.spec
        return {
            "vectors": self._vectors,
            "dimensions": trained.codec.dimensions,
            "codec": [layer.to_list() for layer in spec.layers],
            **({} if spec.cells is None else {"cells": spec.cells.to_dict()}),
            "pool": trained.pool,
            "unit": trained.unit,
            "certificate": trained.certificate,
        }
