"""Progress of what takes long: told to a function, drawn as bars, or printed as lines where nothing can be drawn.

Whatever has a parameter `progress` takes the same: False for none; True for bars on a terminal or in a notebook, and
lines on stderr elsewhere; or a function, which is called with a `Step`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self, TypeAlias

from vecstore.errors import OptionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

__all__ = ["Listener", "Progress", "Step", "reported"]


@dataclass(frozen=True)
class Step:
    """How far a stage is.

    Attributes
    ----------
    stage : str
        Such as ``"encoding"``.
    done : int
        0 where a stage begins that tells nothing until it ends.
    total : int or None
        Of which the last step is `done`; an estimate while a text file is read, None where it is not known.
    unit : str
        What is counted: ``"rows"``, ``"codecs"``, ``"bytes"``.
    detail : str
        What is at work, such as the codec that is tried; often empty.

    Examples
    --------
    >>> print(Step("encoding", 20_000, 63_576))
    encoding: 20,000 of 63,576 rows
    """

    stage: str
    done: int
    total: int | None = None
    unit: str = "rows"
    detail: str = ""

    @classmethod
    def of_share(cls, stage: str, done: int, share: float) -> Self:
        """Return the step of a stage that knows which share is done, and not of how many."""
        return cls(stage, done, max(round(done / share), done) if share > 0 else None)

    @property
    def finished(self) -> bool:
        """Whether the stage is."""
        return self.done == self.total

    def __str__(self) -> str:
        counts = [f"{count:,}" for count in (self.done, self.total) if count]
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.stage}: {' of '.join(dict.fromkeys(counts)) or 0} {self.unit}{detail}"


Listener: TypeAlias = Callable[[Step], object]
Progress: TypeAlias = bool | Listener


@contextmanager
def reported(progress: Progress) -> Iterator[Listener]:
    """Yield the function to call with each step; raises `OptionError` for what is no `Progress`."""
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise OptionError(f"progress is True, False or a function of a step, found {progress!r}")
    elif not progress:
        yield lambda step: None
    else:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        if not _draws(console):
            with _Lines() as lines:
                yield lines
            return
        with _Bars(console) as bars:
            yield bars


def _draws(console: Console) -> bool:
    """Return whether a line can be drawn again: rich needs ipywidgets for that in a notebook."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


class _Bars:
    """A bar a stage, with units a second and time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._tasks: dict[str, tuple[TaskID, float]] = {}  # its bar, and when it began
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            TextColumn("{task.fields[count]:>19}"),
            TextColumn("[cyan]{task.fields[rate]:>18}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
        )

    def __call__(self, step: Step) -> None:
        if step.stage not in self._tasks:
            task = self._bars.add_task(step.stage, total=None, count="", rate="", detail="")
            self._tasks[step.stage] = (task, time.perf_counter())
        task, began = self._tasks[step.stage]
        elapsed_s = time.perf_counter() - began
        count = step.total if step.finished or not step.done else step.done
        # A stage that cannot tell how far it is says 0, then all: its bar pulses in between.
        self._bars.update(
            task,
            total=step.total if step.done else None,
            completed=step.done,
            count="" if count is None else f"{count:,} {step.unit}",
            rate=f"{step.done / elapsed_s:,.0f} {step.unit}/s" if step.done and elapsed_s > 0 else "",
            detail="" if step.finished else step.detail,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()


class _Lines:
    """Lines on stderr: a stage that says that it begins, what is at work, now and then how far it is, how long it took.

    What is over within a second is not worth a line. A thread sees to it that nothing is silent for longer than ten
    seconds and a bit.
    """

    SHORT_S, SILENCE_S = 1.0, 10.0

    def __init__(self) -> None:
        self._step = Step("", 0)
        self._began = self._told = self._printed = time.perf_counter()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="vecstore progress", daemon=True)

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._over.wait(max(self._printed + self.SILENCE_S - time.perf_counter(), self.SHORT_S)):
            now, step = time.perf_counter(), self._step
            if step.stage and not step.finished and now - self._printed >= self.SILENCE_S:
                self._print(f"{step}, at work for {_span(now - self._began)}", now)

    def __call__(self, step: Step) -> None:
        now, last = time.perf_counter(), self._step
        begins = step.stage != last.stage
        if begins:
            self._began = self._printed = self._told  # a stage that does not say that it begins did so then
        if step.finished:
            took_s = now - self._began
            if took_s >= self.SHORT_S:
                self._print(f"{step} in {took_s:.1f} s", now)
        elif (begins and not step.done) or now - self._printed >= (
            self.SHORT_S if step.detail != last.detail else self.SILENCE_S
        ):
            self._print(f"{step}{_times(step, now - self._began)}", now)
        self._step, self._told = step, now

    def _print(self, line: str, now: float) -> None:
        print(line, file=sys.stderr, flush=True)
        self._printed = now


def _times(step: Step, took_s: float) -> str:
    """Return what a line adds of a stage that is under way: how long it took so far, and what is left at that rate."""
    if not step.done:
        return ""
    left = "" if step.total is None else f", about {_span(took_s * (step.total - step.done) / step.done)} left"
    return f", {_span(took_s)}{left}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min"
