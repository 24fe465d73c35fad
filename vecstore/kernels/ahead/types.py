"""What the types of an entry stand for, as `vecstore.kernels.entries` writes them."""

from __future__ import annotations

from typing import Any

from numba import types

from vecstore.kernels.levels import LEVELS, static
from vecstore.kernels.numbers import arithmetic, whole_type

__all__ = ["types_of"]

NUMBERS = {
    "b1": types.boolean,
    "u1": types.uint8,
    "u2": types.uint16,
    "u4": types.uint32,
    "u8": types.uint64,
    "i4": types.int32,
    "i8": types.int64,
    "f4": types.float32,
    "f8": types.float64,
}

TUPLES = {
    "TILES": "(u1[::1], i8[::1], i8[::1], i8[::1], i8, i8, i8, i8)",
    "LISTS": "(u1[::1], i8[::1], u4[::1], i8[::1], i8, i8)",
    "HEAP": "(out(f8[:, ::1]), out(i8[:, ::1]), out(i8[::1]), out(f8[::1]))",
    "TABLE_QUERIES": "(f4[:, :, ::1], f4[:, ::1], f8[::1], f8, f8, f8, i8, b1)",
    "NUMBER_QUERIES": "(f4[:, ::1], whole[:, ::1], u1[::1], f8[:, ::1], f8[::1], f4[:, ::1], f8, f8, i8, out(f4[::1]))",
    "PIECES": "(i8[::1], i8[::1], i8[::1], u8[:, ::1])",
    "CENTROIDS": "(u1[::1], i8, f4[:, ::1])",
    "LOOKUPS": "(i8[:, ::1], i8[:, ::1], u8[:, ::1], i8[::1], i4[::1], u1[:, ::1])",
    "STAGE": "(i8, LOOKUPS, i8[::1], f4[:, ::1], f4[:, ::1], f8, f8)",
    "DECODING": "(u1[::1], i8[::1], i8[::1], f4[::1], (i8[::1], i8[::1], i8[::1], i8[::1]), i8[::1], i8[::1], i8)",
    "TRELLIS_SCORES": "(i8, f4[:, ::1], f8[:, ::1], i8[::1], i8, f8, f4[:, ::1], f8[::1])",
    "TRELLIS_QUERIES": "(i8, f4[:, ::1], f8[:, ::1], i8[::1], f8[:, ::1], f8[::1], f8[:, ::1], i8)",
    "WHOLE_NUMBERS": "(i8[::1], i4[::1], u1[:, ::1], u1[:, ::1])",
    "WHOLE_QUERIES": "(u1[:, ::1], f4[::1], f8[::1], f8[::1])",
}


def types_of(signature: str, level: str) -> tuple[types.Type, ...]:
    """Return numba's types of the arguments that a signature tells, in the library of a level."""
    names: dict[str, Any] = {**NUMBERS, "whole": getattr(types, whole_type(level).name), "tag": _tag, "out": _Out}
    names["of_bytes"] = _tag(len(arithmetic(level, of_bytes=True)) - 1)
    names["level"] = _tag(LEVELS.index(level))
    for name, told in TUPLES.items():
        names[name] = eval(told, names)
    finished = _finished(eval(f"({signature},)", names))
    return tuple(finished)


def _tag(number: int) -> types.Type:
    return types.UniTuple(types.int64, len(static(number)))


class _Out:
    """An array that is written to."""

    def __init__(self, array: types.Array) -> None:
        self.array = array


def _finished(told: Any) -> Any:
    if isinstance(told, tuple):
        return types.Tuple(list(map(_finished, told)))
    if isinstance(told, _Out):
        return told.array
    return told.copy(readonly=True) if isinstance(told, types.Array) else told
