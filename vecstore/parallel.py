"""Run a function that releases the GIL over slices of rows, on all processors."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

__all__ = ["over_slices", "thread_count"]


def thread_count() -> int:
    """Return how many threads to use: VECSTORE_THREADS, else the processors this process may run on."""
    asked = os.environ.get("VECSTORE_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_slices(function: Callable[[slice], Any], rows: int, *, at_least: int = 1024) -> None:
    """Call `function` with slices that cover `rows`, each of `at_least` rows or more, in parallel threads."""
    parts = min(thread_count(), max(rows // at_least, 1))
    edges = [rows * part // parts for part in range(parts + 1)]
    slices = [slice(start, end) for start, end in pairwise(edges)]
    if parts == 1:
        function(slices[0])
        return
    with ThreadPoolExecutor(parts) as pool:
        for done in [pool.submit(function, piece) for piece in slices]:
            done.result()
