"""Who does tasks, and what becomes of them when nobody does."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from vecstore.distributed import crew
from vecstore.distributed.crew import Crew, silent
from vecstore.errors import VecstoreError


class Lost(Executor):
    """Dask's, that takes a task while its client tries to reach the scheduler, and never does it."""

    def __init__(self):
        self._client = SimpleNamespace(status="connecting", asked=0)

    def submit(self, task, /, *arguments, **options):
        if self._client.asked:
            self._client.status = "closed"
        self._client.asked += 1
        found: Future[int] = Future()
        if self._client.asked == 1:
            found.cancel()
        return found


def test_a_scheduler_that_is_lost(monkeypatch):
    monkeypatch.setattr(crew, "ASK_EVERY_S", 0.05)
    executor = Lost()
    with pytest.raises(VecstoreError, match="lost its scheduler"):
        list(Crew(executor).each(_doubled, [1], silent))
    assert executor._client.asked == 2


def _doubled(work, report):
    return 2 * work


def test_results_come_with_their_numbers():
    with ThreadPoolExecutor(3) as executor:
        for each in (Crew(executor), Crew()):
            assert dict(each.each(_doubled, range(100), silent)) == {number: 2 * number for number in range(100)}


class Noting(ThreadPoolExecutor):
    """Notes which work it was given, in order."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.given: list[int] = []

    def submit(self, task, /, work, *arguments, **options):
        self.given.append(work)
        return super().submit(task, work, *arguments, **options)


@pytest.mark.parametrize(
    ("workers", "order"),
    [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 4, 1, 5, 2, 6, 3]), (3, [0, 3, 6, 1, 4, 2, 5]), (9, range(7))],
)
def test_a_worker_is_given_the_task_behind_its_last_one(workers, order):
    with Noting(workers) as executor:
        assert dict(Crew(executor).each(_doubled, range(7), silent)) == {number: 2 * number for number in range(7)}
    assert executor.given == list(order)
