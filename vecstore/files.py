"""Regular files, and nothing else: a pipe would wait for ever, a device never end."""

from __future__ import annotations

import os
import stat
from typing import IO

from vecstore.errors import FormatError

__all__ = ["open_regular"]


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file for reading; raises `FormatError` for pipes, sockets and devices, `OSError` as `open` does."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FormatError("no regular file: a pipe or a device; copy it to a file first", path=path)
    return file
