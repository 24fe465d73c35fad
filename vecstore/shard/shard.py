"""A shard: one file with the codes, keys, parameters and description of some rows. Written once, never changed.

`ShardWriter` writes one, `Shard` reads one. docs/format.md, section 5 (Shards), specifies both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.spec import CodecSpec
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.container import ColumnWriter, Container, ContainerWriter
from vecstore.container.document import field, refuse_features, whole
from vecstore.errors import CorruptError, FormatError, ShapeError
from vecstore.keys.index import KeyIndex, KeyIndexWriter
from vecstore.keys.packed import KeyType, PackedKeys
from vecstore.metric import Metric
from vecstore.shard.cells import SIZES, CellRuns
from vecstore.shard.layers import LayerCodes, LayerWriter
from vecstore.shard.order import ORDER_BYTES, ROW_OF, Order
from vecstore.shard.residuals import RESIDUAL_BYTES, Residuals, ResidualWriter, distances

if TYPE_CHECKING:
    from vecstore.codecs.mixed.mixed import MixedCodec
    from vecstore.shard.spill import CellSpill

__all__ = ["NORM_BYTES", "Shard", "ShardWriter", "bytes_beside"]

KNOWN_FEATURES = {"cells": dict, "order": bool}  # what a description may require of its reader: members of these types
MOST_DIMENSIONS = 1 << 20
NORM_BYTES = 4  # of a row whose length is kept
MOST_ROWS = 1 << 32
LENGTH_MARGIN = 1e-4
ENCODE_BYTES = 16 * 1024 * 1024  # float32 input encoded at once; fixed, so that the same rows give the same bytes


def bytes_beside(codec: Codec | MixedCodec, *, keep_norms: bool, keep_order: bool) -> float:
    """Return how many bytes a row takes beside its code and its key."""
    cells = isinstance(codec, Codec) and codec.partition is not None
    return (
        (RESIDUAL_BYTES if len(codec.layers) > 1 else 0.0)
        + (NORM_BYTES if keep_norms else 0)
        + (ORDER_BYTES if keep_order and cells else 0)
    )


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
        self._by_key = any(layer.quantizer.by_key for layer in codec.layers)
        self._batch_keys: list[PackedKeys] = []  # of the rows in the batch, where the codec looks at them
        self._container = ContainerWriter(path)
        self._layers = [LayerWriter(self._container, f"codes.{i}", layer) for i, layer in enumerate(codec.layers)]
        self._keys = KeyIndexWriter(self._container, key_type) if key_type else None
        self._norms = ColumnWriter(self._container, "norms", "<f4") if keep_norms else None
        self._residuals: ResidualWriter | None = None
        if len(codec.layers) > 1:
            self._residuals = ResidualWriter(self._container)
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
        if self._residuals is not None:
            self._residuals.close()
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
                "residuals": self._residuals is not None,
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
            codes = layer.encode(coded, numbers) if keys is None else layer.encode_keyed(coded, keys, numbers)
            columns[f"codes.{i}"] = codes
            if not decoded or self._residuals is not None:
                own = layer.decode(codes, numbers) if keys is None else layer.decode_keyed(codes, keys, numbers)
                decoded.append(own + centroids)
        lengths = np.linalg.norm(decoded[0], axis=1)
        self._lengths = min(self._lengths[0], float(lengths.min())), max(self._lengths[1], float(lengths.max()))
        if self._residuals is not None:
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
        """Append rows, in the order of their places."""
        for i, writer in enumerate(self._layers):
            writer.add(columns[f"codes.{i}"])
        if self._norms is not None:
            self._norms.add(columns["norms"])
        if self._residuals is not None:
            self._residuals.add(columns["gaps"])
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


class Shard:
    """One shard, mapped read-only.

    With `prefix` D its vectors are the first D dimensions of the stored ones, scaled to length one; with `code_bytes`
    only so many bytes of each code are read, or a few less.

    Attributes
    ----------
    path : str
    rows, dimensions : int
    metric : {"cosine", "dot", "l2"}
    description : dict
        The document in the file.
    keys : KeyIndex or None
    norms : Part or None
        Lengths of the original vectors, float32, if they were kept.
    order : Order or None
        Where rows lie whose numbers are not their positions. Lookups here take rows; layers, lengths and residuals
        take positions.
    """

    def __init__(
        self, path: str | Path, *, check: bool = True, prefix: int | None = None, code_bytes: int | None = None
    ) -> None:
        self.path, self.prefix, self._code_bytes = str(path), prefix, code_bytes
        self.container = Container(path, check=check)
        about = self.description = self.container.description
        if about.get("kind") != "shard":
            raise FormatError(f"this is a {about.get('kind')!r} file, part of a store; open its directory", path=path)
        refuse_features(about, frozenset(KNOWN_FEATURES), path)
        for feature, kind in KNOWN_FEATURES.items():
            if (feature in about["features"]) != isinstance(about.get(feature), kind):
                raise CorruptError(f"the feature and the member {feature!r} do not agree", path=path)
        self.rows = whole(about, "rows", path, most=MOST_ROWS)
        self.stored_dimensions = whole(about, "dimensions", path, least=1, most=MOST_DIMENSIONS)
        self.dimensions = self.stored_dimensions if prefix is None else prefix
        self.metric = cast(Metric, field(about, "metric", str, path))  # search refuses others
        keys = about.get("keys")
        self.keys = None if keys is None else KeyIndex(self.container, field(about, "keys", dict, path), self.rows)
        self.norms = self.container.part("norms") if field(about, "norms", bool, path) else None
        if self.norms is not None and (self.norms.shape != (self.rows,) or self.norms.dtype != "<f4"):
            raise CorruptError("part 'norms' is malformed", path=path, expected=f"{self.rows} float32")
        self.order = Order(self.container, self.rows) if "order" in about["features"] else None

    @cached_property
    def coarse_lengths(self) -> tuple[float, float] | None:
        """Bounds of the lengths of what the first layer decodes to, if they were recorded."""
        found = self.description.get("lengths")
        if self.prefix is not None or self._code_bytes is not None or not isinstance(found, list) or len(found) != 2:
            return None
        least, largest = (float(value) if isinstance(value, (int, float)) else float("nan") for value in found)
        if not 0 <= least <= largest < float("inf"):
            raise CorruptError("member 'lengths' is malformed", path=self.path, found=str(found)[:60])
        # What a sum of rounded table entries gives may lie a little outside.
        return least * (1 - LENGTH_MARGIN), largest * (1 + LENGTH_MARGIN)

    @cached_property
    def residuals(self) -> Residuals | None:
        """Bounds of how far the two layers' vectors lie apart, if they were recorded."""
        if not self.description.get("residuals") or self.prefix is not None:
            return None
        return Residuals(self.container, self.rows)

    @cached_property
    def codec(self) -> Codec:
        """The trained codec, restored from the file."""
        names = [name.removeprefix("model.") for name in self.container.names("model.")]
        arrays = {name: self.container.part(f"model.{name}").array() for name in names}
        layers, cells = field(self.description, "codec", list, self.path), self.description.get("cells")
        spec = CodecSpec.from_dict(layers if cells is None else {"cells": cells, "layers": layers})
        codec = Codec.restore(spec, self.stored_dimensions, arrays)
        codec = codec if self._code_bytes is None else codec.first_bytes(self._code_bytes)
        return codec if self.prefix is None else codec.prefix(self.prefix)

    @cached_property
    def cells(self) -> CellRuns | None:
        """The runs of rows that lie in the same cell, if rows lie in that order."""
        partition = self.codec.partition
        return None if partition is None else CellRuns(self.container, partition, self.rows)

    @cached_property
    def layers(self) -> tuple[LayerCodes, ...]:
        """The codes, coarse layer first."""
        layers, first_row = enumerate(self.codec.layers), self.first_row
        # A method of the index, not of the shard: a cycle would keep closed files mapped.
        keys_of = None if self.keys is None else self.keys.packed_keys
        return tuple(
            LayerCodes(self.container, f"codes.{i}", layer, self.rows, self.cells, first_row=first_row, keys_of=keys_of)
            for i, layer in layers
        )

    @property
    def first_row(self) -> int:
        """The number that the first row had in the store when it was written; table codecs know rows by it."""
        return whole(self.description, "first_row", self.path) if "first_row" in self.description else 0

    def vectors_of_unknown(self, keys: PackedKeys) -> Floats | None:
        """Return vectors for keys that no shard holds, (n, dimensions) float32; None where the codec has none."""
        fine = self.codec.layers[-1]
        if not fine.quantizer.by_key:
            return None
        x = fine.inverted(fine.quantizer.decode_keys(keys, None))
        return unit(x) if self.prefix is not None else x

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows in range, decoded from the finest layer: (n, dimensions) float32, a new array."""
        if self.order is not None:
            rows = self.order.places(rows)
        fine = self.layers[-1]
        return self._scaled(fine.decode(fine.gather(rows), rows), rows)

    def vector_range(self, start: int, stop: int) -> Floats:
        """Return the vectors of consecutive rows: (stop - start, dimensions) float32, a new array."""
        if self.order is not None:
            return self.vectors(np.arange(start, max(start, stop)))
        fine = self.layers[-1]  # refuses a damaged number of rows before there is memory for them
        out = np.empty((max(stop - start, 0), self.dimensions), np.float32)
        for first, codes in fine.blocks(start, stop):
            rows = np.arange(first, first + len(codes))
            out[first - start : first - start + len(codes)] = self._scaled(fine.decode(codes, rows), rows)
        return out

    def vector(self, row: int) -> Floats:
        """Return the vector of one row in range: (dimensions,) float32, a new array."""
        return self._read_one(row)

    @cached_property
    def _read_one(self) -> Any:
        """The shortest way to one row, chosen once: plain float32 rows are copied straight from the map."""
        fine = self.layers[-1]
        part = fine.part
        plain = self.codec.partition is None and str(self.codec.layers[-1].spec) == "f32"
        if plain and self.norms is None and self.prefix is None:
            data, block_rows, row_bytes = memoryview(part.data), part.block_rows, part.row_bytes
            offsets, count, from_buffer = part.offsets.tolist(), self.dimensions, np.frombuffer

            def read_f32(row: int) -> Floats:
                block, at = divmod(row, block_rows)
                if part.unchecked:
                    part.check_row(block, at)
                return from_buffer(data, "<f4", count, offsets[block] + at * row_bytes).copy()

            return read_f32

        order = self.order

        def read(row: int) -> Floats:
            rows = np.array([row])
            if order is not None:
                rows = order.places(rows)
            return self._scaled(fine.decode(fine.one(int(rows[0])), rows), rows)[0]

        return read

    def _scaled(self, x: Floats, rows: NDArray[np.int64]) -> Floats:
        if not self.fixes_lengths:
            return x
        return unit(x) * self.lengths(rows)[:, None]

    @property
    def fixes_lengths(self) -> bool:
        """Whether a vector's length is known apart from its code: kept at conversion, or one after truncation."""
        return self.norms is not None or self.prefix is not None

    def lengths(self, rows: NDArray[np.int64]) -> Floats:
        """Return the lengths of the vectors of rows, where `fixes_lengths`: (n,) float32."""
        part = self.norms
        if part is None or self.prefix is not None:
            return np.ones(len(rows), np.float32)
        if part.unchecked:
            part.check_rows(rows)
        block, row = np.divmod(rows, part.block_rows)
        return part.data.view("<f4")[part.offsets[block] // 4 + row]
