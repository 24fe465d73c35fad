"""Cells by themselves: training, what is stored of centroids, the specification, codes outside a store."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore.codecs.base import frozen
from vecstore.codecs.codec import Codec, CodecSpec, codec
from vecstore.codecs.packing import join_uneven, split_uneven
from vecstore.codecs.partition import Cells, Partition, size_bytes
from vecstore.errors import CodecError, ShapeError
from vecstore.keys.packed import PackedKeys


def mean_square(x: np.ndarray) -> float:
    return float((x**2).sum(axis=1).mean())


@pytest.mark.parametrize(
    ("text", "count"),
    [("cells,sq:8", 0), ("cells:12,sq:8", 12), (" cells : 3 , bin / sq:8", 3), ("cells:65536,f16", 65536)],
)
def test_specifications(text: str, count: int) -> None:
    spec = codec(text)
    assert spec.cells == Cells(count) and "cells" not in {step.name for layer in spec.layers for step in layer.steps}
    assert codec(str(spec)) == spec == eval(repr(spec), {"codec": codec})
    assert CodecSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


REFUSED = [
    *("cells", "cells:4", "cells:0,sq:8", "cells:-1,sq:8", "cells:65537,sq:8", "cells:4:2,sq:8", "sq:8,cells:4"),
    *("sq:8/cells:4,f16", "cells:4,cells:4,sq:8", "cells:4,/sq:8", "cells:,sq:8", "normalize,cells:4,sq:8"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_specifications_that_are_refused(text: str) -> None:
    with pytest.raises(CodecError, match=r"cells|empty"):
        codec(text)


@pytest.mark.parametrize(
    "change",
    [
        *({"cells": 5}, {"cells": {"name": "pq", "configuration": {}}}, {"layers": None}),
        *({"cells": {"name": "cells", "configuration": {"count": n}}} for n in (-1, 2**16 + 1, "4", True, 2.0)),
    ],
)
def test_json_that_is_refused(change: dict) -> None:
    with pytest.raises(CodecError):
        CodecSpec.from_dict({**codec("cells:4,sq:8").to_dict(), **change})


def test_rows_go_to_the_nearest_centroid(docs: np.ndarray) -> None:
    partition = Cells(40).fit(docs, seed=0, rows=len(docs), code_bytes=32)
    gaps = ((docs[:, None] - partition.centroids) ** 2).sum(axis=2)
    cells = partition.assign(docs)
    np.testing.assert_allclose(gaps[np.arange(len(docs)), cells], gaps.min(axis=1), rtol=1e-4)
    assert len(np.unique(cells)) > 30


def test_residuals_of_rows_that_training_did_not_see_are_shorter(docs: np.ndarray) -> None:
    train, others = docs[:1500], docs[1500:]
    before = mean_square(others - train.mean(axis=0))
    partition = Cells(32).fit(train, seed=0, rows=10_000, code_bytes=32)
    after = mean_square(others - partition.centroids[partition.assign(others)])
    assert after < 0.93 * before


def test_centroids_take_the_bytes_they_are_said_to(docs: np.ndarray) -> None:
    for count in (1, 2, 9, 64, 200):
        partition = Cells(count).fit(docs, seed=0, rows=10, code_bytes=1)  # no room beyond the least
        taken = sum(array.nbytes for array in partition.arrays.values())
        assert taken + 4 * count <= size_bytes(count, docs.shape[1])
        assert partition.cell_bytes == 1
    ample = Cells(64).fit(docs, seed=0, rows=10**6, code_bytes=64)
    assert 12_000 < sum(array.nbytes for array in ample.arrays.values()) <= 4 * 64 * 384 // 8 + 4 * 384 + 64


@pytest.mark.parametrize("rows", [100, 40_000, 1_000_000])
def test_the_number_of_cells_follows_from_that_of_rows(docs: np.ndarray, rows: int) -> None:
    fitted = codec("cells,sq:4").fit(docs, rows=rows)
    assert fitted.partition is not None
    count = fitted.partition.count
    assert str(fitted.spec) == f"cells:{count},sq:4"
    assert count == {100: 1, 40_000: 64, 1_000_000: 64}[rows]  # the sample has 2,000 rows, 16 a cell and more
    if count > 1:
        bytes_of_cells = sum(array.nbytes for array in fitted.partition.arrays.values()) + 4 * count
        assert bytes_of_cells <= 0.02 * rows * fitted.code_bytes


def test_more_cells_than_rows_are_refused(docs: np.ndarray) -> None:
    with pytest.raises(CodecError, match="cells:20 or fewer"):
        codec("cells:21,sq:8").fit(docs[:20])


def test_the_same_sample_and_seed_give_the_same_cells(docs: np.ndarray) -> None:
    one, two, other = (codec("cells:9,sq:8").fit(docs, seed=seed) for seed in (3, 3, 4))
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name])
    assert one.partition is not None and other.partition is not None
    assert (one.partition.centroids != other.partition.centroids).any()


@pytest.mark.parametrize("spec", ["cells:300,sq:8", "cells:7,bin/sq:6", "cells:1,f32"])
def test_codes_stand_alone(docs: np.ndarray, spec: str) -> None:
    """Outside a store a row's cell does not follow from its position: it stands before the code."""
    fitted = codec(spec).fit(docs[:1500])
    partition, x = fitted.partition, docs[1500:]
    assert partition is not None and fitted.cell_bytes == (2 if partition.count > 256 else 1)
    codes = fitted.encode(x)
    assert codes.shape == (len(x), fitted.cell_bytes + fitted.code_bytes)
    numbers = codes[:, : fitted.cell_bytes].astype(int) @ (256 ** np.arange(fitted.cell_bytes))
    np.testing.assert_array_equal(numbers, partition.assign(x))
    arrays = {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in fitted.arrays.items()}
    again = Codec.restore(CodecSpec.from_dict(json.loads(json.dumps(fitted.spec.to_dict()))), 384, arrays)
    np.testing.assert_array_equal(again.decode(codes), fitted.decode(codes))
    np.testing.assert_array_equal(again.encode(x), codes)
    stored = sum(array.nbytes for array in fitted.arrays.values())
    assert fitted.model_bytes == stored + 4 * fitted.partition.count  # rows in each cell
    np.testing.assert_allclose(fitted.decoded(x)[-1], fitted.decode(codes), atol=1e-6)
    assert mean_square(fitted.decode(codes) - x) < 0.02
    codes[3, : fitted.cell_bytes] = 255
    with pytest.raises(ShapeError, match="begin with a cell below"):
        fitted.decode(codes)


def test_a_prefix_is_that_of_codes_and_centroids(docs: np.ndarray) -> None:
    fitted = codec("cells:9,sq:8").fit(docs)
    shorter = fitted.prefix(100)
    codes = fitted.encode(docs[:50])
    np.testing.assert_allclose(shorter.decode(codes[:, :101]), fitted.decode(codes)[:, :100], atol=1e-6)


def test_equal_rows_make_one_centroid() -> None:
    fitted = codec("cells:5,f32").fit(np.ones((20, 3)))
    np.testing.assert_array_equal(fitted.decode(fitted.encode(np.ones((4, 3)))), np.ones((4, 3)))


@given(st.lists(st.integers(1, 8), max_size=30), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_levels_are_packed_and_unpacked(widths: list[int], count: int, seed: int) -> None:
    bits = np.array(widths, np.uint8)
    levels = np.random.default_rng(seed).integers(0, 1 << bits.astype(int), (count, len(bits))).astype(np.uint8)
    packed = join_uneven(levels, bits)
    assert packed.shape == (count, -(-sum(widths) // 8))
    np.testing.assert_array_equal(split_uneven(packed, bits), levels)


@pytest.mark.parametrize("name", ["mean", "scales"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_numbers_that_are_none_are_refused(docs: np.ndarray, name: str, value: float) -> None:
    arrays = dict(Cells(9).fit(docs, seed=0, rows=2000, code_bytes=48).arrays)
    arrays[name] = arrays[name].copy()
    arrays[name][0] = value
    with pytest.raises(CodecError, match="finite"):
        Cells(9).restore(384, arrays)


@pytest.mark.parametrize("name", ["mean", "axes", "axis_bits", "scales", "bits", "levels"])
def test_arrays_of_other_shapes_are_refused(docs: np.ndarray, name: str) -> None:
    arrays = dict(Cells(9).fit(docs, seed=0, rows=2000, code_bytes=48).arrays)
    assert isinstance(Cells(9).restore(384, arrays), Partition)
    for wrong in (arrays[name][..., :-1], arrays[name][None], arrays[name].astype("<i8")):
        with pytest.raises(CodecError):
            Cells(9).restore(384, arrays | {name: frozen(wrong)})
    del arrays[name]
    with pytest.raises(CodecError):
        Cells(9).restore(384, arrays)


def test_bits_out_of_range_and_far_too_many_cells_are_refused(docs: np.ndarray) -> None:
    arrays = dict(Cells(9).fit(docs, seed=0, rows=2000, code_bytes=48).arrays)
    with pytest.raises(CodecError, match="bits"):
        Cells(9).restore(384, arrays | {"bits": arrays["bits"] + np.uint8(9)})
    with pytest.raises(CodecError, match="memory"):
        Cells(65536).restore(1 << 20, arrays)


def test_keys_change_nothing_for_a_codec_that_looks_at_none(docs):
    fitted = codec("cells:8,sq:8").fit(docs)
    rows, keys = np.arange(300), PackedKeys([f"key {i}" for i in range(300)], "str")
    np.testing.assert_array_equal(fitted.approximate(docs[:300], rows, keys), fitted.approximate(docs[:300]))
