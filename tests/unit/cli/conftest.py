from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vecstore.cli import main

ROWS = 300
X = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(ROWS)]


@dataclass
class Result:
    """How a command line ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


@pytest.fixture
def keys() -> list[str]:
    return KEYS


@pytest.fixture
def x() -> np.ndarray:
    return X


@pytest.fixture
def vecstore(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Return a function that runs a command line in `tmp_path`, where x.npy and keys.txt are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    np.save("x.npy", X)
    Path("keys.txt").write_text("".join(f"{key}\n" for key in KEYS))

    def run(*args: object, input: str = "") -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(input))
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def good(vecstore: Callable[..., Result]) -> Callable[..., Result]:
    """Return the same for commands that have to succeed."""

    def run(*args: object, input: str = "") -> Result:
        result = vecstore(*args, input=input)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def fails(vecstore: Callable[..., Result]) -> Callable[..., str]:
    """Return a function that runs a command that has to fail, in one line behind those of progress, and gives it."""

    def run(*args: object, status: int = 2, input: str = "") -> str:
        result = vecstore(*args, input=input)
        assert (result.exit_code, result.stdout) == (status, ""), result.output
        *progress, line = result.stderr.splitlines(keepends=True)
        assert line.startswith("vecstore: error: "), result.stderr
        assert not any(told.startswith(("vecstore", "Traceback")) for told in progress), result.stderr
        return line

    return run


@pytest.fixture
def words(good: Callable[..., Result]) -> str:
    """Return the path of a store with string keys."""
    good("convert", "x.npy", "words.vecs", "--keys", "keys.txt", "--codec", "f32")
    return "words.vecs"
