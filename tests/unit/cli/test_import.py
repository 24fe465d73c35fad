from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore as package


def test_importing_floret_text(good, fails):
    rows = "\n".join(f"{row} {row / 10} {-row}" for row in range(5))
    Path("m.floret").write_text(f"5 2 1 2 1 7 < >\n{rows}\n")
    assert "give the keys" in fails("import", "m.floret", "m.vecs")
    Path("words.txt").write_text("one\ntwo\n")
    assert "2 rows" in good("import", "m.floret", "m.vecs", "--keys", "words.txt").stderr
    with package.open("m.vecs") as store:
        assert store.info()["codec"] == "floret:5:1:2:1:7" and list(store.keys) == ["one", "two"]
    assert "exists" in fails("import", "m.floret", "m.vecs", "--keys", "words.txt")


def test_importing_tensors(good, fails):
    save = pytest.importorskip("safetensors.numpy").save_file
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=(n, 4)).astype(np.float32) for name, n in (("weight_q", 5), ("weight_r", 3))}
    save({f"emb_l.1.{name}": array for name, array in arrays.items()} | {"E": arrays["weight_q"]}, "m.safetensors")
    good("import", "m.safetensors", "q.vecs", "--kind", "qr", "--tensor", "emb_l.1", "--compat", "exact", "--rows", 14)
    with package.open("q.vecs") as store:
        assert len(store) == 14
        np.testing.assert_array_equal(store[7], arrays["weight_q"][2] * arrays["weight_r"][1])
    assert "--keys" in fails("import", "m.safetensors", "h.vecs", "--kind", "hashembed", "--tensor", "E")
    Path("words.txt").write_text("one\ntwo\n")
    good(
        "import", "m.safetensors", "h.vecs", "--kind", "hashembed", "--tensor", "E", "--seed", 3, "--keys", "words.txt"
    )
    with package.open("h.vecs") as store:
        assert store.info()["codec"] == "hashembed:5:3" and store["one"].shape == (4,)
    Path("keys.bin").write_bytes(b"\xff\xfe")
    assert "UTF-8" in fails(
        "import", "m.safetensors", "x", "--kind", "hashembed", "--tensor", "E", "--keys", "keys.bin"
    )


def test_convert_advises_and_refuses(good, fails):
    said = fails("convert", "x.npy", "t.vecs", "--codec", "hash:200:2")
    assert "PQ at the same bytes keeps" in said or "no product quantizer" in said
    out = good("convert", "x.npy", "t.vecs", "--codec", "hash:200:2", "--accept-dominated").stderr
    assert "advice" in out
    good("convert", "x.npy", "t.vecs", "--codec", "hash:200:2", "--force")
    np.save("often.npy", np.arange(300))
    good("convert", "x.npy", "m.vecs", "--codec", "sq:8@30+sq:4", "--importance", "often.npy")
    assert "sq:8@30+sq:4" in good("info", "m.vecs").stdout
    Path("bad.npy").write_text("x")
    assert "--importance" in fails("convert", "x.npy", "n.vecs", "--importance", "bad.npy")


def test_convert_imports_tables_exactly(good, fails):
    rows = "\n".join(f"{row} {row / 10} {-row}" for row in range(5))
    Path("m.floret").write_text(f"5 2 1 2 1 7 < >\n{rows}\n")
    Path("words.txt").write_text("one\ntwo\n")
    assert "give the keys" in fails("convert", "m.floret", "m.vecs")
    said = good("convert", "m.floret", "m.vecs", "--keys", "words.txt").stderr
    assert "tables of fasttext as they are" in said
    good("convert", "m.floret", "f.vecs", "--keys", "words.txt", "--codec", "f32")
    with package.open("m.vecs") as exact, package.open("f.vecs") as converted:
        assert exact.info()["codec"].startswith("floret") and converted.info()["codec"] == "f32"
        np.testing.assert_array_equal(exact["one"], converted["one"])
    np.save("E.npy", np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32))
    good("convert", "E.npy", "h.vecs", "--from", "hashembed", "--seed", 3, "--keys", "words.txt")
    with package.open("h.vecs") as store:
        assert store.info()["codec"] == "hashembed:9:3"


def test_the_report_counts_what_is_odd(good):
    Path("odd.vec").write_text("a\u00a0b 1 2\nc 0 0\nd 3\nd 4 5\nd 6 7\n")
    said = " ".join(
        good(
            "convert", "odd.vec", "o.vecs", "--on-bad", "skip", "--on-duplicate", "last", "--codec", "f32"
        ).stderr.split()
    )
    for finding in ("no-break space", "zero vector", "wrong number of numbers", "duplicate key", "line 3"):
        assert finding in said, finding
