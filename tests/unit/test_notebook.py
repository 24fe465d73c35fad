"""What people see in a notebook, and what results become there."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.notebook import MOST_ROWS, facts_html, table_html
from vecstore.shard.certificate import Interval
from vecstore.tuning.result import Entry, Table

WORDS = ["<b>bold</b>", "two", *map(str, range(2, 200))]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)


@pytest.fixture
def report(tmp_path, x):
    return vecstore.write(tmp_path / "a&b.vecs", x, WORDS, codec="f16")


@pytest.fixture
def store(report):
    return vecstore.open(report.path)


def test_tables_are_escaped_and_bounded():
    shown = table_html(("a<", "n"), [("<script>", 1234567)] + [("x", 0.123456)] * MOST_ROWS, title="t&t")
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "a&lt;" in shown and "t&amp;t" in shown
    assert "1,234,567" in shown and "0.1235" in shown and "and 1 more" in shown
    assert "<td style='text-align: left'>True</td>" in facts_html("", {"yes": True})


def test_a_store_and_a_report_show_what_they_are(store, report):
    for shown in (store._repr_html_(), report._repr_html_()):
        assert shown.startswith("<table>") and "f16" in shown and "a&amp;b.vecs" in shown
        assert "recall@10, rows as queries" in shown and "in the dump&#x27;s order" in shown
    assert len(repr(report)) < 300
    store.close()
    assert "closed" in store._repr_html_()


def test_a_result_is_pairs_of_key_and_score(store, x):
    found = store.search(x[0], 3)
    assert list(found) == list(zip(found.keys, found.scores.tolist(), strict=True)) and len(found) == 3
    assert dict(iter(found))["<b>bold</b>"] == pytest.approx(1)
    assert "&lt;b&gt;bold" in found._repr_html_() and f"{found.scores[1]:.4f}" in found._repr_html_()
    batch = store.search(x[:2], 3)
    assert [one.keys for one in batch] == batch.keys and len(batch) == 2
    assert [key for key, _ in next(iter(batch))] == batch.keys[0]


def test_a_result_is_indexed_as_it_iterates(store, x):
    one, batch = store.search(x[0], 3), store.search(x[:4], 9, min_score=0.4)
    assert [one[0], one[-1], *one[:2]] == [list(one)[at] for at in (0, 2, 0, 1)]
    assert batch[-1].keys == batch.keys[-1] and [each.keys for each in batch[1:3]] == batch.keys[1:3]
    assert [len(batch[query].rows) for query in range(4)] == [len(keys) for keys in batch.keys]
    with pytest.raises(IndexError):
        one[3]


def test_tables_of_results(store, x):
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    one, batch = store.search(x[0], 3), store.search(x[:4], 9, min_score=0.4)
    frame = one.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == ["key", "row", "score"]
    assert frame["key"].tolist() == one.keys and frame["score"].dtype == np.float32
    frame, table = batch.to_pandas(), batch.to_arrow()
    assert isinstance(table, pyarrow.Table) and table.to_pandas().equals(frame)
    assert frame["row"].tolist() == batch.rows[batch.rows >= 0].tolist()
    assert frame.groupby("query")["key"].apply(list).tolist() == batch.keys
    assert "<th>query</th>" in batch._repr_html_()


def test_a_table_of_tuning_shows_what_was_chosen():
    entries = [
        Entry(name, "stored", 9.5, 8, 100, Interval(0.5, 0.4, 0.6), 0.1, 1.0, 1, 900, name == "b") for name in "ab"
    ]
    shown = Table(entries)._repr_html_()
    assert shown.index(">b<") < shown.index("chosen") < shown.index(">a<")


def test_keys_are_completed(store, tmp_path, x):
    assert store._ipython_key_completions_() == WORDS
    vecstore.write(tmp_path / "many", np.repeat(x, 6, axis=0), [f"k{i}" for i in range(1200)], codec="f16")
    assert len(vecstore.open(tmp_path / "many")._ipython_key_completions_()) == 1000
    vecstore.write(tmp_path / "numbers", x, range(200), codec="f16")
    assert vecstore.open(tmp_path / "numbers")._ipython_key_completions_() == []


def test_all_vectors_as_another_array(store, monkeypatch):
    everything = np.asarray(store.vectors)
    np.testing.assert_array_equal(store.vectors.T, everything.T)
    monkeypatch.setattr("vecstore.store.vectors.PIECE_ROWS", 7)
    half = store.vectors.astype("f2")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, everything.astype(np.float16))
