"""Write a shard: rows are encoded as they come, and the file is complete when it is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.container.block_buffer import BlockBuffer
from vecstore.container.container import ContainerWriter
from vecstore.errors import ShapeError
from vecstore.keys.index_writer import KeyIndexWriter
from vecstore.keys.kind import KeyType
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric
from vecstore.shard.attribute_writer import AttributeSpool
from vecstore.shard.encoder import Columns, Encoder, Sample, Watch
from vecstore.shard.field import Coded, FieldWriters, TrainedField
from vecstore.shard.layers import LENGTHS
from vecstore.shard.models import put_model
from vecstore.shard.sink import CellSink, OrderedSink, RowParts, Sink

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
        Of a codec with cells: rows keep the numbers they come in, at 4 bytes each. Without keys they always do.
    first_row : int
        The number in the store of the first row, by which table codecs know it.
    schema : pyarrow.Schema, optional
        Of the columns, where rows have some.
    fields : mapping of names to TrainedField, optional
        What rows have beside their vectors that is searched; their order stays, so `keep_order` does too.
    sampled : int
        Keep every so manyth row for `sample`; 0 keeps none.
    watch : callable, optional
        Called with each block of rows that is encoded: see `vecstore.shard.encoder.Watch`.
    """

    def __init__(  # noqa: PLR0913 - what differs from shard to shard
        self,
        path: str | Path,
        codec: Codec,
        *,
        metric: Metric,
        key_type: KeyType | None,
        keep_norms: bool = False,
        keep_order: bool = True,
        first_row: int = 0,
        schema: Any = None,
        fields: Mapping[str, TrainedField] | None = None,
        sampled: int = 0,
        watch: Watch | None = None,
    ) -> None:
        self.path, self.codec, self.metric, self.first_row = Path(path), codec, metric, first_row
        self._container = ContainerWriter(path)
        self._keys = KeyIndexWriter(self._container, key_type) if key_type else None
        self._encoder = Encoder(codec, metric=metric, keep_norms=keep_norms, sampled=sampled, watch=watch)
        self._parts = RowParts(self._container, codec, keep_norms=keep_norms)
        self._sink = self._sink_of(keep_order)
        assert not (fields and self._sink.moves_keys)
        self._fields = FieldWriters(self._container, fields or {})
        self._attributes = None if schema is None else AttributeSpool(self.path.parent, schema)
        self._batch = BlockBuffer(
            np.empty((max(ENCODE_BYTES // (4 * codec.dimensions), 64), codec.dimensions), np.float32)
        )
        self._batch_keys: list[PackedKeys] = []  # of the rows that wait, where the codec or the sink wants them
        self.fingerprint = ""  # of the file, once it is closed
        self._encoded_rows = 0  # that were added as codes

    @property
    def rows(self) -> int:
        """How many were added."""
        return self._batch.rows + self._encoded_rows

    @property
    def block_rows(self) -> int:
        """How many are encoded at once; who adds as many at a time spares a copy."""
        return len(self._batch.block)

    def sample(self) -> Sample:
        """Encode what waits, and return some of all rows; what is added afterwards is encoded by itself."""
        x = self._batch.rest()
        if len(x):
            self._encode(x)
        return Sample(*map(np.concatenate, zip(*self._encoder.samples, strict=True)))

    def add_encoded(
        self,
        columns: Columns,
        keys: PackedKeys | None,
        lengths: Sequence[Sequence[float]],
        beside: Any = None,
        fields: Mapping[str, Coded] | None = None,
    ) -> None:
        """Append rows that were encoded already, with this codec, by a writer to which only such rows go.

        `lengths` are the least and largest of what each layer decodes to, the largest infinite where unknown; `beside`
        is the table of what rows have beside their vectors, `fields` what they have in each field. Codecs whose rows
        share tables have no codes that could move.
        """
        if self._attributes is not None:
            self._attributes.add(beside)
        self._fields.add(fields or {})
        rows = np.arange(self.rows, self.rows + len(columns.cells))
        self._encoded_rows += len(rows)
        if self._keys is not None and keys is not None and not self._sink.moves_keys:
            self._keys.add_packed(keys)
        for layer, (least, largest) in enumerate(lengths):
            self._encoder.note_lengths(layer, least, largest)
        self._sink.add(columns, rows, keys if self._sink.moves_keys else None)

    def add(
        self,
        vectors: Floats,
        keys: Sequence[Any] | NDArray[Any] | None = None,
        columns: Any = None,
        fields: Mapping[str, Coded] | None = None,
    ) -> None:
        """Append rows: finite float32 vectors (n, d), and their n keys, a table of columns and fields, if there are."""
        if self._attributes is not None:
            self._attributes.add(columns)
        self._fields.add(fields or {})
        if (keys is None) != (self._keys is None) or (keys is not None and len(keys) != len(vectors)):
            raise ShapeError("one key for each vector, or no keys at all")
        packed = None if self._keys is None or keys is None else self._keys.packed(keys)
        if self._keys is not None and packed is not None and not self._sink.moves_keys:
            self._keys.add_packed(packed)
        if not (self._sink.moves_keys or self.codec.by_key):
            packed = None
        before, done = self.rows, 0
        for x in self._batch.add(vectors):
            upto = self.rows - before
            self._hold(packed, done, upto)
            done = upto
            self._encode(x)
        self._hold(packed, done, len(vectors))

    def close(
        self,
        description: Mapping[str, Any],
        parts: Mapping[str, NDArray[Any]] | None = None,
        *,
        model: str | None = None,
    ) -> NDArray[np.uint64]:
        """Encode what is left, write keys, parameters and the description, and make the file durable.

        `parts` are kept as they are. `model` is the fingerprint of the file that holds the codec's arrays; without it
        the shard holds them itself. Returns the XXH64 of every key, by row; of many, mapped from a file without a name.
        """
        x = self._batch.rest()
        if len(x):
            self._encode(x)
        features = self._sink.close()
        self._parts.close_codes()
        if model is None:
            put_model(self._container, self.codec)
        else:
            features["model"] = model
        for name, array in (parts or {}).items():
            self._container.put_array(name, array)
        self._parts.close_beside()
        hashes = self._keys.hashes() if self._keys else np.empty(0, np.uint64)
        keys = self._keys.close() if self._keys else None
        known = [both for both in zip(LENGTHS, self._encoder.lengths, strict=False) if both[1][1] < float("inf")]
        beside = self._fields.close()
        if self._attributes is not None:
            beside |= {"columns": self._attributes.write(self._container, self._sink.moved)}
        layers = CodecSpec(self.codec.spec.layers)  # the cells have a member of their own
        self.fingerprint = self._container.close(
            {
                "kind": "shard",
                "features": sorted(features),
                "rows": self.rows,
                **({"first_row": self.first_row} if self.first_row and self.codec.shared else {}),
                "dimensions": self.codec.dimensions,
                "metric": self.metric,
                "codec": layers.to_dict(),
                "norms": self._parts.norms is not None,
                **{name: list(own) for name, own in known},
                "residuals": self._parts.distances is not None,
                "keys": keys,
                **features,
                **beside,
                **description,
            }
        )
        return hashes

    def abort(self) -> None:
        """Give up; the incomplete file stays for the caller to remove."""
        for held in (self._keys, self._attributes, self._fields):
            if held is not None:
                held.abort()
        self._sink.abort()
        self._container.abort()

    def _sink_of(self, keep_order: bool) -> Sink:
        if self.codec.partition is None:
            return OrderedSink(self._parts)
        return CellSink(self._parts, self._container, self.codec, self._keys, keep_order=keep_order)

    def _hold(self, packed: PackedKeys | None, start: int, stop: int) -> None:
        if packed is not None and start < stop:
            self._batch_keys.append(packed.take(np.arange(start, stop)))

    def _encode(self, x: Floats) -> None:
        keys = PackedKeys.joined(self._batch_keys) if self._batch_keys else None
        self._batch_keys = []
        rows = np.arange(self.rows - len(x), self.rows)
        columns = self._encoder.encode(x, rows + self.first_row, keys if self.codec.by_key else None)
        self._sink.add(columns, rows, keys)
