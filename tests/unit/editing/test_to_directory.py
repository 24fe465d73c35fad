"""A directory is made of a store of one file: also where names cannot be exchanged; and never is the file lost."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.editing import directory
from vecstore.errors import BusyError

X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(60)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    vecstore.write(tmp_path / "items.vecs", X, KEYS, "sq:8")
    return tmp_path / "items.vecs"


def without_exchange(*given: Any, **options: Any) -> Any:
    raise OSError(errno.ENOSYS, "no library")


def edit(path: Path) -> None:
    with vecstore.edit(path, to_directory=True) as e:
        e.delete(["key 3"])


def test_in_two_steps_where_there_is_no_exchange(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory.ctypes, "CDLL", without_exchange)
    edit(path)
    assert os.listdir(path.parent) == ["items.vecs"] and len(vecstore.open(path)) == 59


@pytest.mark.parametrize("call", [0, 1])
def test_the_file_stays_where_a_step_fails(path: Path, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory.ctypes, "CDLL", without_exchange)
    calls, rename = [], os.rename

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == call + 1:
            raise OSError(errno.ENOSPC, "full")
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", failing)
        with pytest.raises(OSError, match="full"):
            edit(path)
    assert os.listdir(path.parent) == ["items.vecs"] and path.is_file() and list(vecstore.open(path)) == KEYS
    edit(path)
    assert path.is_dir()


def test_one_at_a_time(path: Path) -> None:
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another process is making a directory"):
            edit(path)
    edit(path)


def test_what_a_killed_process_left_goes(path: Path) -> None:
    left = path.with_name(".items.vecs.directory.partial")
    left.mkdir()
    (left / "shard-00000.vecs").write_bytes(b"half")
    edit(path)
    left.write_bytes(b"the file, by its other name")
    left.with_name(f"{left.name}.file").write_bytes(b"and by a third one")
    edit(path)
    assert os.listdir(path.parent) == ["items.vecs"]
