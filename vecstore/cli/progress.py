"""Progress bars on stderr, with rows per second and time left."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from vecstore.cli.console import stderr

__all__ = ["StageBars"]

SHARES = 1000  # steps of a bar


class StageBars:
    """One bar a stage; none when stderr is not a terminal, or when `quiet`.

    Call it with a stage, the rows done and the share of the stage that is done, as `vecstore.convert` calls its
    `progress`.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        console = stderr()
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            TextColumn("{task.fields[rows]:>13,} rows"),
            RateColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            disable=quiet or not console.is_terminal,
        )

    def __call__(self, stage: str, rows: int, share: float) -> None:
        if self._bars.disable:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=SHARES, rows=rows)
        # A stage that cannot tell how far it is says 0, then 1: its bar pulses in between.
        self._bars.update(
            self._tasks[stage],
            total=SHARES if share > 0 else None,
            completed=share * SHARES,
            rows=rows,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class RateColumn(ProgressColumn):
    """Rows per second since the stage began."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.finished_time if task.finished else task.elapsed
        rate = task.fields["rows"] / elapsed_s if elapsed_s and task.completed else 0
        return Text(f"{rate:>11,.0f} rows/s" if rate else " " * 18, style="cyan")
