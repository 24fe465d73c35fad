"""Fields of a store that are columns of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from vecstore.formats import open_dump

import vecstore
from vecstore.errors import OptionError, ShapeError

ROWS, D = 60, 8
RNG = np.random.default_rng(3)
X = RNG.normal(size=(ROWS, D)).astype(np.float32)
TOKENS = [RNG.normal(size=(i % 5, D)).astype(np.float32) for i in range(ROWS)]
TERMS = [{int(term): 1.0 + term / 8 for term in RNG.permutation(30)[: i % 4]} for i in range(ROWS)]


def table() -> pa.Table:
    indices, weights = [list(row) for row in TERMS], [list(row.values()) for row in TERMS]
    return pa.table(
        {
            "name": [f"row {i}" for i in range(ROWS)],
            "vector": pa.array(list(X), pa.list_(pa.float32())),
            "tokens": pa.array([list(map(list, item)) or None for item in TOKENS], pa.list_(pa.list_(pa.float32()))),
            "fixed": pa.array([list(item) for item in TOKENS], pa.large_list(pa.list_(pa.float32(), D))),
            "map": pa.array([list(row.items()) for row in TERMS], pa.map_(pa.int32(), pa.float32())),
            "words": pa.array(
                [[(str(k), v) for k, v in row.items()] for row in TERMS], pa.map_(pa.string(), pa.float64())
            ),
            "pair": pa.array([{"i": i, "w": w} for i, w in zip(indices, weights, strict=True)]),
            "pairs": pa.array([[{"i": k, "w": v} for k, v in row.items()] for row in TERMS]),
            "indices": pa.array(indices, pa.list_(pa.int64())),
            "weights": pa.array(weights, pa.list_(pa.float32())),
            "image": pa.array(list(-X), pa.list_(pa.float32(), D)),
            "price": list(range(ROWS)),
        }
    )


@pytest.fixture(scope="module", params=["parquet", "arrow"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dumps") / f"a.{request.param}"
    if request.param == "parquet":
        pq.write_table(table(), path, row_group_size=17)
    else:
        feather.write_feather(table(), path)
    return path


@pytest.mark.parametrize("tokens", ["tokens", "fixed"])
@pytest.mark.parametrize("terms", ["map", "words", "pair", "pairs", ("indices", "weights")])
def test_columns_become_fields(file: Path, tmp_path: Path, tokens: str, terms: Any) -> None:
    fields = {
        "tokens": vecstore.Multi(tokens, codec="f32"),
        "terms": vecstore.Sparse(terms),
        "image": vecstore.Dense("image", codec="f32"),
        "fde": vecstore.Muvera(of="tokens", repetitions=2, simhash=2, projection=4, codec="f32"),
    }
    report = vecstore.convert(
        file, tmp_path / "a.vecs", "f32", fields=fields, columns=["price"], vector_column="vector", shard_bytes=221_000
    )
    assert report.rows == ROWS
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.columns.column_names == ["price"] and store.columns["price"].to_pylist() == list(range(ROWS))
        assert [field["name"] for field in store.info()["fields"]] == list(fields)
        own = list(store.field("terms"))
        for row, item in enumerate(store.field("tokens")):
            np.testing.assert_array_equal(item, TOKENS[row].reshape(-1, D))
            assert own[row].keys() == TERMS[row].keys()
            np.testing.assert_allclose([own[row][term] for term in TERMS[row]], list(TERMS[row].values()), atol=0.02)
        assert store.search(-X[7], 1, field="image").keys == ["row 7"]
        assert store.search(TOKENS[9], 1, field="tokens", candidates=("fde", 30)).keys == ["row 9"]


def test_bad_rows_are_left_out_of_fields_too(tmp_path: Path) -> None:
    given = X.copy()
    given[5] = np.nan
    at = table().column_names.index("vector")
    path = tmp_path / "a.parquet"
    pq.write_table(table().set_column(at, "vector", pa.array(list(given), pa.list_(pa.float32()))), path)
    fields = {"tokens": vecstore.Multi("tokens", codec="f32")}
    vecstore.convert(
        path, tmp_path / "a.vecs", "f32", fields=fields, on_bad="skip", vector_column="vector",
        importance=np.arange(1, ROWS + 1),
    )  # fmt: skip
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert "row 5" not in store
        for row in (0, 4, 6, 59):
            np.testing.assert_array_equal(store.field("tokens")[f"row {row}"], TOKENS[row].reshape(-1, D))


def test_the_vectors_are_the_list_that_is_no_field(file: Path, tmp_path: Path) -> None:
    some = table().select(["name", "vector", "indices", "weights"])
    pq.write_table(some, tmp_path / "b.parquet")
    with pytest.raises(vecstore.errors.FormatError, match="several columns"):
        open_dump(tmp_path / "b.parquet")
    vecstore.convert(
        tmp_path / "b.parquet", tmp_path / "b.vecs", "f32", fields={"t": vecstore.Sparse(("indices", "weights"))}
    )
    with vecstore.open(tmp_path / "b.vecs") as store:
        np.testing.assert_array_equal(store["row 3"], X[3])


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (vecstore.Multi("price"), "lists of vectors"),
        (vecstore.Multi("vector"), "lists of vectors"),
        (vecstore.Sparse("price"), "maps of terms"),
        (vecstore.Sparse(("indices", "image")), "as many weights"),
        (vecstore.Dense("tokens"), "found|numbers|vectors"),
    ],
)
def test_other_columns_are_refused(file: Path, tmp_path: Path, field: Any, problem: str) -> None:
    with pytest.raises(ShapeError, match=problem):
        vecstore.convert(file, tmp_path / "a.vecs", "f32", fields={"a": field}, vector_column="vector")


def test_refusals(file: Path, tmp_path: Path) -> None:
    columns = {"t": vecstore.Multi("tokens")}
    with pytest.raises(OptionError, match="holds rows"):
        vecstore.convert(file, tmp_path / "a.vecs", "f32", fields={"t": vecstore.Multi(TOKENS)}, vector_column="vector")
    with pytest.raises(OptionError, match="convert"):
        vecstore.write(tmp_path / "a.vecs", X, codec="f32", fields=columns)
    with pytest.raises(OptionError, match="resume"):
        vecstore.convert(file, tmp_path / "a.vecs", "f32", fields=columns, vector_column="vector", resume=True)
    with pytest.raises(vecstore.errors.FormatError, match="no column 'token'"):
        vecstore.convert(
            file, tmp_path / "a.vecs", "f32", fields={"t": vecstore.Multi("token")}, vector_column="vector"
        )
