"""Files that are cut off or overwritten while a store has them open."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore

X = np.random.default_rng(0).normal(size=(12_000, 4)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"shard_bytes": 165_000}], ids=["file", "directory"])
def test_a_safe_store_does_not_notice(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, X, list(range(12_000)), "f16", **options)
    with vecstore.open(path) as mapped:
        expected = np.asarray(mapped.vectors)
    with vecstore.open(path, safe=True) as store, vecstore.open([path], safe=True) as joined:
        again = pickle.loads(pickle.dumps(store))
        cut = store.truncated(2)
        for file in path.glob("*.vecs") if path.is_dir() else [path]:
            with open(file, "r+b") as damaged:
                damaged.write(bytes(100_000))
                damaged.truncate(4096)
        for opened in (store, joined, again):
            np.testing.assert_array_equal(np.asarray(opened.vectors), expected)
            np.testing.assert_array_equal(opened[[5, 11_000]], expected[[5, 11_000]])
            assert opened.search(X[7], k=1, metric="l2").rows[0] == 7
            opened.verify()
        assert cut.vectors[:].shape == (12_000, 2)
