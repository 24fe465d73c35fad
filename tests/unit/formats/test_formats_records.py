"""Separated values by compiled code: what Python's csv and float make of them, however odd, in blocks of any size."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vecstore.formats import open_dump, record_reader

FIELDS = st.sampled_from(
    ["1", "-2.5", " 3 ", '"4"', "1e39", "nan", "x", "", '"a,b"', '"a""b"', '"a\nb"', 'a"b', "é", "0x1", "1_0", " ", '"']
)


def expected(text: str, delimiter: str) -> list[list[str]]:
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting) if row]


def numbers(fields: list[str]) -> np.ndarray:
    """Return three numbers, NaN where there are others, or what is none."""
    try:
        found = [float(field) if "_" not in field else float("x") for field in fields]
    except ValueError:
        found = []
    with np.errstate(over="ignore"):
        return np.array(found if len(found) == 3 else [np.nan] * 3).astype(np.float32)


@pytest.mark.parametrize("delimiter", [",", "\t"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_as_csv_reads_them(tmp_path, monkeypatch, delimiter, data):
    records = data.draw(st.lists(st.lists(FIELDS, min_size=1, max_size=5), max_size=6))
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n", "\n\n", "\r"]), min_size=6, max_size=6))
    regular = "".join(delimiter.join([f"k{row}", "1", "2", "3"]) + "\n" for row in range(30))
    odd = "".join(delimiter.join(record) + end for record, end in zip(records, ends, strict=False))
    text = regular + odd + data.draw(st.sampled_from(["", "last", delimiter.join(["z", "7", "8", "9"])]))
    path = tmp_path / "t"
    path.write_bytes(text.encode())
    monkeypatch.setattr(record_reader, "_BLOCK_BYTES", data.draw(st.integers(1, 300)))
    dump = open_dump(path, format="csv" if delimiter == "," else "tsv")
    batches = list(dump.batches(data.draw(st.integers(1, 40))))
    rows = expected(text, delimiter)
    keys = [key for batch in batches for key in batch.keys]
    assert keys == [row[0] for row in rows]
    vectors = np.concatenate([batch.vectors for batch in batches])
    np.testing.assert_array_equal(vectors, np.array([numbers(row[1:]) for row in rows]))


def test_numbers_to_the_last_bit(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
    lines = [",".join(["word", *(repr(float(number)) for number in row)]) for row in vectors]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = np.concatenate([batch.vectors for batch in open_dump(tmp_path / "t.csv").batches(64)])
    np.testing.assert_array_equal(found, vectors)
