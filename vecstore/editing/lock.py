"""One writer at a time: a lock file in the store."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from vecstore.errors import BusyError

__all__ = ["COMPACTION_LOCK", "Lock"]

WRITER_LOCK, COMPACTION_LOCK = ".lock", ".compaction.lock"
ASK_EVERY_S = 0.01


class Lock:
    """A lock on the directory of a store, held inside a `with` block. The system lets go of it when a process dies.

    Parameters
    ----------
    directory : path
    wait_s : float
        How long to wait for another writer to end.
    name : str
        Which of the locks.
    of : str, optional
        What is locked, for messages; the directory by default.

    Raises
    ------
    BusyError
        Another writer is still at work then.
    """

    def __init__(self, directory: Path, *, wait_s: float = 0.0, name: str = WRITER_LOCK, of: str = "") -> None:
        self._directory, self._name, self._wait_s, self._of = directory, name, wait_s, of or directory

    def __enter__(self) -> Self:
        self._file = os.open(self._directory / self._name, os.O_RDWR | os.O_CREAT, 0o666)
        until = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(self._file)
                    raise BusyError(
                        f"{self._of}: another process is writing it; wait for it to end, or say how many "
                        "seconds to wait: wait=60"
                    ) from None
                time.sleep(ASK_EVERY_S)

    def __exit__(self, *error: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)  # a child that was forked has the file open still
        os.close(self._file)
