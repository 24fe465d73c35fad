"""Processes on this machine as an executor that outlives them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from threading import Lock, Thread
from typing import Any

from vecstore.errors import OptionError

__all__ = ["Processes"]

TRIES = 4  # of a task whose worker died
GRACE_S = 2.0  # from the death of a process to when its pool should have found out


class Processes(Executor):
    """An executor of processes on this machine; tasks of a process that dies are done again by others.

    The standard `concurrent.futures.ProcessPoolExecutor` gives up all of its tasks when one of its processes is
    killed. This one starts another pool, and hands it the tasks that were lost. A task that loses its process four
    times in a row has its own fault, and fails.

    Parameters
    ----------
    workers : int
        How many; each uses one thread.

    Raises
    ------
    OptionError
        `workers` is no positive number.

    Notes
    -----
    Processes are started anew, not forked. So a script that makes one has its code under
    ``if __name__ == "__main__":``, as `multiprocessing` asks for.
    """

    def __init__(self, workers: int) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise OptionError(f"workers are a positive number, found {workers!r}")
        self.workers = workers
        self._lock = Lock()
        self._pool = self._started()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that are running: numbers of them, by which their costs can be measured."""
        return list(self._pool._processes)

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Have a task done: a function of a module, called with what can be pickled."""
        promised: Future[Any] = Future()
        promised.set_running_or_notify_cancel()
        self._submit(promised, task, arguments, options, TRIES)
        return promised

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; tasks that none has begun are left undone where `cancel_futures` says so."""
        self._closed = True
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _submit(
        self, promised: Future[Any], task: Callable[..., Any], arguments: Any, options: Any, tries: int
    ) -> None:
        with self._lock:
            pool = self._pool
            try:
                begun = pool.submit(task, *arguments, **options)
            except BrokenProcessPool:  # it broke, and none of its tasks has told so yet
                pool = self._pool = self._started()
                begun = pool.submit(task, *arguments, **options)

        def done(result: Future[Any]) -> None:
            error = None if result.cancelled() else result.exception()
            if isinstance(error, BrokenProcessPool) and tries > 1 and not self._closed:
                with self._lock:
                    if self._pool is pool:
                        self._pool = self._started()
                self._submit(promised, task, arguments, options, tries - 1)
            elif result.cancelled():
                promised.set_exception(RuntimeError("the processes were ended before this task was done"))
            elif error is not None:
                promised.set_exception(error)
            else:
                promised.set_result(result.result())

        begun.add_done_callback(done)

    def _started(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_begin)
        Thread(target=_watch, args=(pool,), daemon=True).start()
        return pool


def _watch(pool: Any) -> None:
    """See to it that a pool breaks when one of its processes dies.

    Where that one was sending an answer, the standard pool waits for the rest of it for ever, since it holds the other
    end of the pipe open itself.
    """
    while not pool._shutdown_thread:  # it is set when a pool breaks, too
        processes = list((pool._processes or {}).values())  # None when it has been shut down
        if not processes:
            time.sleep(GRACE_S / 2)
        elif wait_for([process.sentinel for process in processes], timeout=GRACE_S / 2):
            time.sleep(GRACE_S)
            answers = pool._result_queue
            if not pool._shutdown_thread and answers is not None:
                for process in processes:
                    process.kill()
                answers._writer.close()
            return


def _begin() -> None:
    """Have a new process compute in one thread, before numpy and faiss are there to read it, and end with its parent.

    A parent that is killed tells nobody, and its processes would wait for tasks for ever.
    """
    for name in ("VECSTORE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
