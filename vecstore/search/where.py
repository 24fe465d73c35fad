"""Filters by columns: an SQL condition, or a pyarrow expression, becomes a mask of the rows that it selects.

A condition is parsed, checked against what is allowed, and asked of the columns; nothing is executed as SQL.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, did_you_mean, require
from vecstore.search.predicates import compared, contains, is_one_of, like
from vecstore.shard.attribute_types import NUMBERS
from vecstore.shard.shard import Shard

__all__ = ["mask_of"]

ALLOWED = "= != < <= > >=, IN, BETWEEN, LIKE, ILIKE, IS NULL, AND, OR, NOT and list_contains(column, 'text')"
MEMBERS = ("this", "expression", "expressions", "low", "high", "field", "negate")  # of what a condition is parsed to
TURNED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
KINDS = {**dict.fromkeys(NUMBERS, "number"), "bool": "bool", "timestamp": "time", "string": "text", "strings": "list"}
SHOWN = {"number": "a number", "bool": "TRUE or FALSE", "time": "a time such as '2024-12-31 23:59'", "text": "'text'"}

Columns: TypeAlias = Callable[[str], Any]
Test: TypeAlias = Callable[[Columns], Any]  # an Arrow array of bool, null where the answer is unknown


def mask_of(where: Any, shards: Sequence[Shard]) -> NDArray[np.bool_]:
    """Return which rows a condition selects, (rows,) bool; a row for which it is unknown is not selected.

    Parameters
    ----------
    where : str or pyarrow.compute.Expression
    shards : sequence of Shard
        One behind the other. What a shard has no column for is null.

    Raises
    ------
    OptionError
        The condition is malformed or asks for what is not allowed, or a column is not there or of another type.
    """
    pa = require("pyarrow", purpose="filters by columns")
    compute = require("pyarrow.compute", purpose="filters by columns")
    kinds = {name: about["type"] for shard in reversed(shards) for name, about in shard.attributes.described.items()}
    if isinstance(where, str):
        ask = _Parser({name: KINDS[kind] for name, kind in kinds.items()}).parsed(where)
    elif isinstance(where, compute.Expression):
        ask = _expression(where, list(kinds))
    else:
        raise OptionError(f'where is a condition such as "price < 10", or a pyarrow expression, found {where!r:.60}')
    try:
        flags = [_flags(ask(_columns(shard, kinds)), shard.rows) for shard in shards]
    except pa.ArrowException as error:
        raise OptionError(f"where: {str(error).splitlines()[0][:200]}") from None
    return flags[0] if len(flags) == 1 else np.concatenate(flags)


def _columns(shard: Shard, kinds: Mapping[str, str]) -> Columns:
    def column(name: str) -> Any:
        if name in shard.attributes.described:
            return shard.attributes.array(name)
        pa, kind = require("pyarrow", purpose="filters by columns"), kinds[name]
        types = {"string": pa.string(), "strings": pa.list_(pa.string()), "bool": pa.bool_()}
        return pa.nulls(
            shard.rows, types.get(kind) or (pa.timestamp("us") if kind == "timestamp" else getattr(pa, kind)())
        )

    return column


def _flags(found: Any, rows: int) -> NDArray[np.bool_]:
    """Return an Arrow array of bool as a mask, False for null."""
    validity, bits = found.buffers()
    packed = np.frombuffer(bits, np.uint8)
    if found.null_count:
        packed = (
            packed[: (found.offset + rows + 7) // 8]
            & np.frombuffer(validity, np.uint8)[: (found.offset + rows + 7) // 8]
        )
    return np.unpackbits(packed, count=found.offset + rows, bitorder="little")[found.offset :].view(bool)


def _expression(where: Any, names: list[str]) -> Test:
    """Return the test that a pyarrow expression is."""
    acero, text = require("pyarrow.acero", purpose="filters by columns"), str(where)
    pa = require("pyarrow", purpose="filters by columns")

    def ask(columns: Columns) -> Any:
        used = [name for name in names if name in text]
        table = pa.table([columns(name) for name in used], names=used)
        steps = [
            acero.Declaration("table_source", acero.TableSourceNodeOptions(table)),
            acero.Declaration("project", acero.ProjectNodeOptions([where], ["selected"])),
        ]
        try:
            found = acero.Declaration.from_sequence(steps).to_table(use_threads=False)["selected"]
        except pa.ArrowInvalid as error:
            missing = str(error).partition("FieldRef.Name(")[2].partition(")")[0]
            raise (_no_column(missing, names) if missing else error) from None
        if not pa.types.is_boolean(found.type):
            raise OptionError(f"where: the expression gives {found.type}, not bool")
        return pa.concat_arrays(found.chunks)

    return ask


class _Parser:
    """From the text of a condition to a test.

    Parameters
    ----------
    kinds : mapping
        Of each column: number, bool, time, text or list.
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds = kinds
        self._exp: Any = require("sqlglot", purpose="a condition as text, where=").exp

    def parsed(self, text: str) -> Test:
        """Return the test that a condition stands for; raises `OptionError`."""
        sqlglot = require("sqlglot", purpose="a condition as text, where=")
        try:
            return self._test(sqlglot.parse_one(text, dialect="duckdb"))
        except sqlglot.errors.SqlglotError as error:
            told = (getattr(error, "errors", None) or [{}])[0]
            what, at = told.get("description") or "it is no condition", told.get("col")
            what = "something is missing" if what.startswith("Required keyword") else what
            raise OptionError(
                f"where: {what.rstrip('.')}" + (f", at character {at}" if at else "") + f": {text!r:.120}"
            ) from None
        except RecursionError:
            raise OptionError("where: nested too deep") from None

    def _test(self, node: Any) -> Test:
        exp = self._exp
        compute = require("pyarrow.compute", purpose="filters by columns")
        if any(value for name, value in node.args.items() if name not in MEMBERS):  # SYMMETRIC, say
            raise self._refusal(node)
        if isinstance(node, exp.Paren):
            return self._test(node.this)
        if node.args.get("negate"):
            asked = self._asked(node)
            return lambda columns: compute.invert(asked(columns))
        if isinstance(node, (exp.And, exp.Or)):
            both = compute.and_kleene if isinstance(node, exp.And) else compute.or_kleene
            left, right = self._test(node.left), self._test(node.right)
            return lambda columns: both(left(columns), right(columns))
        if isinstance(node, exp.Not):
            inner = self._test(node.this)
            return lambda columns: compute.invert(inner(columns))
        if isinstance(node, exp.Between):
            low, high = (
                self._compared(node.this, ">=", node.args["low"]),
                self._compared(node.this, "<=", node.args["high"]),
            )
            return lambda columns: compute.and_kleene(low(columns), high(columns))
        for kind, how in zip((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE), TURNED, strict=True):
            if type(node) is kind:
                return self._compared(node.left, how, node.right)
        return self._asked(node)

    def _asked(self, node: Any) -> Test:
        """Return the test of a condition that is no comparison, nor made of others."""
        exp = self._exp
        if isinstance(node, exp.In) and not node.args.get("query"):
            field = node.args.get("field")
            return self._contains(field, node.this) if field is not None else self._one_of(node.this, node.expressions)
        if isinstance(node, exp.ArrayContains):
            return self._contains(node.this, node.expression)
        if isinstance(node, (exp.Like, exp.ILike)):
            name = self._column(node.this, "text")
            pattern, ignore_case = self._text(node.expression), isinstance(node, exp.ILike)
            return lambda columns: like(columns(name), pattern, ignore_case=ignore_case)
        if isinstance(node, exp.Is):
            if isinstance(node.expression, exp.Boolean):
                equal = self._compared(node.this, "=", node.expression)
                return lambda columns: equal(columns).fill_null(False)
            name = self._column(node.this)
            if isinstance(node.expression, exp.Null):
                return lambda columns: columns(name).is_null()
        if isinstance(node, exp.Column):
            name = self._column(node, "bool")
            return lambda columns: columns(name)
        raise self._refusal(node)

    def _compared(self, left: Any, how: str, right: Any) -> Test:
        exp = self._exp
        if isinstance(right, exp.Any) and how == "=":
            return self._contains(right.this.unnest(), left)
        if not isinstance(left, exp.Column):
            left, how, right = right, TURNED[how], left
        name = self._column(left)
        kind = self._kinds[name]
        if isinstance(right, exp.Column):
            other = self._column(right, kind)
            return lambda columns: compared(columns(name), how, columns(other))
        value = self._value(name, right)
        return lambda columns: compared(*_comparable(columns(name), how, value))

    def _one_of(self, node: Any, given: Sequence[Any]) -> Test:
        name = self._column(node)
        values = [self._value(name, each) for each in given]
        if not values:
            raise OptionError("where: IN needs values in its brackets")

        def ask(columns: Columns) -> Any:
            column = columns(name)
            pairs = [_comparable(column, "=", value) for value in values]
            scalars = [scalar for _, _, scalar in pairs]
            if len({scalar.type for scalar in scalars}) > 1:
                pa = require("pyarrow", purpose="filters by columns")
                scalars = [pa.scalar(float(value)) for value in values]
            return is_one_of(pairs[0][0], scalars)

        return ask

    def _contains(self, node: Any, text: Any) -> Test:
        name, wanted = self._column(node, "list"), self._text(text)
        return lambda columns: contains(columns(name), wanted)

    def _column(self, node: Any, kind: str | None = None) -> str:
        """Return the name of a column, which has to be of this kind, if one is given; raises `OptionError`."""
        if not isinstance(node, self._exp.Column) or node.table:
            raise self._refusal(node)
        name = str(node.name)
        if name not in self._kinds:
            quotes = ", and text stands in single quotes" if node.this.args.get("quoted") else ""
            raise _no_column(name, list(self._kinds), quotes)
        found = self._kinds[name]
        if kind is not None and found != kind:
            article = {
                "list": "a list of strings",
                "text": "text",
                "bool": "a bool",
                "number": "a number",
                "time": "a time",
            }
            raise OptionError(
                f"where: column {name!r} is {article[found]}, not {article[kind]}: {(node.parent or node).sql()!r:.80}"
            )
        return name

    def _text(self, node: Any) -> str:
        if not (isinstance(node, self._exp.Literal) and node.is_string):
            raise OptionError(f"where: expected text in single quotes, found {node.sql()!r:.60}")
        return str(node.this)

    def _value(self, name: str, node: Any) -> Any:
        """Return a constant as the column's kind takes it: int, float, bool, str or a time; raises `OptionError`."""
        exp, kind = self._exp, self._kinds[name]
        if kind == "list":
            raise OptionError(f"where: column {name!r} is a list of strings: write list_contains({name}, 'text')")
        inner = node.this if isinstance(node, (exp.Neg, exp.Cast)) else node
        literal = isinstance(inner, exp.Literal)
        if kind == "text" and node is inner and literal and inner.is_string:
            return str(inner.this)
        if kind == "bool" and isinstance(node, exp.Boolean):
            return bool(node.this)
        if kind == "number" and literal and not inner.is_string and not isinstance(node, exp.Cast):
            sign = -1 if isinstance(node, exp.Neg) else 1
            return sign * (int(inner.this) if str(inner.this).isdigit() else float(inner.this))
        if kind == "time" and literal and inner.is_string and not isinstance(node, exp.Neg):
            return _time(str(inner.this))
        raise OptionError(f"where: compare column {name!r} with {SHOWN[kind]}, not with {node.sql()!r:.60}")

    def _refusal(self, node: Any) -> OptionError:
        return OptionError(
            f"where: {node.sql()!r:.80} is not allowed; a condition is made of columns, constants, {ALLOWED}"
        )


def _time(text: str) -> datetime.datetime:
    """Return a time, in UTC where it says an offset."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(f"where: {text!r:.60} is no time; write '2024-12-31', or '2024-12-31 23:59:59'") from None
    return found if found.tzinfo is None else found.astimezone(datetime.UTC).replace(tzinfo=None)


def _comparable(column: Any, how: str, value: Any) -> tuple[Any, str, Any]:
    """Return a column and a constant as Arrow compares them: numbers in the column's type, if they fit into it."""
    pa = require("pyarrow", purpose="filters by columns")
    if isinstance(value, datetime.datetime):
        return column.view(pa.timestamp(column.type.unit)), how, pa.scalar(value, pa.timestamp("us"))
    if pa.types.is_integer(column.type) and isinstance(value, int):
        try:
            return column, how, pa.scalar(value, column.type)
        except (pa.ArrowInvalid, OverflowError):
            return column, how, pa.scalar(float(value))
    if pa.types.is_floating(column.type):  # of single precision as the user wrote it, not a neighbour in double
        return column, how, pa.scalar(column.type.to_pandas_dtype()(value), column.type)
    return column, how, pa.scalar(value)


def _no_column(name: str, known: list[str], more: str = "") -> OptionError:
    have = f"columns are {', '.join(known)}" if known else "the store has none; convert with columns="
    return OptionError(f"where: no column {name!r}{did_you_mean(name, known)}; {have}{more}")
