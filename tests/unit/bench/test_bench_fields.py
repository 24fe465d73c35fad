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
from vecstore.errors import OptionError


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
    assert [line.codec for line in lines] == ["float32", "sq:8", "rotate,bin", "8 bits", "4 bits", "0 bits"]
    sizes = [line.row_bytes for line in lines]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[3] >= sizes[4] >= sizes[5] > 0
    agreement = [line.agreement or 0 for line in lines]
    assert agreement[0] == 1 and agreement[1] > agreement[2] and agreement[3] > agreement[5]
    with pytest.raises(OptionError, match="tokens="):
        next(bench_fields(file))


def test_command(file: Path) -> None:
    asked = ["bench", "fields", str(file), "--terms", "terms,weights", "--tokens", "tokens", "--codecs", "sq:8"]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    assert "8 bits" in found.output and "sq:8" in found.output
