"""What holds for every format that is written: what goes out comes back, or the message says why it cannot go out."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from vecstore.formats import FORMATS, Format, open_dump, write_dump

from vecstore.errors import FormatError

ROOMY = ("parquet", "arrow", "jsonl", "vdf")  # take any key
NUMBERED = ("usearch",)  # take no keys but whole numbers from 0 on
WRITABLE = [pytest.param(entry, id=entry.name) for entry in FORMATS.values() if entry.writable]


def skip_without(entry: Format) -> None:
    if entry.library is not None and importlib.util.find_spec(entry.library) is None:
        pytest.skip(f"needs {entry.library}")


def written(folder: Path, entry: Format, keys, vectors, key_type):
    skip_without(entry)
    path = folder / f"out{entry.suffixes[0] if entry.suffixes else ''}"
    write_dump(
        path, [(keys, vectors)], dimensions=vectors.shape[1], rows=len(vectors), key_type=key_type, format=entry.name
    )
    beside = next(iter(folder.glob("out.keys.*")), None)
    return path, {} if beside is None else {"keys": beside}


@pytest.mark.parametrize("entry", WRITABLE)
@pytest.mark.parametrize("key_type", ["str", "int64", None])
def test_written_and_read_again(read, tmp_path, entry, key_type):
    vectors = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    keys = {"str": ["a", "ü", "</s>", "x1", "語", "f", "7"], "int64": np.arange(7) ** 3 - 5, None: None}[key_type]
    if entry.name in NUMBERED and key_type is not None:
        with pytest.raises(FormatError, match="cannot hold"):
            written(tmp_path, entry, keys, vectors, key_type)
        keys, key_type = np.arange(7) ** 3, "int64"
    path, options = written(tmp_path, entry, keys, vectors, key_type)
    found = read(path, key_type=key_type, format=None, **options)
    assert found.dump.format == entry.name and not found.problems
    np.testing.assert_array_equal(found.vectors, vectors)
    if key_type is not None:
        assert list(found.keys) == list(keys)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("entry", WRITABLE)
def test_no_rows(tmp_path, entry):
    key_type = "int64" if entry.name in NUMBERED else "str"
    path, options = written(tmp_path, entry, [], np.empty((0, 3), np.float32), key_type)
    try:
        dump = open_dump(path, format=entry.name, **options)
    except FormatError as error:  # where a row says how wide it is, none say nothing
        assert any(word in str(error) for word in ("dimensions", "no rows", "width", "an empty file"))
        return
    assert dump.dimensions == 3 and not list(dump.batches())


@pytest.mark.parametrize("entry", WRITABLE)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_float_and_odd_keys(tmp_path_factory, entry, data):
    rows, dimensions = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 10))
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    vectors = data.draw(hnp.arrays(np.float32, (rows, dimensions), elements=finite))
    odd = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    keys = data.draw(st.lists(odd, min_size=rows, max_size=rows, unique=True))
    folder = tmp_path_factory.mktemp("dump")
    try:
        path, options = written(folder, entry, keys, vectors, "str")
    except FormatError as error:
        assert entry.name not in ROOMY and ("cannot hold" in str(error) or "has no" in str(error))
        return
    batches = list(open_dump(path, format=entry.name, key_type="str", **options).batches())
    np.testing.assert_array_equal(np.concatenate([batch.vectors for batch in batches]), vectors)
    assert [key for batch in batches for key in batch.keys] == keys


@pytest.mark.parametrize("entry", WRITABLE)
def test_damage_is_a_format_error(tmp_path, entry):
    """A share of what ``python -m vecstore.bench.scripts.fuzz_dumps`` does."""
    from vecstore.bench.scripts.fuzz_dumps import attack

    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    keys, key_type = [f"key{row}" for row in range(20)], "str"
    if entry.name in NUMBERED:
        keys, key_type = np.arange(20), "int64"
    path, options = written(tmp_path, entry, keys, vectors, key_type)
    count = int(os.environ.get("VECSTORE_FUZZ", "20"))
    assert attack(path, entry.name, tmp_path / "mutated", count=count, **options) == []
