from __future__ import annotations

import gzip

import numpy as np
import pytest
from vecstore.formats import open_dump

from vecstore.errors import FormatError

X = np.random.default_rng(0).normal(size=(7, 5)).astype("<f4")
KEYS = ["a", "</s>", "ü", "New_York", "", "x" * 300, "7"]


def binary(keys=KEYS, vectors=X, newline=b"\n", rows=None):
    rows = len(vectors) if rows is None else rows
    body = b"".join(key.encode() + b" " + x.tobytes() + newline for key, x in zip(keys, vectors, strict=True))
    return b"%d %d\n" % (rows, vectors.shape[1]) + body


@pytest.mark.parametrize("newline", [b"", b"\n"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_reads(read, newline, wrap):
    found = read(wrap(binary(newline=newline)))
    assert (found.dump.format, found.dump.rows) == ("word2vec-binary", 7)
    assert found.keys == KEYS and not found.problems
    np.testing.assert_array_equal(found.vectors, X)


def test_buffer_borders(read, monkeypatch):
    monkeypatch.setattr("vecstore.formats.word2vec._BLOCK_BYTES", 11)
    np.testing.assert_array_equal(read(binary()).vectors, X)


def test_bad_key(read):
    data = binary().replace("ü".encode(), b"\xff\xff")
    found = read(data)
    assert found.problems == {2: "row 2: key is not valid UTF-8; read it with key_type='bytes'"}
    assert read(data, key_type="bytes").keys[2] == b"\xff\xff"


@pytest.mark.parametrize("rows", [6, 8, 10**15])
def test_wrong_count(tmp_path, rows):
    path = tmp_path / "d.bin"
    path.write_bytes(binary(rows=rows))
    with pytest.raises(FormatError, match="more rows" if rows < 7 else "truncated"):
        list(open_dump(path).batches())


@pytest.mark.parametrize("cut", [1, 2, 19, 21, 300])
def test_truncated(tmp_path, cut):
    path = tmp_path / "d.bin"
    path.write_bytes(binary(newline=b"")[:-cut])
    with pytest.raises(FormatError, match="truncated"):
        list(open_dump(path).batches())


def test_key_without_end(tmp_path):
    path = tmp_path / "d.bin"
    path.write_bytes(b"2 2\n" + b"\x01" * (9 << 20))
    with pytest.raises(FormatError, match="a key over"):
        list(open_dump(path).batches())
