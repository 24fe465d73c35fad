"""However rows arrive, blocks come out whole and in order, and the rest at the end."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.container.block_buffer import BlockBuffer


@pytest.mark.parametrize("cuts", [[], [0], [3], [4], [5], [1, 2, 3], [4, 4], [9, 0, 2], [1] * 9, [11]])
def test_blocks_are_whole_and_in_order(cuts):
    buffer, rows = BlockBuffer(np.empty((4, 2), np.int64)), np.arange(2 * sum(cuts)).reshape(-1, 2)
    found, start = [], 0
    for cut in cuts:
        for block in buffer.add(rows[start : start + cut]):
            assert len(block) == 4 and buffer.rows == 4 * (len(found) + 1)
            found.append(block.copy())
        start += cut
    rest = buffer.rest()
    assert buffer.rows == sum(cuts) and len(rest) == sum(cuts) % 4
    assert (np.concatenate([np.empty((0, 2), np.int64), *found, rest]) == rows).all()
    assert len(buffer.rest()) == 0
