"""The vectors of a dense field, read where they are mapped."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.document import field, whole
from vecstore.errors import CorruptError
from vecstore.fields.coded_reader import CodedReader
from vecstore.fields.dense.encoding import Encoding
from vecstore.fields.dense.rows import CodedVectors
from vecstore.fields.dense.trained import TrainedDense
from vecstore.metric import METRICS, Metric
from vecstore.shard.layers import LayerCodes

__all__ = ["DenseReader"]

CHECKED_NUMBERS = 1 << 20


class DenseReader(CodedReader):
    """The vectors of a shard's field.

    Attributes
    ----------
    dimensions : int
    metric : {"cosine", "dot", "l2"}
    """

    counted = ("missing",)

    @cached_property
    def metric(self) -> Metric:
        found = field(self.about, "metric", str, self._container.path)
        if found not in METRICS:
            raise CorruptError(f"a field scores by {found!r:.40}, which is not known", path=self._container.path)
        return found

    @property
    def path(self) -> str:
        """The file."""
        return self._container.path

    @cached_property
    def likeness(self) -> Hashable:
        told = [field(self.about, "codec", list, self._container.path), self.about.get("muvera")]
        parts = self._container.identity(f"{self.prefix}model.") + self._container.identity(f"{self.prefix}encoding.")
        own = ((name.removeprefix(self.prefix), *rest) for name, *rest in parts)
        return "dense", json.dumps(told, sort_keys=True), self.dimensions, self.metric, *own

    def _refuse(self, codec: Codec) -> None:
        if codec.partition is not None or any(layer.table is not None for layer in codec.layers):
            raise CorruptError(
                "vectors of a field have no cells, nor tables that rows share", path=self._container.path
            )

    @cached_property
    def layers(self) -> tuple[LayerCodes, ...]:
        """The codes, coarse layer first."""
        return tuple(
            LayerCodes(self._container, f"{self.prefix}codes.{number}", layer, self.rows)
            for number, layer in enumerate(self.codec.layers)
        )

    @cached_property
    def missing(self) -> NDArray[np.int64]:
        """The rows that have no vector, rising."""
        path, name = self._container.path, f"{self.prefix}validity"
        count = whole(self.about, "missing", path, most=self.rows)
        if not count:
            return np.empty(0, np.int64)
        bits = np.asarray(self._container.expect(name, "|u1", (-(-self.rows // 8),)).array())
        found = np.flatnonzero(np.unpackbits(bits, count=self.rows, bitorder="little") == 0)
        if len(found) != count:
            raise CorruptError(f"part {name!r} leaves {len(found):,} rows out, not {count:,} as described", path=path)
        return found

    @cached_property
    def of(self) -> str | None:
        """The field of token vectors that is encoded."""
        if self._muvera is None:
            return None
        return field(self._muvera, "of", str, self._container.path)

    @cached_property
    def encoding(self) -> Encoding | None:
        """What makes the vectors of token vectors, and of queries."""
        if self._muvera is None:
            return None
        found = Encoding.read(self._container, f"{self.prefix}encoding.", self._muvera)
        if found.dimensions != self.dimensions:
            raise CorruptError(
                f"encodings of {found.dimensions:,} dimensions",
                path=self._container.path,
                expected=str(self.dimensions),
            )
        return found

    @property
    def _muvera(self) -> dict[str, Any] | None:
        return field(self.about, "muvera", dict, self._container.path) if "muvera" in self.about else None

    @property
    def trained(self) -> TrainedDense:
        found = self.about.get("certificate")
        told = found if isinstance(found, dict) else {}
        return TrainedDense(self.codec, self.metric, self.of, self.encoding, told)

    def items(self, rows: NDArray[np.int64]) -> list[Floats | None]:
        there, x = self._there(rows), self.vectors(rows)
        return [vector if has else None for vector, has in zip(x, there.tolist(), strict=True)]

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows, from the finest layer: (n, d) float32; anything for those that have none."""
        fine = self.layers[-1]
        x = fine.decode(fine.gather(rows), rows)
        return unit(x) if self.metric == "cosine" else x

    def coded(self, rows: NDArray[np.int64]) -> CodedVectors:
        return CodedVectors(self._there(rows), tuple(layer.gather(rows) for layer in self.layers))

    def _there(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return ~np.isin(rows, self.missing)

    def verify(self, *, deep: bool = False) -> None:
        _ = self.missing, self.of, self.encoding, self.metric
        step = max(CHECKED_NUMBERS // self.dimensions, 1) if deep else max(self.rows - 1, 1)
        for layer in self.layers:
            for start in range(0, self.rows, step):
                rows = np.arange(start, min(start + step, self.rows) if deep else start + 1)
                if not np.isfinite(layer.decode(layer.gather(rows), rows)).all():
                    raise CorruptError(
                        "codes stand for no finite vectors: convert the dump again", path=self._container.path
                    )

    def facts(self) -> dict[str, Any]:
        made = {} if self._muvera is None else {"muvera": self._muvera}
        return {
            "dimensions": self.dimensions,
            "metric": self.metric,
            "codec": str(self.codec.spec),
            "missing": len(self.missing),
            **made,
            "certificate": self.trained.certificate or None,
        }

    @cached_property
    def shard(self) -> FieldShard:
        """The field as a search sees a shard."""
        return FieldShard(self)


class FieldShard:
    """What searches read of a shard, of a field: so they scan its codes as those of a shard."""

    # What a field's vectors do not have.
    prefix = code_bytes = norms = order = cells = layer_distances = None
    fixes_lengths = False

    def __init__(self, reader: DenseReader) -> None:
        self.rows, self.dimensions, self.metric = reader.rows, reader.dimensions, reader.metric
        self.codec, self.layers, self.description = reader.codec, reader.layers, reader.about
        self.path = reader.path
        self.bounds: list[tuple[float, float] | None] = [None] * len(self.layers)
        self.vectors = reader.vectors
