"""Small files with right checksums that ask for much memory: refused before it is allocated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal

import vecstore
from vecstore.codecs.axes import Axes
from vecstore.codecs.base import Arrays
from vecstore.codecs.codec import codec
from vecstore.codecs.partition import Cells
from vecstore.codecs.product.vaq import VAQ
from vecstore.container.container import Container
from vecstore.errors import CodecError, CorruptError, VecstoreError

X = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)


def forged(path: Path, spec: str, part: str, **members: Any) -> Path:
    """Write a store in whose description some members of a part are others."""
    vecstore.write(path, X, codec=spec, accept_dominated=True)
    about = Container(path).description
    about["parts"][part] |= members
    reseal(path, about)
    return path


@pytest.mark.parametrize("rows", [1 << 20, 1 << 32])
@pytest.mark.parametrize("spec", ["f32,zstd", "sq:8,rans:16", "f32,pco", "f16,archive"])
def test_packed_blocks_are_small(rows: int, spec: str, tmp_path: Path) -> None:
    path = forged(tmp_path / "a.vecs", spec, "codes.0", shape=[rows, 64], block_rows=rows)
    about = Container(path).description
    reseal(path, {**about, "rows": rows})
    with pytest.raises(CorruptError, match=r"too large blocks|does not agree"), vecstore.open(path) as store:
        _ = store.vectors[0]


def test_packed_blocks_of_wide_rows_are_small_too(tmp_path: Path) -> None:
    x = np.zeros((20, 1 << 19), np.float32)
    x[:, 0] = np.arange(20)
    vecstore.write(tmp_path / "a.vecs", x, codec="f32,zstd", metric="l2", accept_dominated=True)
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert Container(tmp_path / "a.vecs").part("codes.0").block_rows == 8
        np.testing.assert_array_equal(store.vectors[13], x[13])


def test_rans_has_as_many_columns_as_codes_have_bytes(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", X, codec="sq:8,rans:16", accept_dominated=True)
    about = Container(tmp_path / "a.vecs").description
    about["codec"][0][1]["configuration"]["columns"] = 1 << 30
    reseal(tmp_path / "a.vecs", about)
    with pytest.raises(CodecError, match="write rans:16"), vecstore.open(tmp_path / "a.vecs") as store:
        _ = store.vectors[0]


@pytest.mark.parametrize("shape", [[1] * 65, [0, *[1 << 40] * 2], [1 << 47, 1 << 47, 0], [0] * 9])
def test_shapes_that_no_array_has(shape: list[int], tmp_path: Path) -> None:
    path = forged(tmp_path / "a.vecs", "sq:8", "model.0.0.steps", shape=shape)
    with pytest.raises(VecstoreError, match="shape"), vecstore.open(path) as store:
        _ = store.vectors[0]


def test_centroids_are_not_far_larger_than_what_tells_them_apart() -> None:
    count, d = 1 << 16, 1 << 11
    arrays: Arrays = {
        "mean": np.zeros(d, "<f4"),
        "scales": np.zeros(1, "<f4"),
        "bits": np.ones(1, "|u1"),
        "axis_bits": np.full(1, 2, "|u1"),
        "axes": np.zeros((d, 1), "|u1"),
        "levels": np.zeros((count, 1), "|u1"),
    }
    with pytest.raises(CodecError, match="take fewer"):
        Cells(count).restore(d, arrays)


def test_codebooks_are_not_far_larger_than_their_centroids() -> None:
    m, d = 2048, 4096
    widths = np.ones(m, "<u4")
    widths[0] = d - m + 1
    arrays: Arrays = {"widths": widths, "mean": np.zeros(d, "<f4"), "centroids": np.zeros((d, 256), "<f4")}
    with pytest.raises(CodecError, match="take fewer groups"):
        VAQ(m).restore(d, arrays)


@pytest.mark.parametrize("spec", ["rotate,sq:8", "rabitq:4", "opq:4"])
def test_matrices_of_very_wide_vectors_are_not_trained(spec: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4097)).astype(np.float32)
    with pytest.raises(CodecError, match="put pca:4096"):
        codec(spec).fit(x)


@pytest.mark.parametrize("spec", ["vaq:4", "cells:3,sq:8", "tcq:8", "pca:12,rotate,sq:8"])
def test_few_rows_of_very_wide_vectors_are_converted(spec: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 12_001)).astype(np.float32)
    trained = codec(spec).fit(x)
    assert trained.decode(trained.encode(x)).shape == x.shape


def test_axes_that_take_minutes_to_turn_are_refused() -> None:
    d = 1 << 13
    arrays: Arrays = {"axis_bits": np.full(d, 2, "|u1"), "axes": np.zeros((d, d // 4), "|u1")}
    with pytest.raises(CodecError, match="minutes"):
        Axes.restore(arrays, (d, d))
