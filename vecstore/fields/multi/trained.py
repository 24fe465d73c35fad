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
from vecstore.fields.multi.tokens import CodedTokens, TokenRows, as_items
from vecstore.shard.field import FieldWriter, TrainedField
from vecstore.shard.layers import LayerWriter

__all__ = ["MultiWriter", "TrainedMulti"]


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

    def rows(self, given: Any) -> TokenRows:
        return TokenRows(self, as_items(given))

    def empty(self, rows: int) -> CodedTokens:
        return CodedTokens(np.zeros(rows, np.int64), np.empty((0, self.codec.code_bytes), np.uint8))

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


class MultiWriter(FieldWriter):
    """Writes token vectors: codes in the order of rows, and where those of each row begin."""

    def __init__(self, container: ContainerWriter, prefix: str, trained: TrainedMulti) -> None:
        self._container, self._prefix, self._trained = container, prefix, trained
        self._codes = LayerWriter(container, f"{prefix}codes.0", trained.codec.layers[0])
        self._starts = ColumnWriter(container, f"{prefix}starts", "<i8")
        self._vectors = 0

    def add(self, rows: CodedTokens) -> None:
        ends = self._vectors + np.cumsum(rows.counts)
        self._starts.add(ends - rows.counts)
        self._codes.add(rows.codes)
        self._vectors += len(rows.codes)

    def close(self) -> dict[str, Any]:
        trained = self._trained
        self._starts.add(np.array([self._vectors]))
        self._starts.close()
        self._codes.close()
        for name, array in trained.codec.arrays.items():
            self._container.put_array(f"{self._prefix}model.{name}", array)
        return {
            "vectors": self._vectors,
            "dimensions": trained.codec.dimensions,
            "codec": trained.codec.spec.to_dict(),
            "pool": trained.pool,
            "unit": trained.unit,
            "certificate": trained.certificate,
        }
