"""What the benchmark of search measures beside vecstore finds the rows that were asked for."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from vecstore.bench.scripts.scan_peers import PEERS, K

from vecstore.errors import MissingExtraError

ROWS = 10_000  # enough for faiss to train 256 centroids without a complaint


@pytest.fixture(scope="module")
def elsewhere():
    """Another process: faiss and usearch bring OpenMP runtimes of their own, and other tests fork."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize(
    "number",
    [
        # It trains 48 times 256 centroids.
        pytest.param(number, id=peer.name, marks=[pytest.mark.slow] if peer.name == "faiss IndexPQ 48x8" else [])
        for number, peer in enumerate(PEERS)
    ],
)
def test_peer_finds_the_rows_it_is_asked_for(number, elsewhere):
    try:
        elsewhere.submit(build_and_ask, number).result()
    except MissingExtraError as error:
        pytest.skip(str(error))


def build_and_ask(number):
    x = np.random.default_rng(0).normal(size=(ROWS, 96)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wanted = np.array([7, ROWS - 1, 0, 7])
    built = PEERS[number].build(x, x)
    found = built.search(x[wanted], 1)
    assert found.shape == (4, K)
    assert (found == wanted[:, None]).any(axis=1).all()
    assert 12 <= built.row_bytes <= 4 * 96
