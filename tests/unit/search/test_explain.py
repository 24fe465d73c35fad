"""What a store says of its search is what a search does."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.search.explain import Explanation

X = np.random.default_rng(0).standard_normal((3000, 32)).astype(np.float32)
SAID = {
    "sq:8": "scans the codes of sq:8, 32 B a row",
    "pq:8": "scans the codes of pq:8, 8 B a row",
    "tcq:8": "scans the codes of tcq:8, 8 B a row; scores the best 80 rows exactly",
    "sq:8,zstd": "slow: decodes every row of sq:8,zstd, whose codes cannot be scanned where they lie",
    "cells:8,sq:8": "scans the codes of sq:8, 32 B a row",
}


@pytest.mark.parametrize("codec", SAID)
def test_said(codec, tmp_path):
    vecstore.write(tmp_path / "x.vecs", X, codec=codec)
    with vecstore.open(tmp_path / "x.vecs") as store:
        found = Explanation(**store.info()["search"])
        assert str(found) == SAID[codec]
        assert (store.search(X[0], k=10).rescored or 0) == found.rescores


def test_two_layers(tmp_path):
    vecstore.write(tmp_path / "x.vecs", X, codec="bin/sq:8")
    with vecstore.open(tmp_path / "x.vecs") as store:
        found = Explanation(**store.info()["search"])
        assert found.scans == ("bin" if found.rescores else "sq:8")
        assert (store.search(X[0], k=10).rescored or 0) == found.rescores
