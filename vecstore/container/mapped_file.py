"""A file in the address space of the process: mapped for reading, without keeping a descriptor of it."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptError, FormatError
from vecstore.files import open_regular

__all__ = ["MappedFile", "mapped", "mapped_numbers"]

SMALL_BYTES = 1 << 20
FAILED = ctypes.c_void_p(-1).value
REMEDIES = {
    errno.EMFILE: "the system opens no more files for this process: close some, or raise its limit (ulimit -n)",
    errno.ENFILE: "the system opens no more files: close some, or raise its limit (fs.file-max)",
    errno.ENOMEM: "the system maps no more files for this process: close some stores, or raise its limit "
    "(vm.max_map_count)",
}


class MappedFile:
    """A file, mapped read-only. No byte of it was read.

    It stays as it is where the file is removed, or another takes its name.

    Parameters
    ----------
    path : path
    safe : bool
        Read a copy into memory, which nobody can cut off.

    Attributes
    ----------
    path : str
    data : (size,) uint8
        The whole file. Views of it stay valid as long as they are referenced.

    Raises
    ------
    FormatError
        It is empty, or no regular file.
    OSError
        There is none; or the system opens or maps no more files, and what to do.
    """

    def __init__(self, path: str | Path, *, safe: bool = False) -> None:
        self.path = str(path)
        if os.path.isdir(self.path):
            raise FormatError("no regular file: a directory", path=self.path)
        try:
            with open_regular(self.path) as file:
                size = os.fstat(file.fileno()).st_size
                if size == 0:
                    raise FormatError("not a vecstore store: the file is empty", path=self.path)
                self.data = self._copy(file, size) if safe else mapped(file.fileno(), size)
        except OSError as error:
            if error.errno not in REMEDIES:
                raise
            raise OSError(error.errno, REMEDIES[error.errno], self.path) from None

    def __str__(self) -> str:
        return self.path

    def advise(self, advice: str) -> None:
        """Tell the system how the map is read from now on, such as "MADV_RANDOM", where systems are told.

        Not of a small file: all that is read ahead of it takes less time than that.
        """
        if len(self.data) > SMALL_BYTES and os.name == "posix" and hasattr(mmap, advice):
            _system().madvise(self.data.ctypes.data, len(self.data), getattr(mmap, advice))

    def _copy(self, file: Any, size: int) -> NDArray[np.uint8]:
        copy = mmap.mmap(-1, size)
        if file.readinto(copy) != size:
            raise CorruptError("the file was cut off while it was read; open it again", path=self.path)
        return np.frombuffer(copy, np.uint8)


class _Map:
    """A map by the system's own call: Python's keeps a descriptor of the file as long as the map."""

    def __init__(self, descriptor: int, size: int) -> None:
        system = _system()
        address = system.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == FAILED:
            self._unmap = None
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._unmap, self._place = system.munmap, (address, size)
        self.__array_interface__ = {"data": (address, True), "shape": (size,), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        if self._unmap is not None:
            self._unmap(*self._place)


def mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    """Return the first bytes, one or more, of an open file as an array (size,) that cannot be written.

    It is mapped as long as a view is referenced. The descriptor may be closed.
    """
    if os.name != "posix":
        return np.frombuffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ), np.uint8)
    return np.asarray(_Map(descriptor, size))


def mapped_numbers(path: Path) -> NDArray[np.uint64]:
    """Return a file of numbers of eight bytes, which may hold none, as an array that cannot be written: (n,)."""
    return MappedFile(path).data.view("<u8") if path.stat().st_size else np.empty(0, np.uint64)


@cache
def _system() -> Any:
    """Return the C library of the system."""
    system = ctypes.CDLL(None, use_errno=True)
    number, size, pointer = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    system.mmap.restype, system.mmap.argtypes = pointer, [pointer, size, number, number, number, ctypes.c_long]
    system.munmap.argtypes, system.madvise.argtypes = [pointer, size], [pointer, size, number]
    return system
