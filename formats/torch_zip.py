"""Arrays in the zip files that torch.save writes, read without torch and without running anything in them.

The archive holds a pickle that describes the tensors, and their bytes as members of their own. A pickle is a program;
here its instructions are read one by one, and those that put dictionaries and tensors together are the only ones known.
Nothing is imported and nothing is called, whatever names the file holds.
"""

from __future__ import annotations

import errno
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import FormatError

__all__ = ["read_torch_zip"]

STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2",
            "LongStorage": "<i8", "IntStorage": "<i4"}  # fmt: skip
DICTIONARY = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, OSError, RuntimeError, ValueError)
MOST_PICKLE_BYTES = 1 << 28


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass(frozen=True)
class _Tensor:
    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    pass


def read_torch_zip(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file by name; those inside nested dictionaries as ``outer.inner``.

    Raises
    ------
    FormatError
        Not such a file, a damaged one, or one that holds more than dictionaries, lists, numbers and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            program = next((name for name in members if name.endswith("/data.pkl")), None)
            if program is None or archive.getinfo(program).file_size > MOST_PICKLE_BYTES:
                raise FormatError("is no file of torch.save: it has no data.pkl of a sane size", path=path)
            folder = program.removesuffix("data.pkl")
            if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
                raise FormatError("holds big-endian numbers, which are not read", path=path)
            tensors = _tensors(_Machine(path).run(archive.read(program)), "")
            return {name: _array(archive, folder, tensor, name, path) for name, tensor in tensors.items()}
    except FormatError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL comes of made-up places
            raise
        raise FormatError(f"is no file of torch.save, or is damaged: {error}", path=path) from None


class _Machine:
    """What is needed of a pickle's stack machine to put dictionaries of tensors together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        try:
            for opcode, argument, position in pickletools.genops(program):
                if opcode.name == "STOP":
                    return self._stack[-1]
                self._do(opcode.name, argument, position or 0)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"describes its tensors in a malformed way: {error}", path=self._path) from None
        raise FormatError("describes its tensors in a malformed way: no end", path=self._path)

    def _do(self, name: str, argument: Any, position: int) -> None:
        if name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument)
        elif name == "REDUCE":
            self._replace(2, self._made(self._stack[-2], self._stack[-1], position))
        else:
            raise self._refused(f"the instruction {name}", position)

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def tuple_of(self, count: int) -> None:
        self._replace(count, tuple(self._stack[-count:]))

    def tuple_above_mark(self) -> None:
        self._stack.append(tuple(self._above_mark()))

    def keep(self, number: int | None) -> None:
        self._memo[len(self._memo) if number is None else number] = self._stack[-1]

    def recall(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def name_from_stack(self) -> None:
        self._replace(2, _Name(f"{self._stack[-2]} {self._stack[-1]}"))

    def storage(self) -> None:
        self._replace(1, ("persistent", self._stack[-1]))

    def set_item(self) -> None:
        _dictionary(self._stack[-3])[self._stack[-2]] = self._stack[-1]
        del self._stack[-2:]

    def set_items(self) -> None:
        items = self._above_mark()
        _dictionary(self._stack[-1]).update(zip(items[::2], items[1::2], strict=True))

    def append(self) -> None:
        _list(self._stack[-2]).append(self._stack.pop())

    def extend(self) -> None:
        items = self._above_mark()
        _list(self._stack[-1]).extend(items)

    def drop_state(self) -> None:
        """Leave a dictionary as it is: the state is metadata, which is not needed."""
        _dictionary(self._stack[-2])
        self._stack.pop()

    def _made(self, function: Any, arguments: Any, position: int) -> Any:
        """Return what the few known functions would; every other one is refused."""
        if function == _Name(DICTIONARY) and arguments == ():
            return {}
        if function == _Name(PARAMETER):
            return arguments[0]
        if function == _Name(TENSOR):
            (kind, storage), offset, shape, strides = arguments[:4]
            if kind == "persistent":
                return _Tensor(tuple(storage), offset, tuple(shape), tuple(strides))
        what = function.text if isinstance(function, _Name) else "something"
        raise self._refused(f"a call of {what}", position)

    def _replace(self, count: int, value: Any) -> None:
        if len(self._stack) < count:
            raise IndexError("too few values")
        del self._stack[-count:]
        self._stack.append(value)

    def _above_mark(self) -> list[Any]:
        at = max(i for i, value in enumerate(self._stack) if isinstance(value, _Mark))
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _refused(self, what: str, position: int) -> FormatError:
        return FormatError(
            f"holds {what}, which is not followed: only dictionaries of tensors are read; save the state dictionary",
            path=self._path,
            where=f"data.pkl, byte {position}",
        )


# What each known instruction does to the machine, given its argument. REDUCE is not among them: it calls.
INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    **dict.fromkeys(
        ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Machine.push
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": lambda machine, _: machine.push(_Mark()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.tuple_above_mark(),
    "BINPUT": _Machine.keep,
    "LONG_BINPUT": _Machine.keep,
    "MEMOIZE": _Machine.keep,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, name: machine.push(_Name(name)),
    "STACK_GLOBAL": lambda machine, _: machine.name_from_stack(),
    "BINPERSID": lambda machine, _: machine.storage(),
    "SETITEM": lambda machine, _: machine.set_item(),
    "SETITEMS": lambda machine, _: machine.set_items(),
    "APPEND": lambda machine, _: machine.append(),
    "APPENDS": lambda machine, _: machine.extend(),
    "BUILD": lambda machine, _: machine.drop_state(),
}


def _dictionary(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError("no dictionary")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _tensors(value: Any, prefix: str, depth: int = 0) -> dict[str, _Tensor]:
    if isinstance(value, _Tensor):
        return {prefix: value}
    if not isinstance(value, (dict, list)) or depth > 16:
        return {}
    found: dict[str, _Tensor] = {}
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found |= _tensors(inner, f"{prefix}.{name}" if prefix else str(name), depth + 1)
    return found


def _array(archive: zipfile.ZipFile, folder: str, tensor: _Tensor, name: str, path: Path) -> NDArray[Any]:
    """Return a tensor's numbers, after making sure that they lie inside its storage."""
    shape, strides = tensor.shape, tensor.strides
    numbers = [tensor.offset, *shape, *strides]
    if len(tensor.storage) < 5 or len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
        raise FormatError("describes a tensor in a malformed way", path=path, where=f"tensor {name!r}")
    kind, key = tensor.storage[1], tensor.storage[2]
    dtype = STORAGES.get(kind.text.removeprefix("torch ")) if isinstance(kind, _Name) else None
    if dtype is None:
        raise FormatError(f"has a tensor of unknown type {kind}", path=path, where=f"tensor {name!r}")
    data = np.frombuffer(archive.read(f"{folder}data/{key}"), np.uint8)
    storage = data[: len(data) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if prod(shape) == 0 or prod(shape) > len(storage) or last >= len(storage):
        raise FormatError("has a tensor that lies outside of its bytes", path=path, where=f"tensor {name!r}")
    size = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], shape, [stride * size for stride in strides])
    found = np.ascontiguousarray(view)
    return (found.astype("<u4") << 16).view("<f4") if "BFloat16" in kind.text else found
