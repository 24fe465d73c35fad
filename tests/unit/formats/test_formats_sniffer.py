from __future__ import annotations

import contextlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from vecstore.formats import FORMATS, open_dump

import vecstore
from vecstore.errors import FormatError


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>1 2 3</html>", "HTML"),
        (b"\n <html>\n", "HTML"),
        (pickle.dumps({"a": [1.0]}), "a Python pickle"),
        (b'{"a": [1, 2]}', "JSON"),
        (b"[[1, 2], [3, 4]]", "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS pointer"),
        (b"SQLite format 3\0" + bytes(50), "SQLite"),
        (b"FEA1" + bytes(50), "version 1"),
        (zipped(a="text"), "a zip archive; extract it first"),
        (zipped(archive__data="x") + b"", "a zip archive"),
        (b"a,1,2\nb,3,4\n", "starts with 'a,1,2"),
        (b"just some words\nand more of them\n", "starts with"),
        (b"the 100\nof 90\n", "starts with"),
        (bytes(1000), "starts with"),
        (os.urandom(0) + bytes(range(128, 256)), "starts with"),
    ],
)
def test_strangers(tmp_path, data, looks):
    path = tmp_path / "d"
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        open_dump(path)
    message = str(caught.value)
    assert looks in message and str(path) in message and "format=" in message and "word2vec-binary" in message
    assert "\n" not in message


def test_no_file(tmp_path):
    for path, found in (
        (tmp_path, "an empty directory"),
        (tmp_path / "none", "nothing there"),
        ("/dev/null", "something else"),
    ):
        with pytest.raises(FormatError, match=found):
            open_dump(path)


def test_format_named(tmp_path):
    path = tmp_path / "d"
    path.write_bytes(b"a 1\nb 2\n")
    assert open_dump(path, format="glove").dimensions == 1
    with pytest.raises(FormatError, match="did you mean 'glove'"):
        open_dump(path, format="glov")
    for name in FORMATS:
        if name not in ("glove", "csv", "tsv"):
            with pytest.raises(FormatError):
                open_dump(path, format=name)
    path.write_bytes(b"2 2\na 1 2\nb 3 4\n")
    assert open_dump(path).rows == 2


def test_a_store_is_no_dump(tmp_path):
    vecstore.write(tmp_path / "a.vecs", np.eye(4), range(4), "f32")
    with vecstore.Writer(tmp_path / "b.vecs", vecstore.codec("f32").fit(np.eye(4)), shard_bytes=1 << 20) as writer:
        writer.add(np.eye(4), range(4))
    for path in ("a.vecs", "b.vecs"):
        with pytest.raises(FormatError, match="is a store, or a file of one, and no dump: export it first") as caught:
            vecstore.convert(tmp_path / path, tmp_path / "c.vecs")
        assert "format=" not in str(caught.value)


def test_word2vec_text_or_binary(tmp_path):
    def name(data, file="d"):
        (tmp_path / file).write_bytes(data)
        return open_dump(tmp_path / file).format

    assert name(b"1 2\na\x01\x02 1 2\n") == "word2vec"
    assert name(b"1 2\na " + np.float32([1, 2]).tobytes()) == "word2vec-binary"
    assert name(b"1 1\na AAAA", "d.bin") == "word2vec-binary"
    assert name(b"1 1\na AAAA", "d.vec") == "word2vec"
    assert name(b"0 3\n") == "word2vec"
    assert name(b"0 3\n", "d.bin") == "word2vec-binary"


@pytest.mark.parametrize(
    "options", [{"keys": "x"}, {"array": "x"}, {"key_column": "x"}, {"vector_column": "x"}, {"key_type": "string"}]
)
def test_options_that_do_not_apply(tmp_path, options):
    path = tmp_path / "d"
    path.write_bytes(b"a 1 2\nb 2 3\n")
    with pytest.raises(FormatError):
        open_dump(path, **options)


def test_table_of_formats():
    assert {"npy", "npz", "word2vec", "word2vec-binary", "glove", "parquet", "arrow"} < FORMATS.keys()
    assert {"npy", "word2vec", "parquet"} < {name for name, entry in FORMATS.items() if entry.writable}
    assert all(entry.readable and entry.description and name == entry.name for name, entry in FORMATS.items())


@pytest.mark.parametrize("seed", range(3))
def test_noise_raises_or_reads(tmp_path, seed):
    generator = np.random.default_rng(seed)
    starts = [b"", b"\x93NUMPY\x01\0", b"PK\x03\x04", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"5 3\n", b"a 1 2\n"]
    path = tmp_path / "d"
    for start in starts:
        for size in (1, 10, 300):
            path.write_bytes(start + generator.bytes(size))
            with contextlib.suppress(FormatError):
                list(open_dump(path).batches())
