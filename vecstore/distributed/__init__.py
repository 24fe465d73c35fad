"""Work past one process: tasks that any executor does, and searches over workers that hold shards."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecstore.distributed.processes import Processes
    from vecstore.distributed.searcher import Searcher

__all__ = ["Processes", "Searcher"]

_HOMES = {"Processes": "vecstore.distributed.processes", "Searcher": "vecstore.distributed.searcher"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
