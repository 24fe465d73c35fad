"""Few rows of many dimensions: nothing is done that takes the cube of the dimensions, or their square in memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.codecs.transforms.pca import principal_axes
from vecstore.measure.spectrum import spectrum

ROWS, WIDE = 60, 12_000
MIB = 1 << 20


@pytest.mark.parametrize("spec", ["f32", "f16", "sq:8", "center,sq:4", "bin", "pq:50", "tcq:16"])
def test_wide_rows_are_converted_and_searched(spec: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, WIDE)).astype(np.float32)
    _converted_and_searched(x[:, :200], spec, tmp_path / "narrow.vecs")  # what compiling takes is not counted
    tracemalloc.start()
    try:
        _converted_and_searched(x, spec, tmp_path / "wide.vecs")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300 * MIB  # the square of the dimensions would be 550 in float32


def _converted_and_searched(x: np.ndarray, spec: str, path: Path) -> None:
    vecstore.write(path, x, codec=spec, accept_dominated=True)
    with vecstore.open(path) as store:
        for queries in (x[7], x[7:9]):
            assert store.search(queries, k=3).rows.flat[0] == 7


@pytest.mark.parametrize("count", [1, 20, 59, 60, 61, 200])
def test_axes_by_rows_are_those_by_dimensions(count: int) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 200)).astype(np.float32) * np.linspace(3, 0.1, 200, dtype="f4")
    mean, axes, variances = principal_axes(x, count)
    np.testing.assert_allclose(axes @ axes.T, np.eye(count), atol=1e-5)
    np.testing.assert_allclose(variances, spectrum(x)[:count], atol=1e-4)
    np.testing.assert_allclose(((x - mean) @ axes.T).var(axis=0), variances, rtol=1e-3, atol=1e-4)
    exact = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1][:count]
    np.testing.assert_allclose(variances, np.maximum(exact, 0), atol=1e-4)
