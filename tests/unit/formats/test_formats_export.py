from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from vecstore.formats import Batch, open_dump, write_dump
from vecstore.formats.replacement import append_file

from vecstore.errors import ExistsError, FormatError, ShapeError

X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
KEYS = {
    "str": ["a", "ü", "\u0085", "</s>", "\u2028", "f", "7"],
    "bytes": [b"a", b"\xff", b"\x85", b"d", b"e", b"f", b"7"],
    "int64": np.array([0, -1, 2**63 - 1, -(2**63), 4, 5, 6]),
}
SUFFIXES = {"word2vec": ".vec", "npy": ".npy", "parquet": ".parquet"}


def batches(keys, vectors, rows=3):
    for i in range(0, len(vectors), rows):
        yield None if keys is None else keys[i : i + rows], vectors[i : i + rows]


def write(path, keys, vectors=X, key_type="str", **options):
    options = {"dimensions": vectors.shape[1], "rows": len(vectors), "key_type": key_type} | options
    write_dump(path, batches(keys, vectors), **options)


@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("key_type", KEYS)
def test_round_trip(read, tmp_path, format, key_type):
    path = tmp_path / f"out{SUFFIXES[format]}"
    write(path, KEYS[key_type], key_type=key_type)
    options = {"keys": next(tmp_path.glob("out.keys.*"))} if format == "npy" else {}
    found = read(path, key_type=key_type, **options)
    assert found.dump.format == format and list(found.keys) == list(KEYS[key_type]) and not found.problems
    np.testing.assert_array_equal(found.vectors, X)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("format", SUFFIXES)
def test_without_keys(read, tmp_path, format):
    path = tmp_path / "out.dump"
    write(path, None, key_type=None, format=format)
    found = read(path)
    assert found.keys == ([str(i) for i in range(7)] if format == "word2vec" else None)
    np.testing.assert_array_equal(found.vectors, X)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.dump"]


@pytest.mark.parametrize("format", SUFFIXES)
def test_no_rows(read, tmp_path, format):
    write(tmp_path / "out", [], np.empty((0, 3), np.float32), format=format)
    assert read(tmp_path / "out").vectors.shape == (0, 3)


def test_batches_of_a_dump(read, tmp_path):
    source = read(b"2 2\ncat 1 2\ndog 3 4\n").dump
    write_dump(tmp_path / "out.parquet", source.batches(), dimensions=2, rows=2, key_type="str")
    assert read(tmp_path / "out.parquet").keys == ["cat", "dog"]
    write_dump(tmp_path / "o.npy", [Batch(X, None)], dimensions=3, rows=7, key_type=None)


@given(hnp.arrays(np.float32, (4, 2), elements=st.floats(width=32)))
def test_text_keeps_every_float32(vectors):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "out.vec"), list("abcd"), vectors)
        found = next(open_dump(Path(folder, "out.vec")).batches())
    assert not found.problems
    np.testing.assert_array_equal(found.vectors, vectors)
    np.testing.assert_array_equal(
        np.signbit(found.vectors), np.signbit(np.where(np.isnan(vectors), found.vectors, vectors))
    )


def test_text_is_the_shortest(tmp_path):
    write(tmp_path / "o.txt", ["k"], np.float32([[0.1, 1 / 3, 1e20]]))
    assert (tmp_path / "o.txt").read_text() == "1 3\nk 0.1 0.33333334 1e+20\n"


@pytest.mark.parametrize(
    ("key", "formats"),
    [("a b", ["word2vec"]), ("", ["word2vec"]), ("a\nb", ["word2vec", "npy"]), ("a\r", ["word2vec", "npy"])],
)
def test_keys_that_do_not_fit(tmp_path, key, formats):
    for format, suffix in SUFFIXES.items():
        path = tmp_path / f"out{suffix}"
        if format in formats:
            with pytest.raises(FormatError, match="parquet"):
                write(path, [*"abcdef", key])
            assert not list(tmp_path.iterdir())
    write(tmp_path / "out.parquet", [*"abcdef", key])


@pytest.mark.parametrize("format", SUFFIXES)
def test_never_overwrites_unless_forced(read, tmp_path, format):
    path = tmp_path / "out"
    write(path, KEYS["str"], format=format)
    before = {entry: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(ExistsError, match="force=True"):
        write(path, KEYS["str"], 2 * X, format=format)
    assert {entry: entry.read_bytes() for entry in tmp_path.iterdir()} == before
    write(path, KEYS["str"], 2 * X, format=format, force=True)
    np.testing.assert_array_equal(read(path).vectors, 2 * X)


def test_keys_file_is_not_overwritten(tmp_path):
    (tmp_path / "out.keys.txt").write_text("mine")
    with pytest.raises(ExistsError, match=r"out\.keys\.txt"):
        write(tmp_path / "out.npy", KEYS["str"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.keys.txt"]


def test_directory_is_not_overwritten(tmp_path):
    with pytest.raises(ExistsError, match="directory"):
        write(tmp_path, KEYS["str"], format="npy", force=True)


@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("force", [False, True])
def test_failing_source_leaves_the_old_file(tmp_path, format, force):
    def failing():
        yield KEYS["str"], X
        raise RuntimeError("source failed")

    path = tmp_path / "out"
    if force:
        path.write_text("old")
    with pytest.raises(RuntimeError, match="source failed"):
        write_dump(path, failing(), dimensions=3, rows=14, key_type="str", format=format, force=force)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == ({"out": "old"} if force else {})


@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("options", [{"rows": 8}, {"rows": 6}, {"dimensions": 4}, {"keys": ["a"]}, {"keys": None}])
def test_wrong_shapes(tmp_path, format, options):
    with pytest.raises(ShapeError):
        write(tmp_path / "out", **({"keys": KEYS["str"], "format": format} | options))
    assert not list(tmp_path.iterdir())


def test_leftover_of_a_killed_process_is_cleared(tmp_path):
    (tmp_path / ".out.vec.partial").write_text("half of something")
    write(tmp_path / "out.vec", KEYS["str"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.vec"]


def test_format_from_the_name(tmp_path):
    with pytest.raises(FormatError, match="does not tell the format"):
        write(tmp_path / "out.xyz", KEYS["str"])
    with pytest.raises(FormatError, match="can be read but not written"):
        write(tmp_path / "out.npy", KEYS["str"], format="torch")
    with pytest.raises(FormatError, match="did you mean 'parquet'"):
        write(tmp_path / "out.npy", KEYS["str"], format="parket")


@pytest.mark.parametrize("able", ["wholly", "a little", "never", "no more"])
def test_files_are_appended_by_the_system_as_far_as_it_can(tmp_path, monkeypatch, able):
    content, calls = bytes(range(256)) * 9000, []

    def copied(source, target, count, at, to):
        calls.append(count)
        if able == "never" or (able == "no more" and len(calls) > 1):
            raise OSError(errno.EXDEV, "another file system")
        if able == "a little" and len(calls) > 3:
            return 0
        data = os.pread(source, count if able == "wholly" else 1000, at)
        return os.pwrite(target, data, to)

    monkeypatch.setattr(os, "copy_file_range", copied, raising=False)
    with open(tmp_path / "a", "w+b") as file, open(tmp_path / "b", "w+b") as source:
        file.write(b"before")
        source.write(content)
        append_file(file, source)
    assert (tmp_path / "a").read_bytes() == b"before" + content
    assert calls[0] == len(content)


@pytest.mark.parametrize("keys", [["a", "ü", "b c", "d\ne", "</s>", "f", "7"], KEYS["str"], KEYS["bytes"]])
def test_keys_that_are_there_before_any_vector_change_no_byte(read, tmp_path, keys):
    key_type = "bytes" if isinstance(keys[0], bytes) else "str"
    write(tmp_path / "waiting.fifu", keys, key_type=key_type)
    known = {"dimensions": 3, "rows": 7, "key_type": key_type}
    write_dump(tmp_path / "at_once.fifu", batches(keys, X), keys=iter(keys), **known)
    assert (tmp_path / "at_once.fifu").read_bytes() == (tmp_path / "waiting.fifu").read_bytes()
    found = read(tmp_path / "at_once.fifu", key_type=key_type)
    assert list(found.keys) == keys
    np.testing.assert_array_equal(found.vectors, X)
    with pytest.raises(ShapeError, match="6 keys"):
        write_dump(tmp_path / "fewer.fifu", batches(keys, X), keys=keys[:6], **known)
    assert not (tmp_path / "fewer.fifu").exists()
