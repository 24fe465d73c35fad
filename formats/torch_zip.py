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
MOST_INSTRUCTIONS = 1 << 20  # tens of thousands of tensors; each may put an object of 64 bytes on the stack
MOST_LENGTHS = 8  # of a shape
LONGEST_NAME, DEEPEST = 1000, 16


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass(frozen=True)
class _Tensor:
    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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
            if program is None:
                raise FormatError("is no file of torch.save: it has no data.pkl", path=path)
            sizes = [max(member.file_size, member.compress_size) for member in archive.infolist()]
            if sum(sizes) > path.stat().st_size:
                raise FormatError("is no file of torch.save: its members are compressed, or overlap", path=path)
            folder = program.removesuffix("data.pkl")
            if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
                raise FormatError("holds big-endian numbers, which are not read", path=path)
            storages: dict[str, NDArray[Any]] = {}  # one may be that of many tensors
            tensors = _tensors(_Machine(path).run(archive.read(program)))
            return {name: _array(archive, folder, tensor, storages, name, path) for name, tensor in tensors.items()}
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
        self._marks: list[int] = []  # how high the stack was at each
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        try:
            for number, (opcode, argument, position) in enumerate(pickletools.genops(program)):
                if number == MOST_INSTRUCTIONS:
                    raise self._refused("more than a million instructions", position or 0)
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

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def tuple_of(self, count: int) -> None:
        self._replace(count, tuple(self._stack[-count:]))

    def tuple_above_mark(self) -> None:
        self._stack.append(tuple(self._above_mark()))

    def keep(self, number: int | None) -> None:
        self._memo[len(self._memo) if number is None else number] = self._stack[-1]

    def recall(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def name_from_stack(self) -> None:
        module, name = self._stack[-2:]
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > LONGEST_NAME:
            raise TypeError("no name")
        self._replace(2, _Name(f"{module} {name}"))

    def storage(self) -> None:
        self._replace(1, ("persistent", self._stack[-1]))

    def set_item(self) -> None:
        _dictionary(self._stack[-3]).update([_item(*self._stack[-2:])])
        del self._stack[-2:]

    def set_items(self) -> None:
        items = self._above_mark()
        _dictionary(self._stack[-1]).update(_item(*pair) for pair in zip(items[::2], items[1::2], strict=True))

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
            if kind == "persistent" and all(isinstance(each, tuple) for each in (storage, shape, strides)):
                return _Tensor(storage, offset, shape, strides)
        what = function.text if isinstance(function, _Name) else "something"
        raise self._refused(f"a call of {what}", position)

    def _replace(self, count: int, value: Any) -> None:
        if len(self._stack) < count:
            raise IndexError("too few values")
        del self._stack[-count:]
        self._stack.append(value)

    def _above_mark(self) -> list[Any]:
        at = self._marks.pop()
        items = self._stack[at:]
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
    "MARK": lambda machine, _: machine.mark(),
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


def _item(name: Any, value: Any) -> tuple[Any, Any]:
    # Other keys of dictionaries could be tuples of tuples that take for ever to hash.
    if not isinstance(name, (str, int)):
        raise TypeError("no name of a tensor")
    return name, value


def _tensors(outermost: Any) -> dict[str, _Tensor]:
    """Return all tensors in nested dictionaries and lists, each of which is looked into once."""
    found: dict[str, _Tensor] = {}
    seen: set[int] = set()

    def look(value: Any, prefix: str, depth: int) -> None:
        if isinstance(value, _Tensor):
            found[prefix] = value
        elif isinstance(value, (dict, list)) and depth <= DEEPEST and id(value) not in seen:
            seen.add(id(value))
            for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
                look(inner, f"{prefix}.{name}"[:LONGEST_NAME] if prefix else str(name)[:LONGEST_NAME], depth + 1)

    look(outermost, "", 0)
    return found


def _array(
    archive: zipfile.ZipFile,
    folder: str,
    tensor: _Tensor,
    storages: dict[str, NDArray[Any]],
    name: str,
    path: Path,
) -> NDArray[Any]:
    """Return a tensor's numbers, a view of its storage, after making sure that they lie inside that."""
    shape, strides = tensor.shape, tensor.strides
    _, kind, key = (*tensor.storage, None, None, None)[:3]
    sound = isinstance(kind, _Name) and isinstance(key, str) and len(shape) == len(strides) <= MOST_LENGTHS
    if not sound or any(type(n) is not int or not 0 <= n < 1 << 62 for n in (tensor.offset, *shape, *strides)):
        raise FormatError("describes a tensor in a malformed way", path=path, where=f"tensor {name!r}")
    own_kind = kind.text.removeprefix("torch ")
    if own_kind not in STORAGES:
        raise FormatError(f"has a tensor of unknown type {own_kind[:40]}", path=path, where=f"tensor {name!r}")
    place = f"{own_kind} {key}"
    if place not in storages:
        storages[place] = _storage(archive.read(f"{folder}data/{key}"), own_kind)
    storage = storages[place]
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if prod(shape) == 0 or prod(shape) > len(storage) or last >= len(storage):
        raise FormatError("has a tensor that lies outside of its bytes", path=path, where=f"tensor {name!r}")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], shape, steps, writeable=False)


def _storage(data: bytes, kind: str) -> NDArray[Any]:
    dtype = np.dtype(STORAGES[kind])
    numbers = np.frombuffer(data, dtype, len(data) // dtype.itemsize)
    return (numbers.astype("<u4") << 16).view("<f4") if kind == "BFloat16Storage" else numbers
