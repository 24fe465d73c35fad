"""A shard: one file with the codes, keys, parameters and description of some rows. Written once, never changed.

`vecstore.shard.writer` writes one. docs/format.md, section 5 (Shards), specifies the description.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.document import field, refuse_features, whole
from vecstore.container.mapped_file import MappedFile
from vecstore.container.opener import open_container
from vecstore.container.part import Part
from vecstore.errors import CorruptError, FormatError
from vecstore.keys.index import KeyIndex
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric
from vecstore.remote.urls import Place
from vecstore.shard.attributes import Attributes
from vecstore.shard.cells import CellRuns
from vecstore.shard.layer_distances import LayerDistances
from vecstore.shard.layers import LENGTHS, LayerCodes
from vecstore.shard.models import MODEL, MODEL_MEMBERS, Models
from vecstore.shard.order import Order

__all__ = ["Models", "Shard"]

# What a description may require of its reader: members of these names.
KNOWN_FEATURES = frozenset(("cells", "model", "order"))
MOST_DIMENSIONS = 1 << 20
MOST_ROWS = 1 << 32
MOST_FIRST_ROW = (1 << 63) - 1 - MOST_ROWS
LENGTH_MARGIN = 1e-4
LARGEST_LENGTH = 2.0**128  # what float32 does not hold


class Shard:
    """One shard, mapped read-only.

    With `prefix` D its vectors are the first D dimensions of the stored ones, scaled to length one; with `code_bytes`
    only so many bytes of each code are read, or a few less.

    Attributes
    ----------
    path : str
    models : Models
        Shards that are given the same ones restore a codec once.
    rows, dimensions : int
    metric : {"cosine", "dot", "l2"}
    description : dict
        The document in the file, with what its model tells in its place.
    keys : KeyIndex or None
    norms : Part or None
        Lengths of the original vectors, float32, if they were kept.
    order : Order or None
        Where rows lie whose numbers are not their positions. Lookups here take rows; layers, lengths and layer
        distances take positions.
    attributes : Attributes
        The columns that rows have beside their vectors, by row.
    field_readers : dict or None
        What reads its fields, once `vecstore.fields.reader.fields_of` has made it.
    model_container : Container
        The file that holds the model: that of the shard, or one that shards share.
    """

    def __init__(
        self,
        file: str | Place | MappedFile,
        *,
        check: bool = True,
        safe: bool = False,
        prefix: int | None = None,
        code_bytes: int | None = None,
        models: Models | None = None,
    ) -> None:
        path = str(file)
        self.path, self.prefix, self.code_bytes = path, prefix, code_bytes
        self.models = Models() if models is None else models
        self.container = open_container(file, check=check, safe=safe)
        about = self.description = self.container.description
        if about.get("kind") != "shard":
            raise FormatError(f"this is a {about.get('kind')!r} file, part of a store; open its directory", path=path)
        refuse_features(about, KNOWN_FEATURES, path)
        for feature in sorted(KNOWN_FEATURES):
            if (feature in about["features"]) != (feature in about) or about.get("order", True) is not True:
                raise CorruptError(f"the feature and the member {feature!r} do not agree", path=path)
        self.rows = whole(about, "rows", path, most=MOST_ROWS)
        self.stored_dimensions = whole(about, "dimensions", path, least=1, most=MOST_DIMENSIONS)
        self.dimensions = self.stored_dimensions if prefix is None else prefix
        self.metric = cast(Metric, field(about, "metric", str, path))  # search refuses others
        keys = about.get("keys")
        self.keys = None if keys is None else KeyIndex(self.container, field(about, "keys", dict, path), self.rows)
        has_norms = field(about, "norms", bool, path)
        self.norms = self.container.expect("norms", "<f4", (self.rows,)) if has_norms else None
        self.order = Order(self.container, self.rows) if "order" in about["features"] else None
        self.attributes = Attributes(self.container, self.rows)
        self.field_readers: dict[str, Any] | None = None
        self.model_container = self.container
        if self.model is not None:
            beside = path if isinstance(file, (str, MappedFile)) else file
            self.model_container = self.models.container(about, beside, check=check, safe=safe)
            shared = self.model_container.description
            self.description = {name: shared[name] for name in MODEL_MEMBERS if name in shared} | about

    @cached_property
    def bounds(self) -> list[tuple[float, float] | None]:
        """Bounds of the lengths of what each layer decodes to, where they were recorded."""
        return [self._bounds(name) for name, _ in zip(LENGTHS, self.codec.layers, strict=False)]

    def _bounds(self, member: str) -> tuple[float, float] | None:
        found = self.description.get(member)
        if self.prefix is not None or self.code_bytes is not None or found is None:
            return None
        if not isinstance(found, list) or len(found) != 2 or not all(type(value) in (int, float) for value in found):
            raise CorruptError(f"member {member!r} is malformed", path=self.path, found=str(found)[:60])
        least, largest = found
        if not 0 <= least <= largest < LARGEST_LENGTH:
            raise CorruptError(f"member {member!r} is malformed", path=self.path, found=str(found)[:60])
        # What a sum of rounded table entries gives may lie a little outside.
        return least * (1 - LENGTH_MARGIN), largest * (1 + LENGTH_MARGIN)

    @cached_property
    def layer_distances(self) -> LayerDistances | None:
        """Bounds of how far the two layers' vectors lie apart, if they were recorded."""
        if "residuals" not in self.description or not field(self.description, "residuals", bool, self.path):
            return None
        if len(self.codec.layers) != 2:
            raise CorruptError("residuals of one layer; two have them", path=self.path)
        if self.prefix is not None:
            return None
        return LayerDistances.read(self.container, self.rows)

    @property
    def model(self) -> str | None:
        """The fingerprint of the file that holds the model; None where the shard holds it itself."""
        return self.description.get("model")

    @cached_property
    def codec(self) -> Codec:
        """The trained codec, restored from the file; the same object in shards that share `models`."""
        layers, cells = field(self.description, "codec", list, self.path), self.description.get("cells")
        told = json.dumps([layers, cells], sort_keys=True)
        # Not by the specification alone: two codecs may be trained on other samples.
        key = told, self.model_container.identity(MODEL), self.stored_dimensions, self.code_bytes, self.prefix
        if key not in self.models:
            spec = CodecSpec.from_dict(layers if cells is None else {"cells": cells, "layers": layers})
            self.models[key] = self._restored(spec)
        codec = self.models[key]
        if codec.shared and (codec.partition is not None or self.order is not None):
            raise CorruptError("rows that are known by their numbers lie in another order", path=self.path)
        return codec

    def _restored(self, spec: CodecSpec) -> Codec:
        container = self.model_container
        names = [name.removeprefix(MODEL) for name in container.names(MODEL)]
        arrays = {name: container.expect(f"{MODEL}{name}").array() for name in names}
        codec = Codec.restore(spec, self.stored_dimensions, arrays)
        codec = codec if self.code_bytes is None else codec.first_bytes(self.code_bytes)
        return codec if self.prefix is None else codec.prefix(self.prefix)

    def verify_model(self) -> None:
        """Raise `VecstoreError` unless all that is not codes can be read, and codes of the first and last row."""
        _ = self.layer_distances, self.bounds
        self.attributes.verify()
        if "static" in self.description:
            from vecstore.shard.static_tokens import read_tokens

            read_tokens(self.container)
        for start in (0, self.rows - 1) if self.rows else ():
            self.verify_rows(start, start + 1)

    def verify_rows(self, start: int, stop: int) -> None:
        """Raise `VecstoreError` unless all layers decode these positions to finite numbers."""
        for layer in self.layers:
            for first, codes in layer.blocks(start, stop):
                if not np.isfinite(layer.decode(codes, np.arange(first, first + len(codes)))).all():
                    raise CorruptError("codes stand for no finite vectors: convert the dump again", path=self.path)

    @property
    def reordered(self) -> bool:
        """Whether rows are numbered cell by cell, and not as they were written."""
        return "cells" in self.description and self.order is None

    @cached_property
    def cells(self) -> CellRuns | None:
        """The runs of rows that lie in the same cell, if rows lie in that order."""
        partition = self.codec.partition
        return None if partition is None else CellRuns.read(self.container, partition, self.rows)

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
        if "first_row" not in self.description:
            return 0
        return whole(self.description, "first_row", self.path, most=MOST_FIRST_ROW)

    def vectors_of_unknown(self, keys: PackedKeys) -> Floats | None:
        """Return vectors for keys that no shard holds, (n, dimensions) float32; None where the codec has none."""
        x = self.codec.layers[-1].unknown(keys)
        return x if x is None or self.prefix is None else unit(x)

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows in range, decoded from the finest layer: (n, dimensions) float32, a new array."""
        if self.order is not None:
            rows = self.order.positions(rows)
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
            decoded = self._scaled(fine.decode(codes, rows), rows)
            if len(decoded) == len(out) and decoded.flags.owndata:
                return decoded  # of one block, and no view of the file
            out[first - start : first - start + len(codes)] = decoded
        return out

    def vector(self, row: int) -> Floats:
        """Return the vector of one row in range: (dimensions,) float32, a new array."""
        return self.read_one(row)

    @cached_property
    def read_one(self) -> Callable[[int], Floats]:
        """The shortest way to one row, chosen once: plain float32 rows are copied straight from the map.

        It does what `vector` does, and does not know the shard.
        """
        fine = self.layers[-1]
        part = fine.part
        plain = self.codec.partition is None and self.codec.layers[-1].is_plain
        if plain and self.norms is None and self.prefix is None:
            data, block_rows, row_bytes = memoryview(part.data), part.block_rows, part.row_bytes
            offsets, count, from_buffer = part.offsets.tolist(), self.dimensions, np.frombuffer

            def read_f32(row: int) -> Floats:
                block, at = divmod(row, block_rows)
                if part.unchecked:
                    part.check_row(block, at)
                return from_buffer(data, "<f4", count, offsets[block] + at * row_bytes).copy()

            return read_f32

        # Nothing in here knows the shard where it need not: a cycle would keep closed files mapped.
        order, fixed, norms = self.order, self.fixes_lengths, self._kept_norms
        if fine.cells is None and fine.layer.table is None and not fixed:  # the number of the row does not matter
            one, decode, inverted = fine.reader(), fine.layer.quantizer.decode, fine.layer.inverted
            return lambda row: inverted(decode(one(row)))[0]

        def read(row: int) -> Floats:
            rows = np.array([row])
            if order is not None:
                rows = order.positions(rows)
            x = fine.decode(fine.one(int(rows[0])), rows)
            return (unit(x) * _lengths(norms, rows)[:, None] if fixed else x)[0]

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
        return _lengths(self._kept_norms, rows)

    @property
    def _kept_norms(self) -> Part | None:
        return None if self.prefix is not None else self.norms


def _lengths(norms: Part | None, rows: NDArray[np.int64]) -> Floats:
    """Return what a part holds for rows, checked; ones without it."""
    return np.ones(len(rows), np.float32) if norms is None else norms.values(rows)
