from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.formats import Dump, open_dump


@dataclass
class Contents:
    """A dump read to its end."""

    dump: Dump
    vectors: np.ndarray
    keys: Any
    problems: dict[int, str]


def read_all(dump: Dump, rows: int = 3) -> Contents:
    vectors, keys, problems, done = [], [], {}, 0
    fractions = [0.0]
    for batch in dump.batches(rows):
        assert batch.vectors.dtype == np.float32 and batch.vectors.flags.c_contiguous and batch.vectors.flags.writeable
        assert batch.vectors.shape == (len(batch), dump.dimensions) and 0 < len(batch) <= rows
        assert (batch.keys is None) == (dump.key_type is None)
        assert batch.keys is None or len(batch.keys) == len(batch)
        assert (dump.key_type == "int64") == isinstance(batch.keys, np.ndarray)
        for index in batch.problems:
            assert np.isnan(batch.vectors[index]).all()
        problems.update({done + index: why for index, why in batch.problems.items()})
        vectors.append(batch.vectors)
        keys += [] if batch.keys is None else list(batch.keys)
        fractions.append(batch.fraction_read)
        done += len(batch)
    assert fractions == sorted(fractions) and fractions[-1] <= 1
    assert not done or fractions[-1] > 0.9
    table = np.concatenate(vectors) if vectors else np.empty((0, dump.dimensions), np.float32)
    return Contents(dump, table, None if dump.key_type is None else keys, problems)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Contents]:
    """Write `data` to a file (or take a path), open it, read it twice and return what it held."""

    def reader(data: bytes | Path, name: str = "dump", *, rows: int = 3, **options: Any) -> Contents:
        path = data if isinstance(data, Path) else tmp_path / name
        if isinstance(data, bytes):
            path.write_bytes(data)
        dump = open_dump(path, **options)
        first, again = read_all(dump, rows), read_all(dump, 1000)
        np.testing.assert_array_equal(first.vectors, again.vectors)
        assert first.keys == again.keys and first.problems == again.problems
        return first

    return reader
