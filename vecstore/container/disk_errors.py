"""Errors of the disk that LMDB raises as its own, raised as those of the system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["disk_errors"]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise `OSError` in the place of what LMDB raises where a disk is full or broken; other errors as they are."""
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        reason = str(error).rpartition(": ")[2]
        number = next((each for each in errno.errorcode if os.strerror(each) == reason), None)
        if number is None:
            raise
        raise OSError(number, reason, str(path)) from error
