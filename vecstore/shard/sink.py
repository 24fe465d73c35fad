"""Where encoded rows go: into the parts of a shard as they come, or by cell, through temporary files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import Codec
from vecstore.container.container import ColumnWriter, ContainerWriter
from vecstore.keys.index_writer import KeyIndexWriter
from vecstore.keys.packed import PackedKeys
from vecstore.shard.cells import SIZES
from vecstore.shard.encoder import DISTANCES, NORMS, Columns, codes_of
from vecstore.shard.layer_distances import LayerDistanceWriter
from vecstore.shard.layers import LayerWriter
from vecstore.shard.order import ROW_OF
from vecstore.shard.spill import CellSpill

__all__ = ["CellSink", "OrderedSink", "RowParts", "Sink"]

ROWS = "rows"  # the column of row numbers, where these are not the positions


class RowParts:
    """The parts of a shard that hold something of every row, at its position."""

    def __init__(self, container: ContainerWriter, codec: Codec, *, keep_norms: bool) -> None:
        self._layers = [LayerWriter(container, codes_of(i), layer) for i, layer in enumerate(codec.layers)]
        self.norms = ColumnWriter(container, "norms", "<f4") if keep_norms else None
        self.distances = LayerDistanceWriter(container) if len(codec.layers) > 1 else None

    def add(self, columns: Mapping[str, NDArray[Any]] | NDArray[Any]) -> None:
        """Append rows in the order of their positions: columns by name, or records of them."""
        for i, writer in enumerate(self._layers):
            writer.add(columns[codes_of(i)])
        if self.norms is not None:
            self.norms.add(columns[NORMS])
        if self.distances is not None:
            self.distances.add(columns[DISTANCES])

    def close_codes(self) -> None:
        """Write the last blocks of codes."""
        for writer in self._layers:
            writer.close()

    def close_beside(self) -> None:
        """Write the last blocks of what is kept beside the codes."""
        for writer in (self.norms, self.distances):
            if writer is not None:
                writer.close()


class Sink(ABC):
    """Takes encoded rows in the order of their numbers.

    Attributes
    ----------
    moves_keys : bool
        Whether keys go to the index with their rows; else they go there as they come.
    moved : (n,) uint32 or None
        Of rows whose numbers change: the number that the row at each place came with; once closed.
    """

    moves_keys = False
    moved: NDArray[np.uint32] | None = None

    @abstractmethod
    def add(self, columns: Columns, rows: NDArray[np.int64], keys: PackedKeys | None) -> None:
        """Take encoded rows, their numbers in the shard, and, where they move, their keys."""

    @abstractmethod
    def close(self) -> dict[str, Any]:
        """Write what is left; return what the description says of the order, a member a feature."""

    @abstractmethod
    def abort(self) -> None:
        """Give up: remove temporary files."""


class OrderedSink(Sink):
    """Writes rows as they come: a row's number is its position."""

    def __init__(self, parts: RowParts) -> None:
        self._parts = parts

    def add(self, columns: Columns, rows: NDArray[np.int64], keys: PackedKeys | None) -> None:
        self._parts.add(columns.by_name)

    def close(self) -> dict[str, Any]:
        return {}

    def abort(self) -> None:
        return


class CellSink(Sink):
    """Writes rows cell by cell, once all are there.

    With `keep_order` rows keep their numbers, in a part of their own; else keys move with their rows.
    """

    def __init__(
        self,
        parts: RowParts,
        container: ContainerWriter,
        codec: Codec,
        keys: KeyIndexWriter | None,
        *,
        keep_order: bool,
    ) -> None:
        assert codec.partition is not None and codec.spec.cells is not None
        self._parts, self._container, self._keys, self._cells = parts, container, keys, codec.spec.cells
        self._order = ColumnWriter(container, ROW_OF, "<u4") if keep_order or keys is None else None
        self.moves_keys = self._order is None
        moving = keys.key_type if keys is not None and self.moves_keys else None
        self._spill = CellSpill(container.path.parent, codec.partition.count, moving)

    def add(self, columns: Columns, rows: NDArray[np.int64], keys: PackedKeys | None) -> None:
        numbers = {ROWS: rows.astype("<u4")}
        self._spill.add(columns.cells, columns.by_name | numbers, keys if self.moves_keys else None)

    def close(self) -> dict[str, Any]:
        moved = [np.empty(0, np.uint32)]
        for records, keys in self._spill.merged():
            self._parts.add(records)
            if self._order is not None:
                self._order.add(records[ROWS])
            else:
                moved.append(records[ROWS].astype(np.uint32))
            if self._keys is not None and keys is not None:
                self._keys.add_packed(keys)
        self._container.put_array(SIZES, self._spill.sizes.astype("<u4"))
        self._spill.close()
        features: dict[str, Any] = {"cells": self._cells.to_dict()}
        if self._order is not None:
            self._order.close()
            features["order"] = True
        else:
            self.moved = np.concatenate(moved)
        return features

    def abort(self) -> None:
        self._spill.close()
