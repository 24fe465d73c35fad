"""What is read, and checked, at the first touch: no more than is needed, and no less."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import vecstore
from vecstore.container.container import Container, ContainerWriter
from vecstore.container.part import Part
from vecstore.errors import CorruptError
from vecstore.keys.index import KeyIndex
from vecstore.keys.index_writer import KeyIndexWriter
from vecstore.keys.indexes import KeyIndexes
from vecstore.keys.packed import PackedKeys
from vecstore.keys.pages import PAGE_KEYS

KEYS = 200_000


def read_bytes() -> int:
    """Return how many bytes this process has had read from a disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has read")
def test_opening_reads_little(tmp_path):
    path = tmp_path / "w.vecs"
    vecstore.write(path, np.random.default_rng(0).random((20_000, 512), np.float32), codec="f32")
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = read_bytes()
    vecstore.open(path)
    assert read_bytes() - before < 1_000_000


def test_rows_are_checked_a_block_at_a_time(tmp_path):
    path = tmp_path / "one.vecs"
    codes = np.random.default_rng(1).integers(0, 256, (100, 4096), np.uint8)
    writer = ContainerWriter(path)
    for start in range(0, 100, 32):
        writer.put_block("codes", codes[start : start + 32])
    writer.declare("codes", "|u1", codes.shape, block_rows=32)
    writer.close({})
    part = Container(path).part("codes")

    def pieces(start, stop):
        return [piece.tolist() for piece in part.checked(np.array([[start, stop]]))]

    assert pieces(5, 70) == [[[5, 37]], [[37, 69]], [[69, 70]]]
    assert part.unchecked and pieces(70, 70) == []
    assert pieces(0, 100)[-1] == [[96, 100]] and not part.unchecked
    assert pieces(5, 70) == [[[5, 70]]]

    body = bytearray(path.read_bytes())
    body[body.find(codes[40].tobytes())] ^= 1
    path.write_bytes(body)
    checked = Container(path).part("codes").checked(np.array([[0, 100]]))
    assert next(checked).tolist() == [[0, 32]]
    with pytest.raises(CorruptError, match="block 1,"):
        next(checked)


@pytest.mark.parametrize("kind", ["str", "int64"])
def test_a_batch_of_keys_checks_the_pages_that_it_reads(tmp_path, kind):
    path = tmp_path / "keys.vecs"
    keys = [f"key {i}" for i in range(KEYS)] if kind == "str" else list(range(0, 7 * KEYS, 7))
    container = ContainerWriter(path)
    writer = KeyIndexWriter(container, kind)
    writer.add(keys)
    container.close({"keys": writer.close()})

    def find(index: KeyIndex, asked: PackedKeys) -> NDArray[np.int64]:
        return KeyIndexes([index]).find(asked, asked.hashes(), np.zeros(len(asked), np.int64))

    def opened() -> KeyIndex:
        found = Container(path)
        return KeyIndex(found, found.description["keys"], KEYS)

    some = [1234, 150_000]
    wanted = PackedKeys([keys[some[0]], keys[some[1]], "none" if kind == "str" else -1], kind)
    index, whole = opened(), path.read_bytes()
    assert find(index, wanted).tolist() == [*some, -1]

    def refused(part: Part) -> list[int]:
        """Return damage to which blocks is noticed."""
        found = []
        for block in range(part.blocks):
            body = bytearray(whole)
            body[int(part.offsets[block] + part.sizes[block]) - 1] ^= 1
            path.write_bytes(body)
            try:
                assert find(opened(), wanted).tolist() == [*some, -1]
            except CorruptError:
                found.append(block)
        return found

    table, pages = refused(index.table), refused(index.key_pages.part)
    assert 1 <= len(table) < index.table.blocks
    assert {row // PAGE_KEYS for row in some} <= set(pages) and len(pages) < index.key_pages.part.blocks
    path.write_bytes(whole)
    assert find(opened(), PackedKeys(keys, kind)).tolist() == list(range(KEYS))
