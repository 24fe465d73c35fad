"""Edits that are interrupted, or fail, before any call of Python's that changes files: one generation or the next.

`test_faulty_disks` does it below Python, and kills processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.errors import CommitUncertainError

X = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(300)]
CALLS = ("replace", "link", "unlink", "mkdir", "rmdir", "fsync", "open")
OLD, NEW = KEYS[:200], [*KEYS[2:200], *KEYS[200:], "key 0"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "items.vecs"
    vecstore.write(path, X[:200], OLD, "sq:8", shard_bytes=1 << 20)
    return path


def change(path: Path) -> None:
    with vecstore.edit(path) as e:
        e.delete(["key 1"])
        e.append(X[200:], KEYS[200:])
        e.upsert(X[:1], ["key 0"])


def look(path: Path) -> int:
    """Check that the store is one of the two; then that the next edit clears up. Return the generation found."""
    with vecstore.open(path) as store:
        store.verify(deep=True)
        assert list(store) == (OLD, NEW)[store.generation]
        generation = store.generation
    with vecstore.edit(path) as e:
        e.delete(["key 5"])
    with vecstore.open(path) as store:
        store.verify()
        assert len(store) == len((OLD, NEW)[generation]) - 1
    vecstore.clean(path, older_than=0, keep=1)
    from vecstore.store.manifest import Manifest

    assert set(os.listdir(path)) == Manifest.read(path).files | {"manifest.json", ".lock", ".compaction.lock"}
    return generation


@contextlib.contextmanager
def failing(number: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the call number `number` of those that change files fail; yield the names of all calls."""
    made: list[str] = []

    def instead(name: str, real: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            made.append(name)
            if len(made) == number + 1:
                raise error
            return real(*arguments, **options)

        return called

    with monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, instead(name, getattr(os, name)))
        yield made


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), OSError(5, "Input/output error")], ids=str
)
def test_failing_at_every_call(
    error: BaseException, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, number = [], 0
    while True:
        path = tmp_path / f"{number}.vecs"
        shutil.copytree(original, path)
        raised: BaseException | None = None
        with failing(number, error, monkeypatch) as made:
            try:
                change(path)
            except (KeyboardInterrupt, OSError) as caught:
                raised = caught
        if len(made) <= number:
            assert raised is None
            break
        generation = look(path)
        assert generation == 1 or raised is not None
        if generation == 1 and isinstance(error, OSError):
            assert raised is None or isinstance(raised, CommitUncertainError)  # an error means that nothing happened
        found.append(generation)
        number += 1
    assert {*found} == {0, 1} and len(found) > 10
