"""Processes on this machine as an executor that outlives them."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Any, NamedTuple

from vecstore.errors import OptionError

__all__ = ["Processes"]

TRIES = 4  # of a task whose process dies
GRACE_S = 2.0  # to remove temporary files, for a process that is to end amid a task
_MAIN = 'a script that makes Processes has its code under if __name__ == "__main__":'
_STARTING = Lock()  # multiprocessing keeps a list of processes that several threads may not change


class Processes(Executor):
    """An executor of processes on this machine; tasks of a process that dies are done again by others.

    The standard `concurrent.futures.ProcessPoolExecutor` gives up all of its tasks when one of its processes is
    killed. This one starts another process, and hands it the task that was lost; other processes are not disturbed. A
    task that loses four processes has its own fault, and fails.

    A ``with`` block that ends waits for its tasks. One that is left by an error, or by Ctrl-C, ends the processes
    whatever they are at.

    Parameters
    ----------
    workers : int
        How many, at most; each is started when there is a task for it, and uses one thread.

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
        self._seats: list[_Seat] = []
        self._waiting = deque[_Task]()
        self._idle = 0  # seats that wait for a task
        self._changed = Condition()  # guards all of these
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that are running: numbers of them, by which their costs can be measured."""
        with self._changed:
            return [seat.pid for seat in self._seats if seat.pid is not None]

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Have a task done: a function of a module, called with what can be pickled."""
        promised: Future[Any] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("these processes were shut down")
            self._waiting.append(_Task(promised, task, arguments, options))
            if self._idle < len(self._waiting) and len(self._seats) < self.workers:
                self._seats.append(_Seat(self._next))
            self._changed.notify()
        return promised

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; tasks that none has begun are left undone where `cancel_futures` says so."""
        with self._changed:
            self._closed = True
            left = [*self._waiting] if cancel_futures else []
            for task in left:
                self._waiting.remove(task)
            self._changed.notify_all()
        for task in left:
            task.promised.cancel()
            task.promised.set_running_or_notify_cancel()  # tells those who wait for it
        for seat in self._seats if wait else []:
            seat.join()

    def terminate_workers(self) -> None:
        """End the processes, whatever they are at: tasks that are not done are cancelled, or fail."""
        self.shutdown(wait=False, cancel_futures=True)
        for seat in self._seats:
            seat.terminate()
        for seat in self._seats:
            seat.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.terminate_workers()

    def _next(self) -> _Task | None:
        """Wait for a task, and take it; None where there will be no more."""
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._closed:
                self._changed.wait()
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None


class _Task(NamedTuple):
    promised: Future[Any]
    task: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class _Seat:
    """A thread that has tasks done by a process of its own, and by another one when that dies."""

    def __init__(self, next_task: Callable[[], _Task | None]) -> None:
        self._next, self._process = next_task, _Process()
        self._terminated, self._changing = False, Lock()
        self._thread = Thread(target=self._serve, name="vecstore process", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def join(self) -> None:
        self._thread.join()

    def terminate(self) -> None:
        with self._changing:
            self._terminated = True
            self._process.terminate()

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            if task.promised.set_running_or_notify_cancel():
                self._have_done(task)
            del task  # what it was given may be large
        self._process.end()

    def _have_done(self, task: _Task) -> None:
        for _ in range(TRIES):
            try:
                done, result = self._process.do(task.task, task.arguments, task.options)
            except _DiedError:
                self._process.end()
                with self._changing:
                    if self._terminated:
                        task.promised.set_exception(BrokenProcessPool("the processes were ended amid this task"))
                        return
                    self._process = _Process()
            except Exception as error:  # it cannot be pickled, or the answer cannot be unpickled
                task.promised.set_exception(error)
                return
            else:
                (task.promised.set_result if done else task.promised.set_exception)(result)
                return
        task.promised.set_exception(BrokenProcessPool(f"a task lost its process {TRIES} times; {_MAIN}"))


class _DiedError(Exception):
    """A process died before it answered."""


class _Process:
    """A process that does one task after the other."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, others = context.Pipe()
        with _STARTING, _unheard():
            self._process = context.Process(target=_serve, args=(others,), daemon=True)
            self._process.start()
        others.close()  # so that its death ends the pipe, even amid an answer

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def do(self, task: Callable[..., Any], arguments: Any, options: Any) -> tuple[bool, Any]:
        """Return whether the task was done, and its result or its error."""
        asked = pickle.dumps((task, arguments, options), pickle.HIGHEST_PROTOCOL)
        try:
            self._pipe.send_bytes(asked)
            if self._pipe not in wait_for([self._pipe, self._process.sentinel]):
                raise _DiedError
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise _DiedError from None
        found: tuple[bool, Any] = pickle.loads(answer)
        return found

    def end(self) -> None:
        """Let it end: it has no task, or is dead."""
        self._pipe.close()
        self._process.join()

    def terminate(self) -> None:
        """Make it end: it may be amid a task."""
        self._process.terminate()
        Thread(target=self._kill_late, daemon=True).start()

    def _kill_late(self) -> None:
        """Kill what does not hear, since it is amid compiled code."""
        if not wait_for([self._process.sentinel], GRACE_S):
            self._process.kill()


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started: a terminal sends it to all, and the one it is for ends them."""
    resource_tracker.ensure_running()  # else it is started below, and lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _TerminatedError(BaseException):
    """This process is to end amid a task."""


def _terminated(*_: object) -> None:
    raise _TerminatedError


def _serve(pipe: Connection) -> None:
    """Do what is asked for in one thread, until nobody asks any more."""
    for name in ("VECSTORE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before numpy and faiss are there to read it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # for what tasks start
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()
    with suppress(EOFError, OSError, _TerminatedError):
        try:
            signal.signal(signal.SIGTERM, _terminated)
            while True:
                pipe.send_bytes(_answer(pipe.recv_bytes()))
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending


def _answer(asked: bytes) -> bytes:
    try:
        task, arguments, options = pickle.loads(asked)
        return pickle.dumps((True, task(*arguments, **options)), pickle.HIGHEST_PROTOCOL)
    except _TerminatedError:
        raise
    except BaseException as error:
        error.add_note(f"where it happened:\n{traceback.format_exc()}")
        try:
            return pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        except Exception:
            return pickle.dumps((False, RuntimeError(traceback.format_exc())))


def _end_with(parent: Any) -> None:
    """A parent that is killed tells nobody, and a long task would go on for nothing."""
    parent.join()
    os._exit(1)
