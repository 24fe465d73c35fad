"""Which columns of attributes a store keeps, and what the types of others have to become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecstore.errors import OptionError, require

__all__ = ["NUMBERS", "UNITS", "as_table", "conformed", "kept_schema", "raw_table", "row_bytes", "stacked", "unified"]

# Types that are plain numbers, by their names in Arrow and in a description.
NUMBERS = {
    **{
        f"{sign}int{8 * size}": f"{'|' if size == 1 else '<'}{sign or 'i'}{size}"
        for sign in ("", "u")
        for size in (1, 2, 4, 8)
    },
    **{name: f"<f{size}" for name, size in (("float16", 2), ("float32", 4), ("float64", 8))},
}
ARROW_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}
UNITS = ("s", "ms", "us", "ns")
MOST_COLUMNS = 1024


def as_table(given: Any) -> Any:
    """Return columns as a `pyarrow.Table` of the types that are kept.

    Parameters
    ----------
    given : mapping of names to n values, pyarrow.Table, or a data frame of pandas or polars

    Raises
    ------
    OptionError
        Columns of a type that is not kept, and what to cast it to; lists with nulls among their strings; names that
        are empty or come twice; columns of several lengths.
    """
    table = raw_table(given)
    return conformed(table, kept_schema(table.schema))


def raw_table(given: Any) -> Any:
    """Return columns as a `pyarrow.Table` of whatever types they have; raises `OptionError` for what is no table."""
    pa = require("pyarrow", purpose="keeping columns")
    try:
        return _table(pa, given)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"columns: {_first_line(error)}; give a mapping of names to values, or a table") from None


def stacked(tables: Sequence[Any]) -> Any:
    """Return tables one below the other, of a type that holds the values of all; raises `OptionError`."""
    pa = require("pyarrow", purpose="keeping columns")
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise OptionError(f"columns: values of several types ({_first_line(error)}); cast them to one before") from None


def kept_schema(schema: Any) -> Any:
    """Return the types in which columns of a schema are kept; raises `OptionError` as `as_table` does."""
    pa = require("pyarrow", purpose="keeping columns")
    names = schema.names
    if len(set(names)) < len(names) or not all(names) or len(names) > MOST_COLUMNS:
        raise OptionError(
            f"columns have names of their own, {MOST_COLUMNS:,} at most; found {', '.join(map(repr, names))[:200]}"
        )
    return pa.schema([(field.name, _kept_type(pa, field)) for field in schema])


def conformed(table: Any, schema: Any) -> Any:
    """Return a table with the columns and types of `schema`; nulls where it lacks a column.

    Raises `OptionError` where values do not fit.
    """
    pa = require("pyarrow", purpose="keeping columns")
    unknown = [name for name in table.column_names if name not in schema.names]
    if unknown:
        raise OptionError(
            f"columns: {unknown[0]!r} was not there in the first rows; there were {', '.join(schema.names)}"
        )
    found = []
    for field in schema:
        column = table[field.name] if field.name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
        try:
            column = column.cast(field.type)
        except pa.ArrowException as error:
            raise OptionError(
                f"columns: {field.name!r} holds {column.type}, which does not become {_shown(pa, field.type)} "
                f"({_first_line(error)}); cast it before"
            ) from None
        if pa.types.is_large_list(field.type) and any(chunk.flatten().null_count for chunk in column.chunks):
            raise OptionError(f"columns: {field.name!r} has null among the strings of a list; leave those out")
        found.append(column)
    return pa.table(found, schema=schema)


def unified(one: Any, other: Any) -> Any:
    """Return a schema that holds the values of both, `one` may be None; raises `OptionError` where there is none."""
    pa = require("pyarrow", purpose="keeping columns")
    try:
        return other if one is None else pa.unify_schemas([one, other], promote_options="permissive")
    except pa.ArrowException as error:
        raise OptionError(f"columns: values of several types ({_first_line(error)}); cast them to one before") from None


def row_bytes(table: Any) -> Any:
    """Return how many bytes the values of each row take at most, in a shard: (n,) int64."""
    import numpy as np

    pa, compute = require("pyarrow", purpose="keeping columns"), require("pyarrow.compute", purpose="keeping columns")
    sizes = np.zeros(len(table), np.int64)
    for column in table.columns:
        sizes += 1  # validity, rounded up
        if pa.types.is_large_string(column.type):
            sizes += 8 + compute.binary_length(column).fill_null(0).to_numpy()
        elif pa.types.is_large_list(column.type):
            lists = column.combine_chunks()
            lengths = compute.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
            ends = np.cumsum(lengths)
            text = np.concatenate(
                [[0], np.cumsum(compute.binary_length(lists.flatten()).to_numpy(zero_copy_only=False))]
            )
            sizes += 8 + 8 * lengths + text[ends] - text[ends - lengths]
        else:
            sizes += max(column.type.bit_width // 8, 1)
    return sizes


def _table(pa: Any, given: Any) -> Any:
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if isinstance(given, Mapping):
        return pa.table({str(name): _array(pa, values) for name, values in given.items()})
    if type(given).__module__.startswith("pandas"):
        return pa.Table.from_pandas(given, preserve_index=False)
    return given if isinstance(given, pa.Table) else pa.table(given)


def _array(pa: Any, values: Any) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    return pa.array(values if hasattr(values, "__array__") else list(values))


def _kept_type(pa: Any, field: Any) -> Any:
    """Return what a column is kept as; text lies in Arrow's large layout until it is written."""
    kind, types = field.type, pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_null(kind) or _is_text(types, kind):
        return pa.large_string()
    if any(test(kind) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        inner = kind.value_type.value_type if types.is_dictionary(kind.value_type) else kind.value_type
        if _is_text(types, inner) or types.is_null(inner):
            return pa.large_list(pa.large_string())
    if types.is_boolean(kind) or types.is_timestamp(kind) or ARROW_NAMES.get(str(kind), str(kind)) in NUMBERS:
        return kind
    raise OptionError(
        f"columns: {field.name!r} is {field.type}; kept are bool, integers, floats, strings, timestamps and lists of "
        f"strings: {_cast(types, kind)}"
    )


def _cast(types: Any, kind: Any) -> str:
    """Return what to do with a column of a type that is not kept."""
    if types.is_struct(kind):
        return "make its members columns of their own, table.flatten()"
    if types.is_nested(kind):
        return 'cast it to "list<string>", or leave it out'
    if types.is_decimal(kind):
        return 'cast it to "float64"'
    if types.is_date(kind):
        return 'cast it to "timestamp[s]"'
    if types.is_temporal(kind):
        return 'cast it to "int64"'
    return 'cast it to "string"'


def _is_text(types: Any, kind: Any) -> bool:
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _shown(pa: Any, kind: Any) -> str:
    if pa.types.is_large_string(kind):
        return "string"
    return "list of strings" if pa.types.is_large_list(kind) else str(kind)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")[:200] if str(error) else type(error).__name__
