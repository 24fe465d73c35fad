"""Pickles taken apart without running them: lists, dicts, strings, numbers; classes and calls stay words.

A pickle is a program. Here its instructions put plain values together; what would be a call becomes a `Made` that says
what was to be called with what. Nothing is imported and nothing is called.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecstore.errors import FormatError

__all__ = ["Made", "Name", "read_pickle"]

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Instructions that put a value on the stack; genops has read it already.
_VALUES = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
           "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING",
           "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")  # fmt: skip
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, eq=False)
class Name:
    """The name of a class or a function."""

    text: str


@dataclass(eq=False)
class Made:
    """What would have been an object: what was to be called, with what, and the state that it was to get."""

    kind: Any
    arguments: Any
    state: Any = None


def read_pickle(path: Path, data: bytes) -> Any:
    """Return what a pickle describes, in plain values.

    Raises
    ------
    FormatError
        It is damaged, or holds an instruction that plain values do not need.
    """
    machine = _Machine()
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "STOP":
                return machine.stack.pop()
            machine.step(code.name, argument)
    except FormatError:
        raise
    except Exception as error:  # what a damaged pickle does to a stack raises nearly anything
        raise FormatError(f"the pickle is damaged: {type(error).__name__}: {str(error)[:80]}", path=path) from None
    raise FormatError("the pickle ends early", path=path)


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[len(self._memo) if argument is None else int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[int(argument)])
        elif name in _TUPLES:
            count = _TUPLES[name]
            values = tuple(stack[len(stack) - count :])
            del stack[len(stack) - count :]
            stack.append(values)
        elif name not in ("PROTO", "FRAME"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:  # noqa: C901 - an instruction a branch
        stack = self.stack
        match name:
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "LIST" | "FROZENSET":
                stack.append(self._since_mark())
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "DICT":
                values = self._since_mark()
                stack.append({_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)})
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS" | "ADDITEMS":
                values = self._since_mark()
                stack[-1].extend(values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set(stack[-1], [key, value])
            case "SETITEMS":
                values = self._since_mark()
                self._set(stack[-1], values)
            case "GLOBAL":
                stack.append(Name(str(argument).replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(Name(f"{module}.{attribute}"[:200]))
            case "REDUCE" | "NEWOBJ":
                arguments, kind = stack.pop(), stack.pop()
                stack.append(Made(kind, arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case "POP":
                stack.pop()
            case _:
                raise ValueError(f"an instruction {name}")

    def _since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    @staticmethod
    def _set(target: Any, values: list[Any]) -> None:
        if isinstance(target, Made):  # a subclass of dict: its items are of no interest here
            return
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value


def _key(key: Any) -> Any:
    """Return a key as it is where it is plain; anything that would have to be hashed through is no key here."""
    if not isinstance(key, (str, bytes, int, float, bool, type(None))):
        raise ValueError("a key that is no plain value")
    return key
