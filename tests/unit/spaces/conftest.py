"""Two spaces of the same words: GloVe's, and that one turned, with noise and some words of its own."""

from __future__ import annotations

import numpy as np
import pytest
from samples import glove

import vecstore


@pytest.fixture(scope="module")
def turn() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(50, 50)))[0].astype(np.float32)


@pytest.fixture(scope="module")
def spaces(tmp_path_factory, turn):
    """Return the store of words 0 to 1,500, and that of words 500 to 2,000, turned."""
    folder = tmp_path_factory.mktemp("spaces")
    vectors, keys = glove(2000)
    noise = np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    vecstore.write(folder / "a.vecs", vectors[:1500], keys[:1500], "f32")
    vecstore.write(folder / "b.vecs", (vectors @ turn + 0.05 * noise)[500:], keys[500:], "f32")
    with vecstore.open(folder / "a.vecs") as a, vecstore.open(folder / "b.vecs") as b:
        yield a, b
