"""Processes as an executor: what is lost when one dies, and what is not."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool

import pytest

from vecstore.distributed import Processes
from vecstore.errors import CodecError, OptionError


def _noted(folder, name, deaths):
    """Note a try of a task in a file of its name; die so many times first."""
    with open(folder / name, "a") as file:
        file.write("x")
    if os.path.getsize(folder / name) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def test_only_the_task_of_a_process_that_dies_is_done_again(tmp_path):
    with Processes(2) as processes:
        killing = processes.submit(_noted, tmp_path, "killing", 9)
        others = [processes.submit(_noted, tmp_path, f"other-{number}", number == 3) for number in range(8)]
        assert [each.result(timeout=60) for each in others] == [f"other-{number}" for number in range(8)]
        with pytest.raises(BrokenProcessPool, match="a task lost its process 4 times"):
            killing.result(timeout=60)
        assert len(processes.pids) == 2
    tries = {file.name: os.path.getsize(file) for file in tmp_path.iterdir()}
    assert tries == {"killing": 4, **{f"other-{number}": 1 + (number == 3) for number in range(8)}}


def _raised(error):
    raise error


class _Odd(Exception):
    """One that cannot be made again from its arguments."""

    def __init__(self, one, two):
        super().__init__(one)


def test_errors_come_back():
    with Processes(1) as processes:
        with pytest.raises(CodecError, match="of the task") as found:
            processes.submit(_raised, CodecError("of the task")).result(timeout=60)
        assert "in _raised" in found.value.__notes__[0]
        with pytest.raises(TypeError, match="two"):
            processes.submit(_raised, _Odd(1, 2)).result(timeout=60)
        for unsent in (lambda: 1, _raised):
            with pytest.raises(Exception, match=r"[Pp]ickle"):
                processes.submit(unsent, lambda: 1).result(timeout=60)
        assert processes.submit(abs, -3).result(timeout=60) == 3
    with pytest.raises(RuntimeError, match="shut down"):
        processes.submit(abs, -3)
    with pytest.raises(OptionError, match="a positive number"):
        Processes(0)


def test_tasks_that_are_not_begun_can_be_left():
    processes = Processes(1)
    running = processes.submit(time.sleep, 0.2)
    left = [processes.submit(abs, number) for number in range(3)]
    while not running.running():
        time.sleep(0.01)
    assert left[0].cancel() and not running.cancel()
    processes.shutdown(cancel_futures=True)
    assert running.result(timeout=0) is None
    for each in left:
        with pytest.raises(CancelledError):
            each.result(timeout=0)


def _endless(folder):
    try:
        (folder / "begun").touch()
        while True:
            time.sleep(0.01)
    finally:
        (folder / "unwound").touch()


def test_a_block_that_is_left_by_an_error_ends_what_is_running(tmp_path):
    with pytest.raises(KeyboardInterrupt), Processes(2) as processes:
        running, waiting = processes.submit(_endless, tmp_path), [processes.submit(_endless, tmp_path) for _ in "ab"]
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt
    with pytest.raises(BrokenProcessPool, match="ended amid this task"):
        running.result(timeout=0)
    assert waiting[1].cancelled()
    assert (tmp_path / "unwound").exists()
    assert all(_is_gone(pid) for pid in processes.pids)


def _is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
