"""The columns of a store: those of its shards, one below the other, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, ShapeError, did_you_mean, require
from vecstore.shard.attribute_types import conformed, raw_table
from vecstore.shard.shard import Shard

__all__ = ["column_names", "decoded", "described", "for_new_rows", "schema_of", "some_columns", "table_of"]


def column_names(shards: Sequence[Shard]) -> list[str]:
    """Return the names of all columns, those of the first shard first."""
    return list(dict.fromkeys(name for shard in shards for name in shard.attributes.described))


def described(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """Return name, type, nulls and bytes of each column; a row whose shard lacks it is null there."""
    found = []
    for name in column_names(shards):
        own = [shard.attributes for shard in shards if name in shard.attributes.described]
        nulls = sum(each.described[name]["nulls"] for each in own)
        nulls += sum(shard.rows for shard in shards if name not in shard.attributes.described)
        size = sum(each.size_bytes(name) for each in own)
        found.append({"name": name, "type": own[0].type_of(name), "nulls": nulls, "size_bytes": size})
    return found


def table_of(shards: Sequence[Shard], path: str) -> Any:
    """Return a `pyarrow.Table` of the columns of all rows, by row.

    Of one shard it is a view on the map; of several, only dictionaries are made anew, so that all have the same codes.
    Raises `OptionError` where shards have types that do not go together.
    """
    pa = require("pyarrow", purpose="reading columns")
    names = column_names(shards)
    return pa.table([_column(pa, shards, name, path) for name in names], names=names)


def schema_of(shards: Sequence[Shard]) -> Any:
    """Return the types that columns of new rows get, those of the first shard that has each; None without columns."""
    names = column_names(shards)
    if not names:
        return None
    pa = require("pyarrow", purpose="keeping columns")
    first = {name: next(shard for shard in shards if name in shard.attributes.described) for name in names}
    return pa.schema([shard.attributes.schema.field(name) for name, shard in first.items()])


def for_new_rows(given: Any, schema: Any, rows: int) -> Any:
    """Return columns given for so many rows as a table of these types, null where one is missing.

    Both may be None. Raises `OptionError` for a column that the store does not have, and values that do not fit;
    `ShapeError` for another number of rows.
    """
    table = None if given is None else raw_table(given)
    for name in () if table is None else table.column_names:
        if schema is None or name not in schema.names:
            raise no_column(name, () if schema is None else schema.names)
    if schema is None:
        return None
    if table is None or not table.column_names:
        pa = require("pyarrow", purpose="keeping columns")
        return pa.table([pa.nulls(rows, kind) for kind in schema.types], schema=schema)
    if len(table) != rows:
        raise ShapeError(f"columns of {len(table)} rows for {rows} vectors")
    return conformed(table, schema)


def some_columns(table: Any, names: Sequence[str] | str | None, rows: NDArray[np.int64]) -> Any:
    """Return some rows of a table, null for row -1, and of its columns some or, for None, all."""
    pa = require("pyarrow", purpose="reading columns")
    wanted = [names] if isinstance(names, str) else list(names or table.column_names)
    for name in wanted:
        if name not in table.column_names:
            raise no_column(name, table.column_names)
    return table.select(wanted).take(pa.array(rows, mask=rows < 0))


def decoded(table: Any) -> Any:
    """Return a table with strings where there were codes of them, as other programs read it."""
    pa = require("pyarrow", purpose="reading columns")
    kinds = [_decoded_type(pa, column.type) for column in table.columns]
    columns = [
        pa.chunked_array([_cast(pa, chunk, kind) for chunk in column.chunks], kind)
        for column, kind in zip(table.columns, kinds, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def no_column(name: str, known: Sequence[str]) -> OptionError:
    """Return the error that names a column which is not there, and the nearest one that is."""
    have = f"columns are {', '.join(known)}" if known else "the store has none; convert with columns="
    return OptionError(f"no column {name!r}{did_you_mean(name, known)}; {have}")


def _column(pa: Any, shards: Sequence[Shard], name: str, path: str) -> Any:
    """Return a column as a `pyarrow.ChunkedArray`, a chunk a shard."""
    own = [shard.attributes.array(name) if name in shard.attributes.described else None for shard in shards]
    there = [array.type for array in own if array is not None]
    kind = _common(pa, name, there, path)
    chunks = [
        pa.nulls(shard.rows, kind) if array is None else array if array.type == kind else _cast(pa, array, kind)
        for shard, array in zip(shards, own, strict=True)
    ]
    column = pa.chunked_array(chunks, kind)
    return column.unify_dictionaries() if len(chunks) > 1 and pa.types.is_dictionary(kind) else column


def _common(pa: Any, name: str, kinds: Sequence[Any], path: str) -> Any:
    """Return a type that holds the values of all of these."""
    if all(kind == kinds[0] for kind in kinds) and (len(kinds) == 1 or not _has_codes(pa, kinds[0])):
        return kinds[0]
    if all(pa.types.is_dictionary(kind) for kind in kinds):
        return pa.dictionary(pa.int32(), pa.large_string())
    plain = [_decoded_type(pa, kind) for kind in kinds]
    try:
        schemas = [pa.schema([(name, kind)]) for kind in plain]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        told = ", ".join(dict.fromkeys(map(str, plain)))
        raise OptionError(
            f"{path}: column {name!r} has other types in other shards: {told}; convert them alike"
        ) from None


def _has_codes(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_dictionary(kind) or (_is_list(pa, kind) and pa.types.is_dictionary(kind.value_type)))


def _decoded_type(pa: Any, kind: Any) -> Any:
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return pa.large_string()
    return pa.large_list(pa.large_string()) if _is_list(pa, kind) else kind


def _cast(pa: Any, array: Any, kind: Any) -> Any:
    if _is_list(pa, array.type) and _has_codes(pa, array.type):  # Arrow casts no dictionaries inside lists
        items = array.values.dictionary_decode()
        of = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
        array = of.from_arrays(array.offsets, items, mask=array.is_null() if array.null_count else None)
    return array.cast(kind)


def _is_list(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
