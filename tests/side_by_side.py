"""What processes of tests that run at once have in common: the compiled kernels on disk."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Any


def guard_compiled_kernels() -> None:
    """Let numba save or load one kernel at a time.

    Two processes that save the same function for different types at once could give both the same file.
    """
    from numba.core.caching import IndexDataCacheFile

    def alone(method: Any) -> Any:
        def locked(*arguments: Any) -> Any:
            with (Path(tempfile.gettempdir()) / f"vecstore-tests-{os.getuid()}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return method(*arguments)

        return locked

    for name in ("save", "load"):
        setattr(IndexDataCacheFile, name, alone(getattr(IndexDataCacheFile, name)))
