"""Rows of a key and bytes: split and joined as Python does it, at every place where data may end."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.kernels import entries


@pytest.mark.parametrize("width", [0, 1, 31, 32, 33])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_joined_and_split(width, rows):
    keys = [b"k" * row + b"\xff" for row in range(rows)]
    values = np.random.default_rng(0).integers(0, 256, (rows, width), np.uint8)
    plain = [key + b" " + value.tobytes() + b"\n" for key, value in zip(keys, values, strict=True)]
    ends = np.concatenate([[0], np.cumsum([len(key) for key in keys])]).astype(np.int64)
    out = np.zeros(sum(map(len, plain)), np.uint8)
    entries.join_rows(np.frombuffer(b"".join(keys), np.uint8), ends, values, out)
    assert out.tobytes() == b"".join(plain)
    for end in range(len(out) + 1):
        found, marks = np.zeros((rows + 1, width), np.uint8), np.zeros((2, rows + 1), np.int64)
        count, at = entries.split_rows(out[:end], 0, found, marks)
        whole = sum(len(b"".join(plain[: row + 1])) - 1 <= end for row in range(rows))
        assert count == whole and at == max(len(b"".join(plain[:whole])) - 1, 0)
        np.testing.assert_array_equal(found[:count], values[:count])
        assert [out[begin:stop].tobytes() for begin, stop in marks.T[:count].tolist()] == keys[:count]
