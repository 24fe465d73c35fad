"""Who does the tasks of a piece of work: this process, or the workers of an executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from typing import Any, TypeVar

from vecstore.distributed.workers import is_gone, workers_of
from vecstore.errors import VecstoreError
from vecstore.parallel import checked_executor
from vecstore.progress import Listener, Step

__all__ = ["Crew", "silent"]

Work = TypeVar("Work")
Result = TypeVar("Result")

IN_FLIGHT = 64  # tasks that an executor has at a time: what bounds the results that wait here
ASK_EVERY_S = 5.0  # Dask cancels tasks whose scheduler was lost, and does not wake who waits for them
TRIES = 3  # of a task that fails for no reason of its own


class Crew:
    """Has tasks done: here and one after the other, or by an executor, and again where one is lost.

    A task is a function of a module, of its work and of a `Listener`. It must be safe to do twice: it gives the same
    result, and leaves the same files.

    Parameters
    ----------
    executor : concurrent.futures.Executor or None
        None: tasks are done here as their results are asked for.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self.executor = None if executor is None else checked_executor(executor)
        self._workers = 1 if executor is None else workers_of(executor)

    def each(
        self, task: Callable[[Work, Listener], Result], works: Sequence[Work], report: Listener
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each work, once, as they are done.

        Raises what a task raises. Errors that are vecstore's own are final; others, such as that of a worker that
        died, are final when a task fails for the third time.
        """
        if self.executor is None:
            for number, work in enumerate(works):
                yield number, task(work, report)
            return
        yield from _Run(self.executor, task, works, _apart(len(works), self._workers)).results()

    def counted(
        self,
        task: Callable[[Work, Listener], Result],
        works: Sequence[Work],
        report: Listener,
        *,
        stage: str,
        total: int | None,
        rows_of: Callable[[Result], int],
    ) -> Iterator[tuple[int, Result]]:
        """As `each`; where tasks are done elsewhere, and tell nothing, each result is a step of the stage."""
        done = 0
        for number, result in self.each(task, works, report):
            if self.executor is not None:
                done += rows_of(result)
                report(Step(stage, done, total))
            yield number, result


class _Run:
    """One set of tasks at an executor."""

    def __init__(
        self, executor: Executor, task: Callable[..., Any], works: Sequence[Any], order: Iterable[int]
    ) -> None:
        self._executor, self._task, self._works = executor, task, works
        self._waiting = deque((number, 1) for number in order)  # work, and how often it was begun then
        self._flying: dict[Future[Any], tuple[int, int]] = {}

    def results(self) -> Iterator[tuple[int, Any]]:
        try:
            while self._waiting or self._flying:
                while self._waiting and len(self._flying) < IN_FLIGHT:
                    number, tries = self._waiting.popleft()
                    self._flying[self._begun(number)] = number, tries
                done = wait(self._flying, ASK_EVERY_S, FIRST_COMPLETED).done
                if not done and is_gone(self._executor):
                    raise VecstoreError("the executor lost its scheduler and does no more tasks, start another one")
                for future in done or [future for future in self._flying if future.cancelled()]:
                    yield from self._landed(future)
        finally:
            for future in self._flying:
                future.cancel()

    def _begun(self, number: int) -> Future[Any]:
        try:
            return self._executor.submit(self._task, self._works[number], silent)
        except Exception as error:
            raise VecstoreError(f"the executor takes no more tasks, start another one: {error}") from error

    def _landed(self, future: Future[Any]) -> Iterator[tuple[int, Any]]:
        number, tries = self._flying.pop(future)
        try:
            result = future.result()
        except VecstoreError:
            raise
        except (Exception, CancelledError):
            if tries == TRIES:
                raise
            self._waiting.append((number, tries + 1))
        else:
            yield number, result


def _apart(tasks: int, workers: int) -> Iterator[int]:
    """Yield the numbers of tasks in the order in which workers are given them.

    After one, a worker is likely to be given the one behind it, and can go on where it stopped.
    """
    each = max(-(-tasks // workers), 1)
    return (number for step in range(each) for number in range(step, tasks, each))


def silent(step: Step) -> None:
    """Tell nobody."""
