"""What fuzzing found: files that claim more than they hold, believed by the libraries that read them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vecstore.formats import open_dump, write_dump

from vecstore.errors import FormatError

KEYS = [f"key{row}" for row in range(20)]
VECTORS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def written(path, format):
    write_dump(path, [(KEYS, VECTORS)], dimensions=4, rows=20, key_type="str", format=format)
    return path


def read(path, **options):
    batches = list(open_dump(path, **options).batches(7))
    return [key for batch in batches for key in batch.keys], np.concatenate([batch.vectors for batch in batches])


@pytest.mark.parametrize("at", range(16))
def test_references_to_strings_of_hdf5(tmp_path, at):
    """libhdf5 reads gigabytes, or for ever, where the address of a heap is damaged."""
    h5py = pytest.importorskip("h5py")
    path = written(tmp_path / "d.hdf5", "hdf5")
    with h5py.File(path) as file:
        start = file["keys"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[start + 16 * 11 + at] ^= 0x41
    path.write_bytes(data)
    with pytest.raises(FormatError, match="strings are damaged"):
        read(path)


@pytest.mark.parametrize(
    ("at", "word"), [(0, b"X"), (4, b"\7"), (8, b"\xff\xff\xff\x7f"), (9, b"\0"), (24, b"\xff" * 8)]
)
def test_heaps_of_hdf5(tmp_path, at, word):
    pytest.importorskip("h5py")
    path = written(tmp_path / "d.hdf5", "hdf5")
    data = bytearray(path.read_bytes())
    heap = data.find(b"GCOL")
    data[heap + at : heap + at + len(word)] = word
    path.write_bytes(data)
    with pytest.raises(FormatError, match="strings are damaged"):
        read(path)


def test_strings_of_hdf5_as_h5py_gives_them(tmp_path):
    """Many heaps, empty strings, an own block before the file, chunks: as the library reads them."""
    h5py = pytest.importorskip("h5py")
    words = ["", "ü" * 5000, *(f"word{row}" * (row % 40 + 1) for row in range(3000))]
    for name, how in (("plain", {}), ("chunks", {"chunks": (100,), "compression": "gzip"})):
        with h5py.File(tmp_path / f"{name}.h5", "w", userblock_size=512) as file:
            file["vectors"] = np.zeros((len(words), 2), np.float32)
            file.create_dataset("keys", data=words, dtype=h5py.string_dtype(), **how)
        keys = [key for batch in open_dump(tmp_path / f"{name}.h5", format="hdf5").batches(1000) for key in batch.keys]
        assert keys == words


def test_strings_of_zarr(tmp_path):
    """The number of strings stands before them, and room for as many is made."""
    zstandard, _ = pytest.importorskip("zstandard"), pytest.importorskip("zarr")
    path = written(tmp_path / "d.zarr", "zarr")
    chunk = path / "keys" / "c" / "0"
    plain = zstandard.ZstdDecompressor().decompress(chunk.read_bytes())
    chunk.write_bytes(zstandard.ZstdCompressor().compress((1 << 27).to_bytes(4, "little") + plain[4:]))
    with pytest.raises(FormatError, match="claims to hold 134217728 strings"):
        read(path)


def test_chunks_of_zarr_that_unpack_to_more(tmp_path):
    zstandard, zarr = pytest.importorskip("zstandard"), pytest.importorskip("zarr")
    path = written(tmp_path / "d.zarr", "zarr")
    (path / "vectors" / "c" / "0" / "0").write_bytes(zstandard.ZstdCompressor().compress(bytes(1 << 26)))
    with pytest.raises(FormatError, match="claims to unpack to 67108864 bytes"):
        read(path)
    zarr.save_array(tmp_path / "v2.zarr", VECTORS, zarr_format=2)
    about = json.loads((tmp_path / "v2.zarr" / ".zarray").read_text())
    chunk = tmp_path / "v2.zarr" / "0.0"
    about["compressor"] = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    (tmp_path / "v2.zarr" / ".zarray").write_text(json.dumps(about))
    data = bytearray(pytest.importorskip("numcodecs").Blosc().encode(VECTORS))
    chunk.write_bytes(data)
    np.testing.assert_array_equal(next(open_dump(tmp_path / "v2.zarr").batches()).vectors, VECTORS)
    data[4:8] = b"\xff\xff\xff\x7e"
    chunk.write_bytes(data)
    with pytest.raises(FormatError, match="claims to unpack"):
        next(open_dump(tmp_path / "v2.zarr").batches())
