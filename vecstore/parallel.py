"""Run a function that releases the GIL over slices of rows, on all processors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from vecstore.errors import OptionError

if TYPE_CHECKING:
    from concurrent.futures import Executor, ThreadPoolExecutor

__all__ = ["checked_executor", "over_items", "over_slices", "processor_count", "thread_count"]

Item = TypeVar("Item")


def thread_count() -> int:
    """Return how many threads to use: VECSTORE_THREADS, else the processors this process may run on.

    In a thread at work for `over_slices` or `over_items` it is one: what is called there shares out nothing more.
    """
    if _busy.inside:
        return 1
    asked = os.environ.get("VECSTORE_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return processor_count()


def processor_count() -> int:
    """Return on how many processors this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_slices(function: Callable[[slice], Any], rows: int, *, at_least: int = 1024) -> None:
    """Call `function` with slices that cover `rows`, each of `at_least` rows or more, in parallel threads.

    The calling thread does its share, and what no other thread has begun by then. Called from `function` itself, this
    runs in the thread that it is called in.
    """
    parts = min(thread_count(), rows // at_least) if rows >= 2 * at_least else 1
    if parts == 1:
        function(slice(0, rows))
        return
    slices = [slice(*edge) for edge in pairwise(rows * part // parts for part in range(parts + 1))]

    def marked(piece: slice) -> None:
        before, _busy.inside = _busy.inside, True
        try:
            function(piece)
        finally:
            _busy.inside = before

    started = [(piece, _threads().submit(marked, piece)) for piece in slices[1:]]
    try:
        marked(slices[0])
        for piece, done in started:
            if done.cancel():
                marked(piece)
    finally:
        begun = [done for _, done in started if not done.cancel()]
        for done in begun:
            done.exception()  # wait for all, also when one failed
    for done in begun:
        done.result()


def over_items(function: Callable[[Item], Any], items: Sequence[Item]) -> None:
    """Call `function` with every item, in parallel threads that take the next item as they get free.

    The calling thread does its share.
    """
    if len(items) == 1:
        function(items[0])
        return
    waiting = iter(items)
    taking = threading.Lock()

    def work(_: slice) -> None:
        while True:
            with taking:
                item = next(waiting, None)
            if item is None:
                return
            function(item)

    over_slices(work, min(len(items), thread_count()), at_least=1)


class _Busy(threading.local):
    """Whether this thread is at work for `over_slices`: waiting for others then could be waiting for itself."""

    inside = False


_busy = _Busy()
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _threads() -> ThreadPoolExecutor:
    """Return the pool; started at first use and kept, since starting threads takes longer than many a slice."""
    from concurrent.futures import ThreadPoolExecutor

    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(thread_count() - 1, 1), thread_name_prefix="vecstore")
        return _pool


def _forget_threads() -> None:
    """A child of fork has none of its parent's threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def checked_executor(executor: Any) -> Executor:
    """Return the executor; raise `OptionError` where it is none."""
    if callable(getattr(executor, "submit", None)):
        return executor
    raise OptionError(
        f"executor= is a concurrent.futures.Executor, found {type(executor).__name__}; of a Dask client take "
        "client.get_executor()"
    )
