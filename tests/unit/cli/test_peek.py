from __future__ import annotations

import json
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import vecstore as package


def test_peek(good):
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 16)).astype(np.float32) * np.linspace(3, 0.1, 16, dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[7] = np.nan
    x[9] = x[8]
    np.save("p.npy", x)
    Path("names.txt").write_text("\n".join(["same", "same", *map(str, range(298))]) + "\n")
    said = " ".join(good("peek", "p.npy", "--keys", "names.txt").stdout.split())
    for part in (
        "p.npy: npy",
        "300 x 16, float32",
        "all 1",
        "truncate",
        "repeated keys 1",
        "repeated vectors 1",
        "NaN",
    ):
        assert part in said, part
    found = json.loads(good("peek", "p.npy", "--keys", "names.txt", "--json").stdout)
    assert found["normalised"] and found["can_be_cut"] and found["rows_read"] == 300
    words = found["convert"].split()
    assert words[:2] == ["vecstore", "convert"]
    good(*words[1:])
    with package.open("p.vecs") as store:
        assert len(store) == 298


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=os.getcwd())) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_urls(good, fails, server):
    pytest.importorskip("aiohttp")
    fsspec = pytest.importorskip("fsspec")
    good("convert", f"{server}/x.npy", "far.vecs", "--codec", "f32")
    with package.open("far.vecs") as store:
        np.testing.assert_array_equal(np.asarray(store.vectors), np.load("x.npy"))
        assert store.info()["provenance"]["source"] == "x.npy"
    assert "/none.npy: nothing is there" in fails("convert", f"{server}/none.npy", "no.vecs")
    with fsspec.open("memory://folder/m.npy", "wb") as file:
        file.write(Path("x.npy").read_bytes())
    assert package.formats.open_dump("memory://folder/m.npy").rows == len(np.load("x.npy"))


def test_pipes(good):
    os.mkfifo("pipe.npy")
    data = Path("x.npy").read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe.npy").write_bytes(data))
    writer.start()
    good("convert", "pipe.npy", "p.vecs", "--codec", "f32")
    writer.join()
    with package.open("p.vecs") as store:
        assert len(store) == len(np.load("x.npy"))
