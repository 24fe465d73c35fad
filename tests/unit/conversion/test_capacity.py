"""Predictions of what a conversion takes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import vecstore
from vecstore.cli.app import app
from vecstore.conversion import capacity
from vecstore.conversion import rates as measuring
from vecstore.conversion.capacity import plan
from vecstore.conversion.rates import Rates, measure_rates
from vecstore.errors import OptionError

RATES = Rates("sq:8", 100, 16, 4e-6, 6e-6, 5e-7, 3.0, 125.0, 100.0, 100_000, 430.0)


@pytest.fixture(scope="module")
def rates():
    """Return rates of a small conversion that really runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "searched_rows", lambda dimensions: 6000)
        patch.setattr(measuring, "PROBE_ROWS", 6000)
        return measure_rates("sq:8", 24, key_bytes=8, workers=2)


def test_rates_are_measured(rates):
    assert min(rates.reading_s, rates.encoding_s, rates.mapping_s, rates.fitting_s) > 0
    assert 0 <= rates.file_s < 1 and 0 <= rates.shard_s < 1
    assert rates.code_bytes == 24 and 24 + 8 <= rates.row_bytes < 24 + 8 + 6.5
    assert rates.dump_bytes > 4 * 24


def test_bytes_are_those_of_a_store(rates, tmp_path):
    rows = 20_000
    x = np.random.default_rng(0).normal(size=(rows, 24)).astype(np.float32)
    report = vecstore.write(tmp_path / "a.vecs", x, [f"{row:08x}" for row in range(rows)], "sq:8", shard_bytes=400_000)
    found = plan(rows, 24, "sq:8", shard_bytes=400_000, key_bytes=8, rates=rates)
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert abs(found.shards - len(store._snapshot.shards)) <= 1
    assert found.stored_bytes == pytest.approx(report.store_bytes, rel=0.05)


def test_hours():
    """A stage takes what its work takes divided by the workers, and at most one task more; or what its bytes take."""
    one = plan(1e9, 100, cores=1, files=1000, rates=RATES)
    assert one.hours["encoding"] == pytest.approx(one.cpu_hours["encoding"]) == pytest.approx(6000 / 3600)
    assert one.shards == 117 and one.tasks == 1000 + 1 + 117 + 256
    many = plan(1e9, 100, machines=2, cores=4, files=1000, disk_bytes_s=1e15, rates=RATES)
    assert many.hours["reading"] == pytest.approx(4000 / 8 / 3600 + 4 / 3600 * 7 / 8)
    assert many.hours["fitting"] == one.hours["fitting"] == 3 / 3600
    slow = plan(1e9, 100, machines=2, cores=4, files=1000, disk_bytes_s=1e6, rates=RATES)
    assert slow.hours["reading"] == pytest.approx(430e9 / 2e6 / 3600)
    paid = plan(1e9, 100, cores=1, files=1000, rates=replace(RATES, file_s=2.0, shard_s=0.5))
    assert paid.cpu_hours["reading"] - one.cpu_hours["reading"] == pytest.approx(2000 / 3600)
    assert paid.cpu_hours["encoding"] - one.cpu_hours["encoding"] == pytest.approx(117 / 2 / 3600)
    assert one.scanned_bytes == 100e9 and plan(1e9, 100, rates=RATES, memory_bytes=10**11).search_machines == 2


def test_rows_without_keys():
    found = plan(1e6, 100, key_bytes=0, rates=replace(RATES, key_bytes=0))
    assert "mapping" not in found.hours and found.scratch_bytes == 4_000_000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rows": 0}, "rows is a whole number from 1 to 1,000,000,000,000,000, found 0"),
        ({"rows": 1.5}, "rows is a whole number"),
        ({"rows": 1e30}, "rows is a whole number"),
        ({"rows": float("nan")}, "rows is a whole number"),
        ({"rows": True}, "rows is a whole number"),
        ({"machines": -2}, "machines is a whole number"),
        ({"key_bytes": -4}, "key_bytes is a whole number from 0 to 1,024, found -4"),
        ({"dimensions": 10**8}, "dimensions is a whole number from 1 to 16,384"),
        ({"rows": 1e12}, "116,427 shards: a store has at most 65,536; give a larger shard_bytes="),
        ({"shard_bytes": 50_000}, "a shard takes 100,000 bytes beside its rows"),
        ({"codec": "sq:4"}, "rates are those of sq:8, 100 dimensions, 16 bytes a key"),
    ],
)
def test_bad_numbers(options, says):
    with pytest.raises(OptionError, match=says):
        plan(**{"rows": 1e6, "dimensions": 100, "rates": RATES} | options)


def test_command(monkeypatch):
    monkeypatch.setattr(capacity, "measure_rates", lambda spec, dimensions, key_bytes: RATES)
    asked = ["plan", "--rows", "1e9", "--dimensions", "100", "--machines", "16"]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0 and "in 117 shards, 125.0 B a row" in shown.output
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert found["rows"] == 10**9 and found["rates"]["codec"] == "sq:8"
