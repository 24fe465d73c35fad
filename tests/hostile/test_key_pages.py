"""Pages of key text that no writer writes, under right checksums: refused, never a crash and never a wrong answer."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal_bytes

import vecstore
from vecstore.errors import CorruptError
from vecstore.keys.packed import KERNEL_KEYS

ROWS = 2 * KERNEL_KEYS
KEYS = [
    f"key {i}" if i % 16 else f"long key {i} " * 30 for i in range(ROWS)
]  # every sixteenth in the list of long ones
STARTS, LENGTHS = 8, 8 + 4 * ROWS // 32
LONGS = LENGTHS + ROWS


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


@pytest.mark.parametrize(
    ("at", "new"),
    [
        pytest.param(4, words(ROWS + 1), id="more long keys than keys"),
        pytest.param(4, words(1 << 20), id="a list of long keys that is longer than the page"),
        pytest.param(4, words(0), id="no long keys"),
        pytest.param(LONGS + 4, words(0, 16, 0), id="long keys that are short"),
        pytest.param(LONGS, words(0, 0, 0, 0, 0, 0), id="a long key several times"),
        pytest.param(LONGS + 4, words(2**32 - 1), id="a long key beyond the page"),
        pytest.param(LONGS, words(3), id="a long key of another row"),
        pytest.param(LONGS, words(ROWS), id="a long key of no row"),
        pytest.param(LENGTHS + 5, b"\xff", id="a long key that is not in the list"),
        pytest.param(LENGTHS + 5, b"\x00", id="another length"),
        pytest.param(STARTS + 4, words(2**32 - 1), id="a start beyond the page"),
        pytest.param(STARTS + 4, words(7), id="another start"),
    ],
)
def test_a_page_that_contradicts_itself_is_refused(at: int, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, np.ones((ROWS, 2), np.float32), KEYS, "f32")
    reseal_bytes(path, "keys.text", 0, at, new)
    asked: Sequence[Sequence[str]] = [KEYS[40:50], KEYS, [KEYS[0]] * KERNEL_KEYS]  # one by one, and compiled
    for check in (True, False):
        with vecstore.open(path, check=check) as store:
            for keys in asked:
                with pytest.raises(CorruptError, match="page of keys"):
                    store.rows_of(keys)
            for rows in (slice(3), slice(None)):
                with pytest.raises(CorruptError, match="page of keys"):
                    _ = store.keys[rows]


def test_a_key_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecstore.keys.index_writer.MAX_KEY_BYTES", 70_000)
    vecstore.write(tmp_path / "a.vecs", np.ones((2, 2), np.float32), ["a", "b" * 65_536], "f32")
    with vecstore.open(tmp_path / "a.vecs") as store, pytest.raises(CorruptError, match="page of keys"):
        store.rows_of(["a"])
