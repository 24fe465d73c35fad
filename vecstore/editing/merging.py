"""Merge shards: their codes and keys one behind the other, without deleted rows. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.fields.reader import described_fields, fields_of
from vecstore.keys.packed import PackedKeys
from vecstore.keys.pages import PAGE_KEYS
from vecstore.shard.encoder import DISTANCES, NORMS, Columns, codes_of
from vecstore.shard.field import Coded
from vecstore.shard.layers import LENGTHS
from vecstore.shard.models import beside_model
from vecstore.shard.shard import Shard
from vecstore.shard.writer import ShardWriter
from vecstore.store.columns import decoded, some_columns, table_of
from vecstore.store.tombstones import Tombstones

__all__ = ["Source", "likeness", "living_keys", "merge"]

KNOWN_PARTS = ("codes.", "model.", "keys.", "norms", "residuals", "order.", "cells.", "columns.", "fields.")
UNKNOWN_LENGTHS = 0.0, float("inf")


class Source(NamedTuple):
    """A shard, and which of its rows were deleted."""

    shard: Shard
    dead: Tombstones

    @property
    def living(self) -> int:
        """How many rows are left."""
        return self.shard.rows - len(self.dead)


def likeness(shard: Shard) -> Hashable | None:
    """Return what is equal for shards that can be merged; None for one that has to stay as it is."""
    unknown = any(not name.startswith(KNOWN_PARTS) for name in shard.container.names())
    if shard.codec.shared or shard.bounds[0] is None or unknown:
        return None
    if shard.attributes.described and not find_spec("pyarrow"):
        return None
    fields = fields_of(shard)
    if len(fields) < len(described_fields(shard)):  # of a kind that is not known here
        return None
    kept = bool(shard.description.get("residuals"))
    kinds = tuple((name, shard.attributes.type_of(name)) for name in shard.attributes.described)
    alike = tuple((name, reader.likeness) for name, reader in fields.items())
    return id(shard.codec), shard.norms is None, kept, shard.order is None, kinds, alike


def merge(path: Path, sources: Sequence[Source]) -> int:
    """Write a shard with the living rows of several that are alike; return how many there are.

    Numbers of rows follow those in the sources. The description is that of the first one.
    """
    first = sources[0].shard
    writer = ShardWriter(
        path,
        first.codec,
        metric=first.metric,
        key_type=None if first.keys is None else first.keys.key_type,
        keep_norms=first.norms is not None,
        keep_order=not first.reordered,
        schema=first.attributes.schema if first.attributes.described else None,
        fields={name: reader.trained for name, reader in fields_of(first).items()},
    )
    try:
        for source in sources:
            known = source.shard.description
            lengths = [known.get(name, UNKNOWN_LENGTHS) for name, _ in zip(LENGTHS, first.codec.layers, strict=False)]
            for columns, keys, beside, fields in _pieces(source):
                writer.add_encoded(columns, keys, lengths, beside, fields)
        shared = next((source.shard for source in sources if source.shard.model is not None), None)
        told = _description(sources)
        if shared is not None:
            told = beside_model(told, shared.model_container.description)
        writer.close(told, model=None if shared is None else shared.model)
    except BaseException:
        writer.abort()
        raise
    return writer.rows


def living_keys(source: Source) -> Iterator[PackedKeys]:
    """Yield the keys of the living rows of a shard that has keys."""
    assert source.shard.keys is not None
    for page, keys in enumerate(source.shard.keys.packed_pages()):
        first = page * PAGE_KEYS
        yield keys.take(source.dead.living(first, first + len(keys)) - first)


def _pieces(source: Source) -> Iterator[tuple[Columns, PackedKeys | None, Any, dict[str, Coded]]]:
    """Yield the codes, keys, columns and fields of the living rows."""
    shard, readers = source.shard, fields_of(source.shard)
    table = table_of([shard], shard.path) if shard.attributes.described else None
    keys = None if shard.keys is None else living_keys(source)
    for start in range(0, shard.rows, PAGE_KEYS):
        rows = source.dead.living(start, min(start + PAGE_KEYS, shard.rows))
        own = None if keys is None else next(keys)
        if len(rows):
            beside = None if table is None else decoded(some_columns(table, None, rows))
            yield _columns(shard, rows), own, beside, {name: each.coded(rows) for name, each in readers.items()}


def _columns(shard: Shard, rows: NDArray[np.int64]) -> Columns:
    positions = rows if shard.order is None else shard.order.positions(rows)
    columns: dict[str, NDArray[Any]] = {codes_of(i): layer.gather(positions) for i, layer in enumerate(shard.layers)}
    if shard.norms is not None:
        columns[NORMS] = shard.norms.values(positions)
    if shard.layer_distances is not None:
        columns[DISTANCES] = shard.layer_distances.of(positions)
    cells = np.zeros(len(rows), np.int64) if shard.cells is None else shard.cells.of(positions)
    return Columns(cells, columns)


def _description(sources: Sequence[Source]) -> dict[str, Any]:
    """Return what the merged shard says of itself beside what its writer knows."""
    told = sources[0].shard.description
    kept = ("user", "certificate", "calibration", "reference", "provenance")
    found = {name: told[name] for name in kept if name in told}
    appended = [source.shard.description.get("appended") for source in sources]
    known = [each for each in appended if isinstance(each, dict)]
    if known:
        found["appended"] = {
            "rows": sum(each["rows"] for each in known if isinstance(each.get("rows"), int)),
            "drift": max((each["drift"] for each in known if each.get("drift")), key=_loss, default=None),
        }
    dropped = sum(len(source.dead) for source in sources) + sum(_dropped(source.shard) for source in sources)
    return found | ({"dropped": dropped} if dropped else {})


def _loss(drift: dict[str, Any]) -> float:
    return float(drift.get("own_r2", 0)) - float(drift.get("r2", 0))


def _dropped(shard: Shard) -> int:
    found = shard.description.get("dropped")
    return found if isinstance(found, int) else 0
