"""Token vectors of a shard, read where they are mapped."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.packing import number_bytes
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.document import field, whole
from vecstore.errors import CorruptError
from vecstore.fields.coded_reader import CodedReader
from vecstore.fields.multi.tokens import CodedTokens
from vecstore.fields.multi.trained import ID_TYPES, TrainedMulti
from vecstore.fields.runs import spread
from vecstore.shard.cells import CellIds
from vecstore.shard.layers import LayerCodes

__all__ = ["MultiReader"]

MOST_VECTORS = 1 << 32
MOST_POOL = 1 << 16
CHECKED_ROWS = 1024


class MultiReader(CodedReader):
    """The token vectors of a shard.

    Attributes
    ----------
    vectors, dimensions : int
        How many there are, and how wide they are.
    """

    counted = ("vectors",)

    @cached_property
    def vectors(self) -> int:
        return whole(self.about, "vectors", self._container.path, most=MOST_VECTORS)

    @cached_property
    def likeness(self) -> Hashable:
        codec = field(self.about, "codec", list, self._container.path)
        told = json.dumps([codec, self.about.get("cells"), self._pool, self.unit])
        model = self._container.identity(f"{self.prefix}model.")
        return "multi", told, self.dimensions, *((name.removeprefix(self.prefix), *own) for name, *own in model)

    @property
    def unit(self) -> bool:
        """Whether vectors are scaled to length one when they are decoded."""
        return "unit" in self.about and field(self.about, "unit", bool, self._container.path)

    @property
    def _pool(self) -> int:
        return whole(self.about, "pool", self._container.path, least=1, most=MOST_POOL)

    def _refuse(self, codec: Codec) -> None:
        if len(codec.layers) > 1 or codec.by_key or codec.layers[0].table is not None:
            raise CorruptError("token vectors have one layer, and no tables that rows share", path=self._container.path)

    @cached_property
    def codes(self) -> LayerCodes:
        """The codes of all vectors."""
        return LayerCodes(self._container, f"{self.prefix}codes.0", self.codec.layers[0], self.vectors, self.cells)

    @cached_property
    def cells(self) -> CellIds | None:
        """The cell of each vector; None where the codec has none."""
        partition = self.codec.partition
        if partition is None:
            return None
        name, width = f"{self.prefix}cells", self.codec.cell_bytes
        ids = np.asarray(self._container.expect(name, ID_TYPES[width], (self.vectors,)).array())
        if int(ids.max(initial=0)) >= partition.count:
            raise CorruptError(
                f"part {name!r} has a cell that is not there",
                path=self._container.path,
                expected=f"below {partition.count:,}",
                found=f"{ids.max():,}",
            )
        return CellIds(partition, ids)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where the vectors of each row begin, and where the last one's end: (rows + 1,)."""
        name = f"{self.prefix}starts"
        found = np.asarray(self._container.expect(name, "<i8", (self.rows + 1,)).array())
        if found[0] or found[-1] != self.vectors or (np.diff(found) < 0).any():
            raise CorruptError(f"part {name!r} does not run from 0 to the vectors, or falls", path=self._container.path)
        return found

    @property
    def trained(self) -> TrainedMulti:
        found = self.about.get("certificate")
        return TrainedMulti(self.codec, self._pool, self.unit, found if isinstance(found, dict) else {})

    def items(self, rows: NDArray[np.int64]) -> list[Floats]:
        counts, positions = self._places(rows)
        found = self.codes.decode(self.codes.gather(positions), positions)
        found = unit(found) if self.unit else found
        ends = np.cumsum(counts)
        return [found[end - count : end] for count, end in zip(counts.tolist(), ends.tolist(), strict=True)]

    def coded(self, rows: NDArray[np.int64]) -> CodedTokens:
        counts, positions = self._places(rows)
        codes = self.codes.gather(positions)
        if self.cells is not None:
            codes = np.concatenate([number_bytes(self.cells.of(positions), self.codec.cell_bytes), codes], axis=1)
        return CodedTokens(counts, codes)

    def _places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many vectors rows have, and where all of them lie, row after row."""
        counts = self.starts[rows + 1] - self.starts[rows]
        return counts, spread(self.starts[rows], counts)

    def verify(self, *, deep: bool = False) -> None:
        _ = self.starts, self.codes, self.cells
        step = CHECKED_ROWS if deep else max(self.rows - 1, 1)
        for start in range(0, self.rows, step):
            rows = np.arange(start, min(start + step, self.rows)) if deep else np.array([start])
            if not all(np.isfinite(each).all() for each in self.items(rows)):
                raise CorruptError(
                    "codes stand for no finite vectors: convert the dump again", path=self._container.path
                )

    def facts(self) -> dict[str, Any]:
        return {
            "vectors": self.vectors,
            "dimensions": self.dimensions,
            "codec": str(self.codec.spec),
            "pool": self._pool,
            "certificate": self.trained.certificate or None,
        }
