"""What is known of the workers of an executor: how many there are, and which of them holds what."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from vecstore.distributed.processes import Processes
from vecstore.parallel import processor_count

__all__ = ["Kept", "are_here", "at_once", "is_gone", "workers_of"]

WORKERS = 8  # that an executor is taken to have that does not tell


def workers_of(executor: Executor) -> int:
    """Return how many tasks an executor does at a time, as far as it tells."""
    client: Any = getattr(executor, "_client", None)  # of Dask
    if getattr(client, "status", "") == "running":
        with suppress(Exception):  # its scheduler is lost, which who gives it a task is told
            return max(sum(client.nthreads().values()), 1)
    for name in ("workers", "_max_workers"):  # of `Processes`, of the standard library's
        found = getattr(executor, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return WORKERS


def are_here(executor: Executor) -> bool:
    """Return whether the workers of an executor are known to share this machine's memory with the process that asks."""
    return isinstance(executor, (Processes, ProcessPoolExecutor, ThreadPoolExecutor))


def at_once(executor: Executor) -> int:
    """Return how many tasks are done at a time: no more than there are processors for workers on this machine."""
    workers = workers_of(executor)
    return min(workers, processor_count()) if are_here(executor) else workers


def is_gone(executor: Executor) -> bool:
    """Return whether an executor does no more tasks and tells nobody: Dask's, once its client gave up the scheduler."""
    return getattr(getattr(executor, "_client", None), "status", "") in ("closing", "closed")


class Kept(Executor):
    """Another executor, whose workers are each given the same parts of some work again, as long as they live.

    So that each has in memory what its own parts need. Dask is told which worker should do a task; others are left to
    choose.
    """

    def __init__(self, executor: Executor, part_of: Callable[[Any], int]) -> None:
        self._executor, self._part_of = executor, part_of
        self._client: Any = getattr(executor, "_client", None)

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Have a task done whose first argument is the work, by the worker that holds its part, or by another."""
        executor, client = self._executor, self._client
        workers = [] if client is None else sorted(client.nthreads())
        if client is not None and workers:
            holder = workers[self._part_of(arguments[0]) % len(workers)]
            executor = client.get_executor(workers=[holder], allow_other_workers=True, pure=False)
        return executor.submit(task, *arguments, **options)
