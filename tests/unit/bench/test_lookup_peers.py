"""What the benchmark of lookups measures finds the vectors that were asked for, in their order."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from vecstore.bench.scripts.lookup_peers import PEERS, DictArray, DictMemmap, Vecstore

from vecstore.errors import MissingExtraError

KEYS = [f"it's key {row}" for row in range(300)]
X = np.random.default_rng(0).normal(size=(300, 13)).astype(np.float32)


@pytest.fixture(scope="module")
def elsewhere():
    """Another process: once imported, Lance warns at every fork, and other tests fork."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("peer", [DictMemmap(), DictArray(), Vecstore("f32"), *PEERS], ids=lambda peer: peer.name)
def test_peer_finds_what_it_was_given(peer, tmp_path, elsewhere):
    try:
        elsewhere.submit(build_and_ask, peer, tmp_path).result()
    except MissingExtraError as error:
        pytest.skip(str(error))


def build_and_ask(peer, folder):
    rows = np.array([7, 299, 0, 7])
    peer.build(folder, KEYS, X)
    with peer.open(folder) as lookup:
        np.testing.assert_array_equal(lookup.one(KEYS[7]), X[7])
        np.testing.assert_array_equal(lookup.many([KEYS[row] for row in rows]), X[rows])
        if lookup.rows:
            np.testing.assert_array_equal(lookup.rows(rows), X[rows])
