"""Which columns of a table are the vectors and the keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecstore.formats.dump import KeyType

from vecstore.errors import FormatError, did_you_mean, require

__all__ = ["ColumnChoice", "choose_columns", "is_integer", "is_list", "known_columns"]

_KEY_NAMES = ("key", "id", "word", "token", "name")


@dataclass(frozen=True)
class ColumnChoice:
    """The columns; `dimensions` is None when only the rows tell."""

    vectors: str
    dimensions: int | None
    keys: str | None
    key_type: KeyType | None


def choose_columns(
    schema: Any, path: Path, *, key_column: str | None, vector_column: str | None, beside: Sequence[str] = ()
) -> ColumnChoice:
    """Choose the columns named, else the only list of numbers, but those `beside`, and the likeliest column of keys."""
    columns: dict[str, Any] = {}
    for field in schema:
        if field.name in columns:
            raise FormatError(f"two columns are named {field.name!r}; rename one", path=path)
        columns[field.name] = field.type
    vectors = _vectors(columns, path, vector_column, beside)
    keys = _keys({name: kind for name, kind in columns.items() if name != vectors}, path, key_column)
    kind = columns[vectors]
    dimensions = kind.list_size if _types().is_fixed_size_list(kind) else None
    return ColumnChoice(vectors, dimensions, keys, None if keys is None else _key_type(columns[keys]))


def known_columns(wanted: Iterable[str], names: Iterable[str], path: Path) -> tuple[str, ...]:
    """Return the columns that are wanted beside the vectors, each once; raises `FormatError` where there is no such."""
    found, there = tuple(dict.fromkeys(wanted)), dict.fromkeys(names)
    for name in found:
        if name not in there:
            raise _missing(name, there, path)
    return found


def is_list(kind: Any) -> bool:
    """Tell whether a type is a list of numbers."""
    types = _types()
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(listed and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)))


def is_integer(kind: Any) -> bool:
    """Tell whether a type is an integer."""
    return bool(_types().is_integer(kind))


def _vectors(columns: dict[str, Any], path: Path, named: str | None, beside: Sequence[str]) -> str:
    candidates = [name for name, kind in columns.items() if is_list(kind)]
    if named is not None:
        expected = "a list or fixed_size_list of numbers" + _listing(candidates)
        return _checked(named, columns, path, problem="holds no vectors", expected=expected, candidates=candidates)
    others = [name for name in candidates if name not in beside]
    if len(candidates) == 1 or len(others) == 1:
        return (others or candidates)[0]
    if candidates:
        names = ", ".join(map(repr, candidates))
        raise FormatError(f"several columns could be the vectors: {names}; name one with vector_column=...", path=path)
    found = ", ".join(f"{name!r} {kind}" for name, kind in columns.items())
    raise FormatError("no column holds lists of numbers", path=path, found=found or "no columns")


def _keys(columns: dict[str, Any], path: Path, named: str | None) -> str | None:
    candidates = [name for name, kind in columns.items() if _key_type(kind)]
    if named is not None:
        expected = "strings, bytes or integers" + _listing(candidates)
        return _checked(named, columns, path, problem="cannot serve as keys", expected=expected, candidates=candidates)
    by_name = {name.lower(): name for name in reversed(candidates)}
    return next((by_name[name] for name in _KEY_NAMES if name in by_name), candidates[0] if candidates else None)


def _checked(
    named: str, columns: dict[str, Any], path: Path, *, problem: str, expected: str, candidates: list[str]
) -> str:
    """Return the column that was named; raises `FormatError` when there is none, or it will not do."""
    if named not in columns:
        raise _missing(named, columns, path)
    if named not in candidates:
        raise FormatError(f"column {named!r} {problem}", path=path, expected=expected, found=str(columns[named]))
    return named


def _key_type(kind: Any) -> KeyType | None:
    types = _types()
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_integer(kind):
        return "int64"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "str"
    if any(
        test(kind)
        for test in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    ):
        return "bytes"
    return None


def _missing(name: str, columns: Mapping[str, Any], path: Path) -> FormatError:
    return FormatError(f"no column {name!r}{did_you_mean(name, columns)}", path=path, found=", ".join(columns))


def _listing(candidates: list[str]) -> str:
    return f", such as {', '.join(map(repr, candidates))}" if candidates else ""


def _types() -> Any:
    return require("pyarrow", purpose="reading columns").types
