"""The library of a target: all entries, compiled and linked."""

from __future__ import annotations

import os
from pathlib import Path

from vecstore.kernels import entries
from vecstore.kernels.ahead.compiling import TARGETS, compile_entries
from vecstore.kernels.ahead.linking import link
from vecstore.kernels.entry import Entry
from vecstore.kernels.libraries import file_name

__all__ = ["make"]


def make(target: str, folder: Path) -> None:
    """Write it into a folder, in one step. Only the first one that a process makes is right: numba keeps its code."""
    every = [entry for entry in vars(entries).values() if isinstance(entry, Entry)]
    path = folder / file_name(target)  # by the sources as they are now, should they change in the meantime
    written = path.with_suffix(f".{os.getpid()}")
    written.write_bytes(link(compile_entries(every, TARGETS[target])))
    written.replace(path)
