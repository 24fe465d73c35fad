"""Threads and processes that ask at random: no answer differs from numpy's, and nothing grows.

`vecstore.bench.scripts.soak` runs for longer.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from vecstore.bench.scripts.soak import OPERATIONS, Soaked, soak

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is what Linux tells")


@pytest.mark.slow  # twenty seconds of four threads in two processes
def test_no_answer_differs_and_nothing_grows() -> None:
    for soaked in soak(20):
        assert not soaked.differences, soaked.differences[0]
        assert soaked.sound, soaked.growth
        assert soaked.operations.total() > 20 * len(OPERATIONS)


def test_growth_is_noticed() -> None:
    sizes = [(at / 100, (100 + at) << 20, 10 + at) for at in range(100)]
    assert Soaked(sizes=[(at, 1 << 20, 10) for at, _, _ in sizes]).sound
    assert not Soaked(sizes=sizes).sound
    assert not Soaked(sizes=[(at, 1 << 20, files) for at, _, files in sizes]).sound
    assert not Soaked(sizes=[(at, 1 << 20, 10) for at, _, _ in sizes], differences=["another row"]).sound
