"""An executor that notes what each task took, and in which some tasks are slow and some processes die."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SLOWNESS", "Faults", "Watched", "notes"]

SLOWNESS = 3  # times that a slow task is done


@dataclass(frozen=True)
class Faults:
    """How often tasks take three times as long, and how often their process dies when all but the answer is done.

    Attributes
    ----------
    folder : Path
        For the notes, and for marks that say who died already.
    every : int
        One task in so many is slow, and another one dies; 0: none.
    """

    folder: Path
    every: int = 0


class Watched(Executor):
    """Another executor; tasks are numbered as they are handed out, and faults follow from the number."""

    def __init__(self, executor: Executor, faults: Faults) -> None:
        self._executor, self._faults, self._count = executor, faults, 0
        self.workers, self._client = getattr(executor, "workers", 2), getattr(executor, "_client", None)

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Have a task done, under watch."""
        self._count += 1
        return self._executor.submit(_watched, self._faults, self._count, task, *arguments, **options)


def notes(folder: Path) -> list[dict[str, Any]]:
    """Return what was noted of tasks that were done: ``task``, ``number``, ``cpu_s``, ``dies``, ``slow``."""
    return [json.loads(line) for file in folder.glob("notes-*") for line in file.read_text().splitlines()]


def _watched(faults: Faults, number: int, task: Callable[..., Any], *arguments: Any) -> Any:
    slow, dies = (bool(faults.every) and number % faults.every == at for at in (0, faults.every // 2))
    start = time.process_time()
    for _ in range(SLOWNESS if slow else 1):  # done often it leaves what it leaves done once
        result = task(*arguments)
    spent = time.process_time() - start
    dies = dies and not (faults.folder / f"death-{number}").exists()
    note = {"task": task.__name__, "number": number, "cpu_s": spent, "dies": dies, "slow": slow}
    note["name"] = getattr(arguments[0], "name", None) or str(getattr(arguments[0], "number", ""))
    with open(faults.folder / f"notes-{os.getpid()}", "a") as file:
        file.write(json.dumps(note) + "\n")
    if dies:
        (faults.folder / f"death-{number}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return result
