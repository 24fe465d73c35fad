"""The lengths in a description are rounded, so bounds of scores take them with a margin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.errors import CorruptError
from vecstore.shard.shard import Shard

MARGIN = 1e-4  # as docs/format.md says


def lengths_of(path: Path) -> np.ndarray:
    with vecstore.open(path) as store:
        return np.linalg.norm(store.vectors[:].astype(np.float64), axis=1)


@pytest.mark.parametrize("spec", ["sq:4", "sq:8", "pq:8"])
def test_stored_lengths_are_no_strict_bounds(tmp_path: Path, spec: str) -> None:
    x = np.random.default_rng(5).normal(size=(3000, 24)).astype(np.float32)
    vecstore.write(tmp_path / "a.vecs", x, codec=spec, accept_dominated=True)
    exact, shard = lengths_of(tmp_path / "a.vecs"), Shard(tmp_path / "a.vecs")
    least, largest = shard.description["lengths"]
    assert least > exact.min() or largest < exact.max(), "this sample shows nothing: take another seed"
    assert shard.bounds[0] is not None
    assert shard.bounds[0] == (least * (1 - MARGIN), largest * (1 + MARGIN))
    assert shard.bounds[0][0] < exact.min() and exact.max() < shard.bounds[0][1]


def test_both_layers_are_bounded(tmp_path: Path) -> None:
    x = np.random.default_rng(5).normal(size=(3000, 24)).astype(np.float32)
    vecstore.write(tmp_path / "a.vecs", x, codec="bin/sq:8")
    coarse, fine = Shard(tmp_path / "a.vecs").bounds
    exact = lengths_of(tmp_path / "a.vecs")
    assert coarse is not None and fine is not None and coarse != fine
    assert fine[0] < exact.min() and exact.max() < fine[1]


@pytest.mark.parametrize("spec", ["bin", "sq:4"])
def test_searches_find_the_shortest_and_the_longest_row(tmp_path: Path, spec: str) -> None:
    x = np.random.default_rng(5).normal(size=(3000, 24)).astype(np.float32)
    vecstore.write(tmp_path / "a.vecs", x, codec=spec, metric="cosine", accept_dominated=True)
    exact = lengths_of(tmp_path / "a.vecs")
    with vecstore.open(tmp_path / "a.vecs") as store:
        for row in (exact.argmin(), exact.argmax()):
            assert store.search(store.vectors[int(row)], 1).scores[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("lengths", [[-1.0, 1.0], [2.0, 1.0], [1.0, 1e400], ["1", 2.0]])
def test_lengths_that_are_none_are_refused(tmp_path: Path, lengths: list) -> None:
    vecstore.write(tmp_path / "a.vecs", np.ones((9, 4)), codec="bin", accept_dominated=True)
    shard = Shard(tmp_path / "a.vecs")
    shard.description["lengths"] = lengths
    with pytest.raises(CorruptError, match="lengths"):
        _ = shard.bounds[0]
