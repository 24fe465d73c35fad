"""What a store says of the rows that its certificate does not speak of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.measure.drift import DriftWarning

X = np.random.default_rng(0).normal(size=(700, 8)).astype(np.float32)
UNCHANGED = {"added": 0, "deleted": 0, "drift": None, "at": None, "against": None, "stale": False}


def certified(path: Path) -> dict:
    with vecstore.open(path) as store:
        found = store.info()["certified"]
        assert found["measured"] + found["added"] - found["deleted"] == len(store)
        return found


def test_a_certificate_grows_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, X[:500], list(range(500)), "sq:4", shard_bytes=1 << 20)
    assert certified(path) == UNCHANGED | {"generation": 0, "measured": 500}
    with vecstore.edit(path) as e:
        e.append(X[500:550], list(range(500, 550)))
        e.delete([3, 4])
    found = certified(path)
    assert (found["added"], found["deleted"], found["stale"]) == (50, 2, False)
    assert found["drift"]["r2"] == pytest.approx(found["drift"]["own_r2"], abs=0.05)
    with pytest.warns(DriftWarning), vecstore.edit(path) as e:
        e.append(9 * X[550:], list(range(550, 700)))
    assert certified(path)["stale"]
    assert certified(path)["drift"]["r2"] < found["drift"]["r2"]
    before = certified(path)
    assert vecstore.compact(path).after == 1
    assert certified(path) == before | {"generation": 3}


def test_one_file_says_all(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", X, codec="sq:8")
    assert certified(tmp_path / "a.vecs") == UNCHANGED | {"generation": None, "measured": 700}
