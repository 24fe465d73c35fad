from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from vecstore.container.container import Container, ContainerWriter, rows_per_block
from vecstore.errors import CorruptError

DTYPES = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "|u1", "|i1", "<i4", ">i8", "<u8"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
ARRAYS = DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, SHAPES))
NAMES = st.text("abc.0", min_size=1, max_size=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("containers") / "one.vecs"


def written(path, parts, description):
    path.unlink(missing_ok=True)
    writer = ContainerWriter(path)
    for name, array in parts.items():
        writer.put_array(name, array)
    writer.close(description)
    return Container(path)


@given(st.dictionaries(NAMES, ARRAYS, max_size=5), st.dictionaries(st.text("xyz"), st.text(max_size=5)))
@settings(max_examples=100)
def test_arrays_come_back(path, parts, description):
    container = written(path, parts, {"user": description})
    assert container.description["user"] == description
    assert sorted(container.names()) == sorted(parts)
    for name, array in parts.items():
        found = container.part(name).array()
        assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("<"))
        np.testing.assert_array_equal(found, array)
    assert container.verify() >= sum(array.nbytes for array in parts.values())


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(1, 64), st.data())
@settings(max_examples=60)
def test_blocks_of_rows(path, sizes, width, data):
    path.unlink(missing_ok=True)
    writer = ContainerWriter(path)
    block_rows, rows = 7, sum(sizes)
    x = np.random.default_rng(rows).integers(0, 256, (rows, width), np.uint8)
    for start in range(0, rows, block_rows):
        writer.put_block("codes", x[start : start + block_rows])
    writer.declare("codes", "|u1", x.shape, block_rows=block_rows)
    writer.close({})
    part = Container(path).part("codes")
    np.testing.assert_array_equal(part.array(), x)
    if rows:
        block = data.draw(st.integers(0, part.blocks - 1))
        np.testing.assert_array_equal(part.block(block), x[block * block_rows : (block + 1) * block_rows])
        assert part.block(block).ctypes.data % 16 == 0, "aligned, so that a kernel may read words"


def test_arrays_of_many_blocks(path):
    x = np.arange(400_000, dtype="<f4").reshape(-1, 2)
    container = written(path, {"big": x}, {})
    assert container.part("big").blocks > 2
    np.testing.assert_array_equal(container.part("big").array(), x)


def test_same_calls_same_bytes(path):
    files = []
    for _ in range(2):
        written(path, {"a": np.arange(5), "b": np.ones((3, 3))}, {"user": "ü"})
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_views_outlive_the_container(path):
    x = np.arange(100_000)
    view = written(path, {"x": x}, {}).part("x").block(0)
    path.unlink()
    np.testing.assert_array_equal(view, x[: len(view)])


def test_a_part_that_is_not_there(path):
    with pytest.raises(CorruptError, match="no part 'y'"):
        written(path, {"x": np.arange(3)}, {}).part("y")


@pytest.mark.parametrize("row_bytes", [0, 1, 48, 4096, 1 << 20])
@pytest.mark.parametrize("tile_rows", [1, 32, 64])
def test_rows_per_block(row_bytes, tile_rows):
    rows = rows_per_block(row_bytes, tile_rows)
    assert rows >= 32 and rows % tile_rows == 0
    assert rows == max(tile_rows, 32) or rows * row_bytes <= 512 * 1024
