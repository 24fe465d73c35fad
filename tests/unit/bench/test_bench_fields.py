"""The bench of token vectors and sparse terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from vecstore.bench.fields import bench_fields

from vecstore.cli.app import app
from vecstore.errors import OptionError, ShapeError

ROWS = [7, 3, 149, 0]


@pytest.fixture(scope="module")
def queries(file: Path) -> Path:
    """Rows of the file, and the numbers of these rows; the last one asks nothing."""
    table = pq.read_table(file).take(ROWS).append_column("row", pa.array(ROWS))
    for name in ("tokens", "terms", "weights"):
        kept = table[name].to_pylist()[:-1]
        table = table.set_column(table.column_names.index(name), name, pa.array([*kept, []], table[name].type))
    path = file.with_name("queries.parquet")
    pq.write_table(table.append_column("wrong", pa.array([0, 1, 2, 150])), path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, rows = np.random.default_rng(0), 150
    terms = [rng.permutation(50)[: 3 + i % 5].tolist() for i in range(rows)]
    table = {
        "vector": list(rng.normal(size=(rows, 8)).astype(np.float32)),
        "tokens": [rng.normal(size=(3 + i % 4, 16)).tolist() for i in range(rows)],
        "terms": terms,
        "weights": [rng.random(len(own)).tolist() for own in terms],
    }
    path = tmp_path_factory.mktemp("bench") / "a.parquet"
    pq.write_table(pa.table(table), path)
    return path


def test_lines(file: Path) -> None:
    lines = list(bench_fields(file, tokens="tokens", terms=("terms", "weights"), codecs=["sq:8", "rotate,bin"]))
    assert [line.codec for line in lines] == ["float32", "sq:8", "rotate,bin", "float32", "8 bits", "4 bits", "0 bits"]
    sizes = [line.row_bytes for line in lines]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[4] >= sizes[5] >= sizes[6] > 0
    agreement = [line.agreement or 0 for line in lines]
    assert agreement[0] == agreement[3] == 1 and agreement[1] > agreement[2] and agreement[4] > agreement[6]
    assert all(line.mrr is None for line in lines)
    with pytest.raises(OptionError, match="tokens="):
        next(bench_fields(file))


def test_command(file: Path) -> None:
    asked = ["bench", "fields", str(file), "--terms", "terms,weights", "--tokens", "tokens", "--codecs", "sq:8"]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    assert "8 bits" in found.output and "sq:8" in found.output
    assert "MRR" not in found.output


def test_reciprocal_ranks(file: Path, queries: Path) -> None:
    names, codecs = ("terms", "weights"), ["sq:8", "rotate,bin"]
    lines = list(bench_fields(file, tokens="tokens", terms=names, codecs=codecs, queries=queries, relevant="row"))
    mrr = [line.mrr or 0 for line in lines]
    tokens = [np.array(row, np.float32) for row in pq.read_table(file)["tokens"].to_pylist()]
    ranks = []
    for row in ROWS[:-1]:
        scores = np.array([(tokens[row] @ own.T).max(axis=1).sum() for own in tokens])
        ranks.append(1 + int(np.sum(scores > scores[row])))
    assert mrr[0] == pytest.approx(sum(1 / rank for rank in ranks if rank <= 10) / len(ROWS))
    assert mrr[1] == pytest.approx(mrr[0], abs=0.1) and mrr[2] > 0
    weights = np.zeros((150, 50))
    for row, own in enumerate(pq.read_table(file, columns=list(names)).to_pylist()):
        weights[row, own["terms"]] = own["weights"]
    ranks = [1 + int(np.sum(weights @ weights[row] > weights[row] @ weights[row])) for row in ROWS[:-1]]
    assert mrr[3] == pytest.approx(sum(1 / rank for rank in ranks if rank <= 10) / len(ROWS))
    assert mrr[4] == pytest.approx(mrr[3], abs=0.1)


def test_wrong_queries(file: Path, queries: Path) -> None:
    with pytest.raises(OptionError, match="go together"):
        next(bench_fields(file, tokens="tokens", queries=queries))
    for column in ("wrong", "terms"):
        with pytest.raises(ShapeError, match="0 to 149"):
            next(bench_fields(file, terms=("terms", "weights"), queries=queries, relevant=column))


def test_command_with_queries(file: Path, queries: Path) -> None:
    asked = ["bench", "fields", str(file), "--terms", "terms,weights", "--queries", str(queries), "--relevant", "row"]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    assert "MRR@10" in found.output
