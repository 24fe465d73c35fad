"""Closed stores let go of their files at once, not when a collector of cycles comes by."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore

MAPS = Path("/proc/self/maps")
X = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
KEYS = [f"key {i}" for i in range(600)]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.skipif(not MAPS.exists(), reason="the system does not tell what is mapped")
@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("f32", {}),
        ("sq:8", {"keep_norms": True}),
        ("bin/sq:8", {}),
        ("cells:4,bin/sq:8", {}),
        ("tcq:8", {}),
        ("f32,zstd", {}),
        ("hash:90", {}),
    ],
)
@pytest.mark.usefixtures("no_collector")
def test_files_are_unmapped(spec: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, X, KEYS, spec, accept_dominated=True, **options)
    gc.collect()
    uses = (
        lambda store: store["key 3"],
        lambda store: (store[KEYS], store.vectors[5:9], list(store.keys)),
        lambda store: (store.search(X[:3], k=3), store.range_search(X[0], min_score=0.9)),
        lambda store: (store.verify(deep=True), store.info(), repr(store)),
    )
    for number, use in enumerate(uses):
        with vecstore.open(path) as store:
            use(store)
            assert str(path) in MAPS.read_text()
        assert str(path) not in MAPS.read_text(), f"still mapped after use {number}"
