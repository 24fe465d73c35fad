"""The columns of attributes of a shard: Arrow arrays over the map.

docs/format.md, section 5 (Shards), specifies the parts.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.container.document import field, whole
from vecstore.errors import CorruptError, require
from vecstore.shard.attribute_types import MOST_COLUMNS, NUMBERS, UNITS

__all__ = ["Attributes"]

CODES, STARTS = ("|i1", "<i2", "<i4"), ("<i4", "<i8")
LONGEST_ZONE = 64


class Attributes:
    """The columns of a shard, in the order of its row numbers.

    Attributes
    ----------
    described : dict
        What the description says of each, by name.
    """

    def __init__(self, container: Container, rows: int) -> None:
        self._container, self._rows = container, rows
        self._arrays: dict[str, Any] = {}

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        about, path = self._container.description, self._container.path
        found: dict[str, dict[str, Any]] = {}
        for number, entry in enumerate(field(about, "columns", list, path) if "columns" in about else ()):
            if not isinstance(entry, dict) or number >= MOST_COLUMNS:
                raise CorruptError("member 'columns' is malformed", path=path)
            name, kind = field(entry, "name", str, path), field(entry, "type", str, path)
            if not name or name in found or kind not in (*NUMBERS, "bool", "timestamp", "string", "strings"):
                raise CorruptError(
                    f"columns: {name[:40]!r} comes twice, or has an unknown type", path=path, found=kind[:40]
                )
            nulls = whole(entry, "nulls", path, most=self._rows)
            found[name] = {**entry, "number": number, "nulls": nulls}
        return found

    def type_of(self, name: str) -> str:
        """Return the type of a column, for people."""
        about = self.described[name]
        if about["type"] == "timestamp":
            return f"timestamp[{', '.join(str(about[each]) for each in ('unit', 'zone') if each in about)}]"
        return {"strings": "list of strings"}.get(about["type"], str(about["type"]))

    @cached_property
    def schema(self) -> Any:
        """The types in which values become columns again: a `pyarrow.Schema`, as `kept_schema` gives it."""
        pa = require("pyarrow", purpose="keeping columns")
        text = {"string": pa.large_string(), "strings": pa.large_list(pa.large_string()), "bool": pa.bool_()}
        kinds = {
            name: text.get(about["type"])
            or (self._timestamp(pa, about) if about["type"] == "timestamp" else getattr(pa, about["type"])())
            for name, about in self.described.items()
        }
        return pa.schema(list(kinds.items()))

    def size_bytes(self, name: str) -> int:
        """Return the bytes of a column's parts."""
        prefix = f"columns.{self.described[name]['number']}."
        return sum(int(self._container.part(part).sizes.sum()) for part in self._container.names(prefix))

    def array(self, name: str) -> Any:
        """Return a column as a `pyarrow.Array` (rows,) over the map, all of it checked; raises `CorruptError`.

        It keeps the file mapped.
        """
        if name not in self._arrays:  # two threads may both make it
            self._arrays[name] = self._checked(name)
        return self._arrays[name]

    def verify(self) -> None:
        """Raise `CorruptError` unless all columns can be read; without pyarrow only what is said of them is checked."""
        for name in self.described if find_spec("pyarrow") else ():
            self._checked(name)

    def _checked(self, name: str) -> Any:
        pa = require("pyarrow", purpose="reading columns")
        try:
            array = self._made(pa, self.described[name])
            array.validate(full=True)  # starts in order, codes in range, UTF-8
        except (pa.ArrowException, ValueError, TypeError) as error:
            if isinstance(error, CorruptError):
                raise
            reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
            raise CorruptError(f"column {name[:40]!r} is malformed: {reason}", path=self._container.path) from None
        if array.null_count != self.described[name]["nulls"]:
            raise CorruptError(
                f"column {name[:40]!r} has another number of nulls than described", path=self._container.path
            )
        return array

    def _made(self, pa: Any, about: dict[str, Any]) -> Any:
        kind, parts = about["type"], _Parts(self._container, about["number"])
        rows, validity = self._rows, parts.bits("validity", self._rows) if about["nulls"] else None
        if kind == "string":
            return self._strings(pa, about, parts, rows, validity)
        if kind == "strings":
            lists = parts.starts("lists", rows)
            items = self._strings(pa, about, parts, int(lists[-1]), None)
            of = pa.list_ if lists.dtype == STARTS[0] else pa.large_list
            return pa.Array.from_buffers(
                of(items.type), rows, [_buffer(pa, validity), _buffer(pa, lists)], children=[items]
            )
        if kind == "bool":
            values, arrow = parts.bits("values", rows), pa.bool_()
        elif kind == "timestamp":
            values, arrow = parts.plain("values", ("<i8",), rows), self._timestamp(pa, about)
        else:
            values, arrow = parts.plain("values", (NUMBERS[kind],), rows), getattr(pa, kind)()
        return pa.Array.from_buffers(arrow, rows, [_buffer(pa, validity), _buffer(pa, values)])

    def _strings(self, pa: Any, about: dict[str, Any], parts: _Parts, rows: int, validity: Any) -> Any:
        """Return strings, or codes of a dictionary of them, `rows` of them."""
        coded = field(about, "dictionary", bool, self._container.path)
        codes = parts.plain("values", CODES, rows) if coded else None
        starts = parts.starts("starts", None if coded else rows)
        text = parts.plain("text", ("|u1",), int(starts[-1]))
        of = pa.string if starts.dtype == STARTS[0] else pa.large_string
        own = None if coded else _buffer(pa, validity)
        strings = pa.Array.from_buffers(of(), len(starts) - 1, [own, _buffer(pa, starts), _buffer(pa, text)])
        if codes is None:
            return strings
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(strings):  # also where there is null
            raise CorruptError("codes out of range", path=self._container.path)
        strings.validate(full=True)
        index = {"|i1": pa.int8, "<i2": pa.int16, "<i4": pa.int32}[codes.dtype.str]()
        return pa.DictionaryArray.from_buffers(
            pa.dictionary(index, strings.type), rows, [_buffer(pa, validity), _buffer(pa, codes)], strings
        )

    def _timestamp(self, pa: Any, about: dict[str, Any]) -> Any:
        path = self._container.path
        unit, zone = field(about, "unit", str, path), field(about, "zone", str, path) if "zone" in about else None
        if unit not in UNITS or (zone is not None and not (zone.isprintable() and len(zone) <= LONGEST_ZONE)):
            raise CorruptError("a timestamp has an unknown unit or zone", path=path, found=unit[:40])
        return pa.timestamp(unit, zone)


class _Parts:
    """The parts of a column, each one block."""

    def __init__(self, container: Container, number: int) -> None:
        self._container, self._prefix = container, f"columns.{number}."

    def bits(self, name: str, rows: int) -> NDArray[Any]:
        return self.plain(name, ("|u1",), -(-rows // 8))

    def starts(self, name: str, count: int | None) -> NDArray[Any]:
        """Return where `count` runs begin, and where the last one ends; of any number of runs for None."""
        found = self.plain(name, STARTS, None if count is None else count + 1)
        if not len(found) or found[0] or (np.diff(found) < 0).any():
            raise CorruptError(f"part {self._prefix}{name} does not begin at 0, or falls", path=self._container.path)
        return found

    def plain(self, name: str, dtypes: tuple[str, ...], count: int | None) -> NDArray[Any]:
        """Return the numbers of a part, of one of some types and so many, as they lie in the map."""
        part = self._container.expect(f"{self._prefix}{name}")
        if part.dtype.str not in dtypes or len(part.shape) != 1 or (count is not None and part.rows != count):
            raise CorruptError(
                f"part {part.name!r} is malformed",
                path=self._container.path,
                expected=f"{'any number' if count is None else count} of {' or '.join(dtypes)}",
                found=f"{part.shape}, {part.dtype.str}",
            )
        if part.blocks > 1:
            raise CorruptError(f"part {part.name!r} is cut into blocks", path=self._container.path)
        return part.array()


def _buffer(pa: Any, array: NDArray[Any] | None) -> Any:
    return None if array is None else pa.py_buffer(array)
