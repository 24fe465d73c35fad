from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma

import numpy as np
import pytest
import zstandard
from vecstore.formats import open_dump
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError

COMPRESSORS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
# Not compressible to nothing, so that a cut falls inside the data.
TEXT = b"".join(
    b"word%d %r %r\n" % (i, *row) for i, row in enumerate(np.random.default_rng(0).random((500, 2)).tolist())
)


@pytest.mark.parametrize("name", COMPRESSORS)
class TestCompressed:
    def test_several_members(self, read, name):
        compress = COMPRESSORS[name]
        found = read(compress(TEXT[:5000]) + compress(b"") + compress(TEXT[5000:]), "no-suffix", rows=100)
        assert len(found.vectors) == 500 and not found.problems
        np.testing.assert_array_equal(found.vectors, read(TEXT, "plain", rows=100).vectors)

    @pytest.mark.parametrize("cut", [1, 10, 2000])
    def test_truncated(self, tmp_path, name, cut):
        path = tmp_path / "d"
        path.write_bytes(COMPRESSORS[name](TEXT)[:-cut])
        with pytest.raises(FormatError, match=f"{name} data is truncated or damaged"):
            list(open_dump(path, format="glove").batches())

    def test_garbage_follows(self, tmp_path, name):
        path = tmp_path / "d"
        path.write_bytes(COMPRESSORS[name](TEXT) + b"garbage that is no member")
        try:
            rows = sum(len(batch) for batch in open_dump(path).batches())
        except FormatError:
            return
        assert (rows == 500 and name == "bzip2") or name == "xz"  # these two libraries pass over what follows

    def test_damaged_anywhere(self, tmp_path, name):
        data = bytearray(COMPRESSORS[name](TEXT))
        path = tmp_path / "d"
        for position in range(0, len(data), len(data) // 30):
            data[position] ^= 0x55
            path.write_bytes(data)
            data[position] ^= 0x55
            with contextlib.suppress(FormatError):
                list(open_dump(path).batches())


def test_zstd_expands_in_bounds(tmp_path):
    path = tmp_path / "d.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(300 << 20)))
    with Stream(path) as stream:
        assert stream.read(10) == bytes(10)
        assert len(stream._source._output) < 100 << 20


def test_zstd_skippable_frame(read):
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    compress = COMPRESSORS["zstd"]
    assert len(read(compress(TEXT[:5000]) + skippable + compress(TEXT[5000:]), rows=100).vectors) == 500


def test_compressed_twice(tmp_path):
    path = tmp_path / "d.gz"
    path.write_bytes(gzip.compress(gzip.compress(TEXT)))
    with pytest.raises(FormatError, match="compressed data inside compressed data"):
        open_dump(path)
