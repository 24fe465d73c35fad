"""Filters by columns: the rows that SQL would select, and of these exactly what a search by hand finds."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import vecstore
from vecstore.errors import OptionError
from vecstore.search.where import mask_of

ROWS = 2000


@pytest.fixture(scope="module")
def table() -> dict[str, list[Any]]:
    every = range(ROWS)
    return {
        "section": [("net", "python", None, "games", "x11")[i % 5] for i in every],
        "title": [f"title {i}" for i in every],
        "size": [i * 37 % ROWS for i in every],
        "price": [None if i % 7 == 0 else i / 8 for i in every],
        "small": np.arange(ROWS).astype(np.float32) / 10,
        "free": [None if i % 11 == 0 else i % 3 == 0 for i in every],
        "made": [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in every],
        "tags": [None if i % 13 == 0 else [f"tag {j}" for j in range(i % 4)] for i in every],
    }


def spec_id(spec: str) -> str:
    return spec.replace("/", "+")


@pytest.fixture(scope="module")
def store(docs: np.ndarray, table: dict, tmp_path_factory: pytest.TempPathFactory) -> vecstore.Store:
    path = tmp_path_factory.mktemp("where") / "a.vecs"
    vecstore.write(path, docs, [f"doc {i}" for i in range(ROWS)], "sq:8", columns=table)
    return vecstore.open(path)


def selected(store: vecstore.Store, where: Any) -> list[int]:
    return np.flatnonzero(mask_of(where, store._snapshot.shards)).tolist()


# Conditions, and what each says of a row: None where a value is null and the answer unknown.
CONDITIONS: dict[str, Any] = {
    "section = 'python'": lambda r: r["section"] == "python",
    "section != 'python'": lambda r: r["section"] not in ("python", None),
    "'python' = section": lambda r: r["section"] == "python",
    "not section = 'python'": lambda r: r["section"] not in ("python", None),
    "section in ('python', 'net', 'other')": lambda r: r["section"] in ("python", "net"),
    "section not in ('python', 'net')": lambda r: r["section"] not in ("python", "net", None),
    "section like 'p%'": lambda r: r["section"] == "python",
    "section not like '%e%'": lambda r: r["section"] in ("python", "x11"),
    "section ilike 'PY_HON'": lambda r: r["section"] == "python",
    "title < 'title 3'": lambda r: r["title"] < "title 3",
    "section is null": lambda r: r["section"] is None,
    "section is not null and size < 100": lambda r: r["section"] is not None and r["size"] < 100,
    "size between 10 and 20": lambda r: 10 <= r["size"] <= 20,
    "size not between 10 and 1990": lambda r: not 10 <= r["size"] <= 1990,
    "100 > size": lambda r: r["size"] < 100,
    "size in (1, 2, 2.5, -3)": lambda r: r["size"] in (1, 2),
    f"size in ({', '.join(map(str, range(40)))})": lambda r: r["size"] < 40,
    "section in ('x', 'y', 'z')": lambda r: False,
    "size = 99999999999999999999": lambda r: False,
    "size > -1.5": lambda r: True,
    "price >= 12.5": lambda r: r["price"] is not None and r["price"] >= 12.5,
    "not price >= 12.5": lambda r: r["price"] is not None and r["price"] < 12.5,
    "price < 3 or section = 'net'": lambda r: (r["price"] is not None and r["price"] < 3) or r["section"] == "net",
    "not (price < 3 and section = 'net')": lambda r: (
        (r["price"] is not None and r["price"] >= 3) or r["section"] not in ("net", None)
    ),
    "small = 0.7": lambda r: r["small"] == np.float32(0.7),
    "free": lambda r: r["free"] is True,
    "not free": lambda r: r["free"] is False,
    "free is not true": lambda r: r["free"] is not True,
    "free = false": lambda r: r["free"] is False,
    "made >= '2024-01-02 03:00'": lambda r: r["made"] >= datetime.datetime(2024, 1, 2, 3),
    "made < timestamp '2024-01-02T05:00+02:00'": lambda r: r["made"] < datetime.datetime(2024, 1, 2, 3),
    "made = date '2024-02-01'": lambda r: r["made"] == datetime.datetime(2024, 2, 1),
    "list_contains(tags, 'tag 2')": lambda r: "tag 2" in (r["tags"] or ()),
    "not list_contains(tags, 'tag 2')": lambda r: r["tags"] is not None and "tag 2" not in r["tags"],
    "'tag 1' = any(tags)": lambda r: "tag 1" in (r["tags"] or ()),
    "'tag 1' in tags": lambda r: "tag 1" in (r["tags"] or ()),
    "title = section": lambda r: False,
    "size > small": None,
}


@pytest.mark.parametrize("where", CONDITIONS)
def test_conditions_select_what_sql_does(store: vecstore.Store, table: dict, where: str) -> None:
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    expected = CONDITIONS[where] or (lambda r: r["size"] > r["small"])
    assert selected(store, where) == [i for i, row in enumerate(rows) if expected(row)]


def test_duckdb_agrees(store: vecstore.Store) -> None:
    duckdb = pytest.importorskip("duckdb", reason="an oracle that is not a dependency")
    own = store.columns.append_column("row", [list(range(ROWS))])
    with duckdb.connect() as connection:
        connection.register("own", own)
        for where in CONDITIONS:
            if "small = " not in where and "+02" not in where:  # it compares as double, and has times without offsets
                found = connection.execute(f"select row from own where {where} order by row").fetchall()
                assert selected(store, where) == [row for (row,) in found], where


def test_expressions_of_arrow(store: vecstore.Store) -> None:
    price, section = pc.field("price"), pc.field("section")
    assert selected(store, (section == "python") & (price < 50)) == selected(store, "section = 'python' and price < 50")
    assert selected(store, price.is_null()) == selected(store, "price is null")
    with pytest.raises(OptionError, match="no column 'prise' \\(did you mean 'price'\\?\\)"):
        selected(store, pc.field("prise") < 3)
    with pytest.raises(OptionError, match="gives double, not bool"):
        selected(store, price + 1)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("secton = 'x'", "no column 'secton' \\(did you mean 'section'\\?\\); columns are section, title"),
        ('section = "python"', "no column 'python'.*text stands in single quotes"),
        ("section = 3", "compare column 'section' with 'text', not with '3'"),
        ("size = 'x'", "compare column 'size' with a number"),
        ("free = 1", "compare column 'free' with TRUE or FALSE"),
        ("made > 'soon'", "'soon' is no time"),
        ("tags = 'x'", "list_contains\\(tags, 'text'\\)"),
        ("list_contains(section, 'x')", "'section' is text, not a list"),
        ("size like '3%'", "'size' is a number, not text"),
        ("section = null", "compare column 'section' with"),
        ("size = free", "'free' is a bool, not a number"),
        ("section", "'section' is text, not a bool"),
        ("lower(section) = 'x'", "not allowed; a condition is made of"),
        ("size + 1 > 3", "not allowed"),
        ("size in (select 1)", "not allowed"),
        ("size between symmetric 2 and 1", "not allowed"),
        ("section = 'a'; drop table x", "not allowed"),
        ("other.size = 1", "not allowed"),
        ("section like 'a!%' escape '!'", "not allowed"),
        ("section =", "something is missing"),
        ("(size = 1", "where: "),
        ("", "where: "),
        ("(" * 5000 + "free" + ")" * 5000, "nested too deep"),
        (7, "found 7"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_refused_says_what_to_do(store: vecstore.Store, where: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        store.search(np.ones(384), where=where)


@pytest.mark.parametrize(
    "where", ["size < 1000", "size < 100", "size < 10", "size < 2", "size < 0", "title < 'title 2'"]
)
@pytest.mark.parametrize(
    "options",
    [
        {"codec": "sq:8"},
        {"codec": "pq:48x4"},
        {"codec": "tcq:32"},
        {"codec": "bin/sq:8"},
        {"codec": "f32,zstd"},
        {"codec": "cells:20,sq:8"},
        {"codec": "cells:20,sq:8", "keep_order": False},
        {"codec": "sq:8", "shard_bytes": 700_000},
    ],
    ids=lambda options: spec_id(",".join(map(str, options.values()))),
)
def test_a_search_finds_the_best_of_the_selected_rows(
    docs: np.ndarray,
    queries: np.ndarray,
    table: dict,
    tmp_path_factory: pytest.TempPathFactory,
    options: dict[str, Any],
    where: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{spec_id('-'.join(map(str, options.values())))}.vecs"
    if not path.exists():
        vecstore.write(path, docs, [f"doc {i}" for i in range(ROWS)], columns=table, **options)
    with vecstore.open(path) as store:
        rows = np.flatnonzero(mask_of(where, store._snapshot.shards))
        x = store.vectors[rows]
        scores = queries / np.linalg.norm(queries, axis=1)[:, None] @ (x / np.linalg.norm(x, axis=1)[:, None]).T
        expected = -np.sort(-scores, axis=1)[:, :10]
        found = store.search(queries, 10, where=where)
        assert found.scores.shape == expected.shape
        np.testing.assert_allclose(found.scores, expected, atol=3e-3 if "/" in options["codec"] else 1e-5)
        again = store.search(queries[0], 3, where=where, exclude=found.rows[0][:1])
        assert again.rows.tolist() == found.rows[0][1:4].tolist()
        both = store.search(queries[0], 10, where=where, rows=store.rows_of([f"doc {i}" for i in range(0, ROWS, 2)]))
        own = set(store.rows_of([f"doc {i}" for i in range(0, ROWS, 2)]).tolist()) & set(rows.tolist())
        assert len(both) == min(10, len(own)) and set(both.rows.tolist()) <= own
        near = store.range_search(queries[0], min_score=0.3, where=where)
        assert len(near) == int((scores[0] >= 0.3).sum())
        similar = store.most_similar("doc 3", 5, where=where)
        assert len(similar) == min(5, len(rows) - (store.rows_of(["doc 3"])[0] in rows))


@pytest.mark.parametrize("codec", ["cells:20,sq:8", "cells:20,tcq:32", "cells:20,bin/sq:8"])
def test_nprobe_goes_on_until_as_many_selected_rows_were_seen(
    docs: np.ndarray, queries: np.ndarray, table: dict, tmp_path: Path, codec: str
) -> None:
    vecstore.write(tmp_path / "a.vecs", docs, [f"doc {i}" for i in range(ROWS)], codec, columns=table)
    with vecstore.open(tmp_path / "a.vecs") as store:
        for count in (1000, 100, 10, 4):
            where = f"size < {count}"
            for nprobe in (1, 3):
                found = store.search(queries, 10, where=where, nprobe=nprobe)
                assert (np.count_nonzero(found.rows >= 0, axis=1) == min(10, count)).all()
            if count <= 10:  # fewer than any cell has rows: all were looked at
                everything = store.search(queries, 10, where=where)
                assert found.rows.tolist() == everything.rows.tolist()
        assert store.search(queries[0], 10, where="size < 100", nprobe=1).plan.probed


def test_stores_of_other_columns(docs: np.ndarray, tmp_path: Path) -> None:
    for name, beside in (("a", {"s": ["x", "y"] * 50}), ("b", {"n": list(range(100))}), ("c", None)):
        vecstore.write(
            tmp_path / f"{name}.vecs", docs[:100], [f"{name}{i}" for i in range(100)], "sq:8", columns=beside
        )
    with vecstore.open([tmp_path / "a.vecs", tmp_path / "b.vecs", tmp_path / "c.vecs"]) as store:
        assert selected(store, "s = 'y'") == list(range(1, 100, 2))
        assert selected(store, "n < 3") == [100, 101, 102]
        assert selected(store, "s is null") == list(range(100, 300))
        assert selected(store, "not s = 'y' or n >= 98") == [*range(0, 100, 2), 198, 199]
        assert selected(store, pc.field("n").is_valid()) == list(range(100, 200))
        assert set(store.search(docs[0], 300, where="n < 3").keys) == {"b0", "b1", "b2"}
    with vecstore.open(tmp_path / "c.vecs") as store, pytest.raises(OptionError, match="the store has none"):
        store.search(docs[0], where="s = 'x'")


def test_results_bring_their_columns(store: vecstore.Store, table: dict, queries: np.ndarray) -> None:
    found = store.search(queries[0], 5, where="section = 'python'")
    rows = found.rows.tolist()
    assert found.columns.to_pydict()["title"] == [table["title"][row] for row in rows]
    assert found.to_arrow().column_names == ["key", "row", "score", *table]
    assert found.to_pandas()["section"].tolist() == ["python"] * 5
    batch = store.search(queries[:3], 4, where="price < 10", min_score=0.2)
    flat = batch.rows[batch.rows >= 0].tolist()
    assert batch.columns["size"].to_pylist() == [table["size"][row] for row in flat]
    assert batch.to_arrow()["query"].to_pylist() == np.nonzero(batch.rows >= 0)[0].tolist()
    copy = pickle.loads(pickle.dumps(batch))
    for result in (batch, copy):
        assert result[1].columns["title"].to_pylist() == [table["title"][row] for row in result[1].rows.tolist()]
    within = store.range_search(queries[0], min_score=0.3, where="free")
    assert all(within.columns["free"].to_pylist())
    looked_up = store.lookup(["doc 7", "doc 3"], columns=["title", "size"])
    assert looked_up.columns.to_pydict() == {"title": ["title 7", "title 3"], "size": [259, 111]}
    with pytest.raises(OptionError, match="no column 'titel'"):
        store.lookup(["doc 7"], columns=["titel"])


def test_names_of_a_result_s_own_are_told_apart(docs: np.ndarray, tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", docs[:20], codec="sq:8", columns={"score": list(range(20))})
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = store.search(docs[3], 2)
        assert found.to_arrow().column_names == ["key", "row", "score", "columns.score"]
        assert found.to_pandas()["columns.score"][0] == 3


def test_the_plan_says_what_was_done(store: vecstore.Store, queries: np.ndarray) -> None:
    plan = store.search(queries[0], where="size < 10").plan
    assert (plan.selected, plan.picked, plan.scanned) == (10, 10, 0)
    assert str(plan) == "10 of 2,000 rows selected (0.50%); 10 scored one by one"
    plan = store.search(queries[0], where="title < 'title 1500'").plan
    assert (plan.selected, plan.picked) == (559, 0) and 559 <= plan.scanned < ROWS
    assert str(store.search(queries[0]).plan) == "2,000 of 2,000 rows selected; 2,000 scanned"
    assert store.search(queries[0], where="size < 0").plan.selected == 0


def test_a_condition_is_asked_once(store: vecstore.Store, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    store.search(queries[0], where="size < 77")
    monkeypatch.setattr("vecstore.search.prepared.mask_of", lambda *_: pytest.fail("asked again"))
    assert len(store.search(queries[0], where="size < 77")) == 10
    for number in range(40):
        monkeypatch.undo()
        store.search(queries[0], where=f"size < {number}")
    assert len(store._snapshot.prepared._filtered) <= 16
