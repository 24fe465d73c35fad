"""A plugin of pytest that runs all kernels for another processor, under emulation: ``pytest -p emulated``.

VECSTORE_EMULATOR is the command that starts `emulated.c`, with a library of kernels. Tests see one instruction set.
"""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
from functools import cache
from threading import Lock

import numpy as np

from vecstore.kernels import levels
from vecstore.kernels.entry import Entry

LEVEL = "neon"
ONE_AT_A_TIME = Lock()  # kernels are called by several threads, and there is one pipe


@cache
def emulator():
    command = shlex.split(os.environ["VECSTORE_EMULATOR"])
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def call(entry, *arguments):
    """Call an entry there; arrays that may be written are copied back."""
    process, name = emulator(), entry.name.encode()
    with ONE_AT_A_TIME:
        process.stdin.write(struct.pack("<q", len(name)) + name + told(arguments))
        process.stdin.flush()
        result = heard(process.stdout)
        for array in arrays(arguments):
            if array.flags.writeable:
                array[...] = np.frombuffer(taken(process.stdout, array.nbytes), array.dtype).reshape(array.shape)
    if result is NotImplemented:
        raise TypeError(f"{entry.name} takes ({') or ('.join(entry.signatures)})")
    return result


def told(value):
    if isinstance(value, tuple):
        return b"T" + struct.pack("<q", len(value)) + b"".join(map(told, value))
    if isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value)
        flags = 0x103 if value.ndim == 1 else 0x101
        numbers = flat.dtype.num, flags | 0x400 * value.flags.writeable, value.ndim, flat.nbytes
        every = (*numbers, *value.shape, *flat.strides)
        return b"A" + struct.pack(f"<{len(every)}q", *every) + flat.tobytes()
    if isinstance(value, float | np.floating):
        return b"F" + struct.pack("<d", value)
    kind = b"B" if isinstance(value, bool | np.bool_) else b"I"
    return kind + struct.pack("<Q", int(value) & (1 << 64) - 1)


def heard(stream):
    kind = taken(stream, 1)
    if kind == b"T":
        return tuple(heard(stream) for _ in range(struct.unpack("<q", taken(stream, 8))[0]))
    if kind in b"IB":
        found = struct.unpack("<q", taken(stream, 8))[0]
        return found if kind == b"I" else bool(found)
    if kind == b"F":
        return struct.unpack("<d", taken(stream, 8))[0]
    if kind == b"E":
        raise RuntimeError("the kernel failed")
    return {b"N": None, b"X": NotImplemented}[kind]


def taken(stream, size):
    found = stream.read(size)
    if len(found) < size:
        raise EOFError("the emulator ended: a kernel read or wrote where nothing is")
    return found


def arrays(value):
    if isinstance(value, tuple):
        for item in value:
            yield from arrays(item)
    elif isinstance(value, np.ndarray):
        yield value


def pytest_configure():
    levels.levels = lambda: (LEVEL,)
    levels.best_level = cache(lambda: LEVEL)
    Entry.__call__ = call
