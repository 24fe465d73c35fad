"""Write a shard: rows are encoded as they come, and the file is complete when it is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.container import ColumnWriter, ContainerWriter
from vecstore.errors import ShapeError
from vecstore.keys.index_writer import KeyIndexWriter
from vecstore.keys.kind import KeyType
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric
from vecstore.shard.cells import SIZES
from vecstore.shard.layer_distances import LayerDistanceWriter, distances
from vecstore.shard.layers import LayerWriter
from vecstore.shard.order import ROW_OF

if TYPE_CHECKING:
    from vecstore.shard.spill import CellSpill

__all__ = ["ShardWriter"]

ENCODE_BYTES = 16 * 1024 * 1024  # float32 input encoded at once; fixed, so that the same rows give the same bytes


class ShardWriter:
    """Write one shard, row by row, in bounded memory.

    Parameters
    ----------
    path : path
        Appears at once; complete after `close`.
    codec : Codec
        Trained.
    metric : {"cosine", "dot", "l2"}
    key_type : {"str", "bytes", "int64"} or None
        None for a store whose rows are found by number.
    keep_norms : bool
        Hand unit vectors to the codec and keep each row's length beside its code, 4 bytes.
    keep_order : bool
        Of a codec with cells: rows keep the numbers they come in, at 4 bytes each. Without keys they do anyway.
    first_row : int
        The number in the store of the first row, by which table codecs know it.
    """

    def __init__(
        self,
        path: str | Path,
        codec: Codec,
        *,
        metric: Metric,
        key_type: KeyType | None,
        keep_norms: bool = False,
        keep_order: bool = False,
        first_row: int = 0,
    ) -> None:
        self.path, self.codec, self.metric, self.first_row = Path(path), codec, metric, first_row
        self.rows = 0
        self._by_key = codec.by_key
        self._batch_keys: list[PackedKeys] = []  # of the rows in the batch, where the codec looks at them
        self._container = ContainerWriter(path)
        self._layers = [LayerWriter(self._container, f"codes.{i}", layer) for i, layer in enumerate(codec.layers)]
        self._keys = KeyIndexWriter(self._container, key_type) if key_type else None
        self._norms = ColumnWriter(self._container, "norms", "<f4") if keep_norms else None
        self._distances: LayerDistanceWriter | None = None
        if len(codec.layers) > 1:
            self._distances = LayerDistanceWriter(self._container)
        self._lengths = (float("inf"), 0.0)  # least and largest of the vectors that the first layer decodes to
        self._batch = np.empty((max(ENCODE_BYTES // (4 * codec.dimensions), 64), codec.dimensions), np.float32)
        self._held = 0
        self._held_keys: list[PackedKeys] = []  # of the rows of the batch, where keys move with their rows
        self._order: ColumnWriter | None = None
        self._spill: CellSpill | None = None
        if codec.partition is not None:
            from vecstore.shard.spill import CellSpill

            if keep_order or key_type is None:
                self._order = ColumnWriter(self._container, ROW_OF, "<u4")
            moving = None if self._order else key_type
            self._spill = CellSpill(self.path.parent, codec.partition.count, moving)

    def add(self, vectors: Floats, keys: Sequence[Any] | NDArray[Any] | None = None) -> None:
        """Append rows: finite float32 vectors (n, d), and their n keys if the shard has keys."""
        if (keys is None) != (self._keys is None) or (keys is not None and len(keys) != len(vectors)):
            raise ShapeError("one key for each vector, or no keys at all")
        moving: PackedKeys | None = None
        if self._keys is not None and keys is not None:
            if self._spill is None or self._order is not None:
                self._keys.add(keys)
            else:
                moving = self._keys.packed(keys)
        while len(vectors):
            take = min(len(vectors), len(self._batch) - self._held)
            self._batch[self._held : self._held + take] = vectors[:take]
            if self._by_key and keys is not None and self._keys is not None:
                self._batch_keys.append(PackedKeys(keys[:take], self._keys.key_type).take(np.arange(take)))
                keys = keys[take:]
            if moving is not None:
                at = len(moving) - len(vectors)
                self._held_keys.append(moving.take(np.arange(at, at + take)))
            self.rows += take
            self._held += take
            vectors = vectors[take:]
            if self._held == len(self._batch):
                self._encode()

    def close(self, description: Mapping[str, Any]) -> NDArray[np.uint64]:
        """Encode what is left, write keys, parameters and the description, and make the file durable.

        Returns the XXH64 of every key, by row, mapped from a file without a name.
        """
        if self._held:
            self._encode()
        features = self._merge() if self._spill else {}
        for writer in self._layers:
            writer.close()
        for name, array in self.codec.arrays.items():
            self._container.put_array(f"model.{name}", array)
        if self._norms is not None:
            self._norms.close()
        if self._distances is not None:
            self._distances.close()
        hashes = self._keys.hashes() if self._keys else np.empty(0, np.uint64)
        keys = self._keys.close() if self._keys else None
        layers = CodecSpec(self.codec.spec.layers)  # the cells have a member of their own
        self._container.close(
            {
                "kind": "shard",
                "features": sorted(features),
                "rows": self.rows,
                **({"first_row": self.first_row} if self.first_row and self.codec.shared else {}),
                "dimensions": self.codec.dimensions,
                "metric": self.metric,
                "codec": layers.to_dict(),
                "norms": self._norms is not None,
                "lengths": list(self._lengths),
                "residuals": self._distances is not None,
                "keys": keys,
                **features,
                **description,
            }
        )
        return hashes

    def abort(self) -> None:
        """Give up; the incomplete file stays for the caller to remove."""
        if self._keys is not None:
            self._keys.abort()
        if self._spill is not None:
            self._spill.close()
        self._container.abort()

    def _encode(self) -> None:
        x = self._batch[: self._held]
        kept = None
        if self._norms is not None:
            kept = np.linalg.norm(x, axis=1)
            x = unit(x)
        rows = np.arange(self.rows - self._held, self.rows)
        numbers = rows + self.first_row
        keys = PackedKeys.joined(self._batch_keys) if self._batch_keys else None
        partition = self.codec.partition
        cells = np.zeros(len(x), np.int64) if partition is None else partition.assign(x)
        centroids = np.float32(0) if partition is None else partition.centroids[cells]
        columns: dict[str, NDArray[Any]] = {} if kept is None else {"norms": kept}
        decoded: list[Floats] = []
        for i, layer in enumerate(self.codec.layers):
            coded = x if partition is None else x - centroids
            codes = layer.encode(coded, numbers, keys)
            columns[f"codes.{i}"] = codes
            if not decoded or self._distances is not None:
                decoded.append(layer.decode(codes, numbers, keys) + centroids)
        lengths = np.linalg.norm(decoded[0], axis=1)
        self._lengths = min(self._lengths[0], float(lengths.min())), max(self._lengths[1], float(lengths.max()))
        if self._distances is not None:
            both = (x if kept is None else unit(x) * kept[:, None] for x in decoded)
            columns["gaps"] = distances(*both, directions=self.metric == "cosine")
        self._held, self._batch_keys = 0, []
        if self._spill is None:
            self._write(columns)
            return
        if self._order is not None:
            columns["rows"] = rows.astype("<u4")
        self._spill.add(cells, columns, PackedKeys.joined(self._held_keys) if self._held_keys else None)
        self._held_keys = []

    def _write(self, columns: Mapping[str, NDArray[Any]] | NDArray[Any]) -> None:
        """Append rows, in the order of their positions."""
        for i, writer in enumerate(self._layers):
            writer.add(columns[f"codes.{i}"])
        if self._norms is not None:
            self._norms.add(columns["norms"])
        if self._distances is not None:
            self._distances.add(columns["gaps"])
        if self._order is not None:
            self._order.add(columns["rows"])

    def _merge(self) -> dict[str, Any]:
        """Write all rows in the order of their cells; return what the description says of them, a member a feature."""
        assert self._spill is not None and self.codec.spec.cells is not None
        for records, keys in self._spill.merged():
            self._write(records)
            if self._keys is not None and keys is not None:
                self._keys.add_packed(keys)
        self._container.put_array(SIZES, self._spill.sizes.astype("<u4"))
        self._spill.close()
        features: dict[str, Any] = {"cells": self.codec.spec.cells.to_dict()}
        if self._order is not None:
            self._order.close()
            features["order"] = True
        return features
