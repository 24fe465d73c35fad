"""Each library that is installed finds the rows that it was given, in the bytes that it claims."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from vecstore.bench.peers.peer import PEERS, missing, peer_class, peer_names

from vecstore.errors import OptionError

ROWS, D = 3000, 64
BUDGETS = (8, 16, 32, 64, 128)


@pytest.fixture(scope="module")
def elsewhere():
    """Another process: these libraries bring thread pools of their own, and other tests fork."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", PEERS)
def test_settings_have_labels_and_documentation(name):
    peer = peer_class(name)
    assert peer.__doc__ and peer.package
    for budget in (*BUDGETS, 400, 1600):
        own = peer.configurations(budget, 384)
        assert len({one["label"] for one in own}) == len(own)


@pytest.mark.parametrize(
    "name",
    # faiss trains 256 centroids for every group; its scans are tried in test_scan_peers, too
    [pytest.param(name, marks=[pytest.mark.slow] if name == "faiss" else []) for name in PEERS],
)
def test_peer_finds_rows(name, elsewhere):
    why = missing(name)
    if why is not None:
        pytest.skip(why)
    found = elsewhere.submit(try_all, name).result()
    if "unsupported" in found:
        pytest.skip(found["unsupported"])
    assert found
    for label, (hits, row_bytes, budget, scores_fall) in found.items():
        assert hits > 0.9, (label, hits)
        assert 0 < row_bytes <= max(budget + 4, 4 * D if name in ("numpy", "gensim") else 0), label
        assert scores_fall, label


def try_all(name: str) -> dict:
    x = np.random.default_rng(0).standard_normal((ROWS, D)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    asked = x[:40] + 0.01 * x[1000:1040]
    chosen: dict = {}
    for budget in BUDGETS:
        for settings in peer_class(name).configurations(budget, D):
            slow = settings["label"].startswith(("LSQ", "RQ", "OPQ8", "PQ8"))
            if not slow and (budget >= 32 or name in ("numpy", "gensim")):
                chosen.setdefault(settings["label"], (settings, budget))
    found = {}
    for label, (settings, budget) in list(chosen.items())[:6]:
        peer = peer_class(name)(settings, metric="cosine", seed=0)
        try:
            peer.fit(x[1500:])
            peer.add(x[:1500])
        except RuntimeError as error:
            if "suitable method" in str(error) or "non-Intel" in str(error):
                return {"unsupported": f"{name} does not support this processor: {error}"}
            raise
        rows, scores = peer.search(asked, 10)
        hits = np.mean([row in own[:10] for row, own in zip(range(40), rows.tolist(), strict=True)])
        found[label] = (hits, peer.row_bytes, budget, bool((np.diff(scores, axis=1) <= 1e-5).all()))
    return found


def test_names():
    assert (
        peer_names("all") == list(PEERS)
        and peer_names("none") == []
        and peer_names("faiss, numpy")
        == [
            "faiss",
            "numpy",
        ]
    )
    with pytest.raises(OptionError, match="did you mean 'usearch'"):
        peer_names("usearc")
