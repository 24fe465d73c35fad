"""Dumps and models that ask for much memory or time: refused, or read in what their size allows."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.formats.opener import open_dump
from vecstore.formats.safetensors import read_safetensors
from vecstore.formats.torch_zip import read_torch_zip

import vecstore
from vecstore.conversion.importing import import_hash_embed
from vecstore.errors import FormatError, ShapeError, VecstoreError

MIB = 1 << 20


def peak_bytes(run: Callable[[], Any]) -> int:
    """Return how much memory Python and NumPy took at most meanwhile."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def torch_zip(path: Path, program: bytes, *, storage: bytes = b"", compressed: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("a/data/0", storage)
    return path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(count: int, kind: str = "FloatStorage") -> bytes:
    """Return the instructions that describe a tensor (count, 1) of the storage 0."""
    stored = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text("0") + text("cpu") + b"K\x01tQ"
    shape = b"J" + struct.pack("<i", count) + b"K\x01\x86"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + b"K\x00" + shape + b"K\x01K\x01\x86\x89NtR"


def nested(begin: bytes, end: bytes) -> bytes:
    """Return the instructions that put things into each other 15 deep, ten times each."""
    layers = [begin + b"q\x00"]
    for depth in range(14):
        layers.append(b"(" + b"h" + bytes([depth]) + (b"h" + bytes([depth])) * 9 + end + b"q" + bytes([depth + 1]))
    return b"".join(layers)


LISTS = b"".join(
    [b"]q\x00", *(b"](" + (b"h" + bytes([depth])) * 10 + b"eq" + bytes([depth + 1]) for depth in range(15))]
)
TUPLES = nested(b")", b"t")


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(LISTS, id="lists in lists"),
        pytest.param(b"]q\x00(" + b"h\x00" * 10 + b"e", id="a list in itself"),
        pytest.param(TUPLES + b"}" + b"h\x0eNs", id="tuples as names"),
        pytest.param(TUPLES + b"}(" + b"h\x0eNu", id="tuples as several names"),
        pytest.param(LISTS + b"h\x0fh\x0f\x93", id="lists as a name"),
        pytest.param(b"}" + text("a") + tensor(1).replace(text("0"), LISTS) + b"s", id="lists as a storage"),
        pytest.param(b"(" * 400_000 + b"t" * 400_000, id="many marks"),
        pytest.param(b"N0" * 100 + b"]" * 3_000_000, id="many instructions"),
    ],
)
def test_pickles_end_soon(program: bytes, tmp_path: Path) -> None:
    try:
        assert read_torch_zip(torch_zip(tmp_path / "a.pt", program, storage=bytes(4))) == {}
    except FormatError as error:
        assert "a.pt" in str(error)


def test_tensors_of_one_storage_share_its_memory(tmp_path: Path) -> None:
    tensors = b"".join(text(f"t{i}") + tensor(MIB) for i in range(30))
    path = torch_zip(tmp_path / "a.pt", b"}(" + tensors + b"u", storage=bytes(4 * MIB))
    found: dict[str, Any] = {}
    assert peak_bytes(lambda: found.update(read_torch_zip(path))) < 3 * path.stat().st_size
    assert len(found) == 30 and found["t29"].shape == (MIB, 1)


def test_members_that_expand_are_refused(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "a.pt", b"}" + text("a") + tensor(MIB) + b"s", storage=bytes(64 * MIB), compressed=True)
    with pytest.raises(FormatError, match="compressed, or overlap"):
        read_torch_zip(path)


def test_members_that_say_to_be_longer_than_the_file_are_refused(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "a.pt", b"}" + text("a") + tensor(1) + b"s", storage=bytes(4))
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    data = bytearray(path.read_bytes())
    at = data.index(b"a/data/0", directory) - 46
    struct.pack_into("<I", data, at + 20, 0xFFFFFFF0)  # its compressed size
    path.write_bytes(data)
    with pytest.raises(FormatError, match="compressed, or overlap"):
        read_torch_zip(path)


def safetensors(path: Path, header: bytes, data: int = 0) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(data))
    return path


def test_overlapping_spans_are_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [MIB], "data_offsets": [0, 4 * MIB]}
    header = json.dumps({f"t{i}": entry for i in range(200)}).encode()
    path = safetensors(tmp_path / "a.safetensors", header, 4 * MIB)
    with pytest.raises(FormatError, match="overlap"):
        read_safetensors(path)


def test_arrays_of_safetensors_are_mapped(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4 * MIB, 1], "data_offsets": [0, 16 * MIB]}}).encode()
    path = safetensors(tmp_path / "a.safetensors", header, 16 * MIB)
    assert peak_bytes(lambda: read_safetensors(path)) < MIB


@pytest.mark.parametrize("header", [b"[" * 100_000, b'{"a":' * 100_000, b"[" + b"[]," * (6 * MIB) + b"[]]"])
def test_headers_are_short(header: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        read_safetensors(safetensors(tmp_path / "a", header))


def test_a_header_of_text_asks_for_a_bounded_batch(tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_bytes(b"8192 1048576\n" + b"word " + b"1 " * (MIB - 1) + b"1\n")

    def read() -> None:
        with pytest.raises(FormatError, match=r"1 rows|found 1"):
            list(open_dump(tmp_path / "a.vec", format="word2vec").batches())

    assert peak_bytes(read) < 400 * MIB


def test_wide_zeros_are_read_in_bounded_batches(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (200, MIB)})
    with gzip.open(tmp_path / "a.npy.gz", "wb", 1) as file:
        file.write(array.getvalue())
        for _ in range(200):
            file.write(bytes(4 * MIB))
    batches = open_dump(tmp_path / "a.npy.gz").batches()
    assert peak_bytes(lambda: next(batches)) < 500 * MIB


def test_wide_keys_are_read_in_bounded_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8192, 2), np.float32))
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|S1048576", "fortran_order": False, "shape": (8192,)})
    (tmp_path / "k.npy").write_bytes(array.getvalue() + bytes(200 * MIB))
    dump = open_dump(tmp_path / "a.npy", keys=tmp_path / "k.npy")
    assert len(next(iter(dump.batches()))) == 128


def test_a_keys_file_without_lines_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 2), np.float32))
    with gzip.open(tmp_path / "k.txt", "wb", 1) as file:
        file.write(b"k" * (64 * MIB))
    dump = open_dump(tmp_path / "a.npy", keys=tmp_path / "k.txt")
    with pytest.raises(FormatError, match="longer than any key"):
        list(dump.batches())


def test_columns_beyond_what_is_declared_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": True, "shape": (2, 1)})
    with gzip.open(tmp_path / "a.npy.gz", "wb", 1) as file:
        file.write(array.getvalue() + bytes(64 * MIB))
    temporary = tempfile.TemporaryFile()  # noqa: SIM115
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: temporary)
    written: list[int] = []
    monkeypatch.setattr("vecstore.formats.npy_array.os.pread", lambda *_: b"")
    write = temporary.write

    class Counted(io.RawIOBase):
        def __getattr__(self, name: str) -> Any:
            return getattr(temporary, name)

        def write(self, data: Any) -> int:
            written.append(len(data))
            return write(data)

        def seek(self, *place: int) -> int:
            return temporary.seek(*place)

    monkeypatch.setattr(tempfile, "TemporaryFile", Counted)
    with pytest.raises(FormatError, match="9 bytes instead of 8"):
        list(open_dump(tmp_path / "a.npy.gz").batches())
    assert sum(written) == 9
    temporary.close()


@pytest.mark.parametrize(
    "shape", ["(" + "9" * 5000 + ", 2)", "(" + "9" * 4000 + ", 2)", f"({1 << 40}, {1 << 40})", "(1,) * 65"]
)
def test_shapes_that_no_array_has(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(VecstoreError, match=r"a\.npy"):
        list(open_dump(tmp_path / "a.npy").batches())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e16, 1e200])
def test_tables_of_huge_numbers_are_not_imported(value: float, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="value beyond 1e"):
        import_hash_embed(np.full((4, 2), value), tmp_path / "a.vecs", seed=1, keys=["a"])
    assert not (tmp_path / "a.vecs").exists()


def test_tables_of_large_numbers_are(tmp_path: Path) -> None:
    import_hash_embed(np.full((4, 2), 1e14), tmp_path / "a.vecs", seed=1, keys=["a"])
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert np.isfinite(store["a"]).all()


def test_hdf5_that_names_other_files(tmp_path):
    """Numbers would be read from any file that the reader may open."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("train", (4, 4), "<f4", external=[(str(tmp_path / "secret"), 0, 64)])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 4), "<f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "c.h5"), "train", (4, 4))
        file.create_virtual_dataset("train", layout)
    for name in ("a.h5", "b.h5"):
        with pytest.raises(FormatError, match="lies in other files"):
            open_dump(tmp_path / name)


def test_csv_with_more_fields_than_names(tmp_path):
    (tmp_path / "a.csv").write_text("key,x,y,z\na,1,2,3,\nb,3,4,5,\n")
    dump = open_dump(tmp_path / "a.csv")
    assert dump.left_out == ("column 5",) and next(dump.batches()).vectors.tolist() == [[1, 2, 3], [3, 4, 5]]


def test_sqlite_whose_own_messages_are_no_text(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE magnitude (key TEXT, dim_0 INTEGER)")
    database.close()
    data = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").write_bytes(data.replace(b"CREATE TABLE magnitude (", b"CREATE TABLX \xff\xff\xffnitude ("))
    with pytest.raises(FormatError):
        open_dump(tmp_path / "a.db", format="magnitude")
