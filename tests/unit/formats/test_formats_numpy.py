from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from vecstore.formats import open_dump
from vecstore.formats.npy import read_npy

from vecstore.errors import FormatError

X = np.random.default_rng(0).integers(-100, 100, (7, 3)).astype(np.float32)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(compressed=False, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "i1", ">i2", "<i4", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_npy_types_and_orders(read, dtype, order, wrap):
    found = read(wrap(npy(np.asarray(X.astype(dtype), order=order))))
    assert (found.dump.format, found.dump.rows, found.dump.key_type) == ("npy", 7, None)
    np.testing.assert_array_equal(found.vectors, X)


def test_npy_values_beyond_float32_become_infinite(read):
    np.testing.assert_array_equal(read(npy(np.array([[1e300, np.nan]]))).vectors, np.float32([[np.inf, np.nan]]))


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros(3), "reshape"),
        (np.zeros((2, 2, 2)), "reshape"),
        (np.zeros((2, 2), complex), "numbers"),
        (np.zeros((2, 2), bool), "numbers"),
        (np.zeros((2, 2), "V2"), "bfloat16"),
        (np.zeros((2, 2), [("a", "f4")]), "numbers"),
        (np.array([[{}, 1]], object), "pickled"),
        (np.zeros((2, 0)), "width"),
        (np.array([["a", "b"]]), "numbers"),
    ],
)
def test_npy_that_holds_no_vectors(tmp_path, array, match):
    path = tmp_path / "d.npy"
    path.write_bytes(npy(array, allow_pickle=True))
    with pytest.raises(FormatError, match=match):
        open_dump(path)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-40], lambda data: data + b"\0"])
def test_npy_of_wrong_length(tmp_path, order, wrap, change):
    path = tmp_path / "d.npy"
    path.write_bytes(wrap(change(npy(np.asarray(X, order=order)))))
    with pytest.raises(FormatError, match="truncated or damaged"):
        list(open_dump(path).batches())


@pytest.mark.parametrize(
    "header",
    [
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'\n",
        b"\x93NUMPY\x09\x00\x10\x00",
        b"\x93NUMPY",
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}",
        b"\x93NUMPY\x01\x00\x46\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }".ljust(69)
        + b"\n",
        b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': 'zzz', 'fortran_order': False, 'shape': (1, 3), }".ljust(69) + b"\n",
        b"\x93NUMPY\x01\x00\x46\x00" + b"(" * 69 + b"\n",
    ],
)
def test_npy_of_bad_header(tmp_path, header):
    path = tmp_path / "d.npy"
    path.write_bytes(header + bytes(50))
    with pytest.raises(FormatError):
        open_dump(path)


@pytest.mark.parametrize("order", [b"False", b"True"])
def test_npy_that_claims_too_much(tmp_path, order):
    path = tmp_path / "d.npy"
    header = b"{'descr': '<f8', 'fortran_order': %s, 'shape': (4611686018427387904, 1000), }" % order
    path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117) + b"\n" + bytes(50))
    with pytest.raises(FormatError, match="truncated"):
        list(open_dump(path).batches())


@pytest.mark.parametrize(
    "text", ["a\nb b\n\u0085c\n", "a\r\nb b\r\n\u0085c\r\n", "a\nb b\n\u0085c", "\ufeffa\nb b\n\u0085c\n"]
)
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_keys_in_a_text_file(read, tmp_path, text, wrap):
    (tmp_path / "keys").write_bytes(wrap(text.encode()))
    found = read(npy(X[:3]), keys=tmp_path / "keys", rows=2)
    assert found.keys == ["a", "b b", "\u0085c"] and found.dump.key_type == "str"


def test_keys_across_blocks(read, tmp_path, monkeypatch):
    monkeypatch.setattr("vecstore.formats.key_column._BLOCK_BYTES", 5)
    (tmp_path / "keys").write_text("\ufeff" + "\n".join(f"key{i}" for i in range(7)))
    assert read(npy(X), keys=tmp_path / "keys").keys == [f"key{i}" for i in range(7)]


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb\nc\nd\n", "", "a\nb\nc\n\n"])
def test_keys_of_wrong_count(tmp_path, text):
    (tmp_path / "keys").write_text(text)
    (tmp_path / "d.npy").write_bytes(npy(X[:3]))
    with pytest.raises(FormatError, match="as many keys as vectors"):
        open_dump(tmp_path / "d.npy", keys=tmp_path / "keys")


def test_keys_that_are_bad(read, tmp_path):
    (tmp_path / "keys").write_bytes(b"a\nb\n\xff\nd\ne\nf\n\n")
    found = read(npy(X), keys=tmp_path / "keys")
    assert found.problems == {
        2: "keys, line 3: key is not valid UTF-8; read it with key_type='bytes'",
        6: "keys, line 7: no key, the line is empty",
    }
    assert found.keys == ["a", "b", "\\xff", "d", "e", "f", ""]


@pytest.mark.parametrize(
    ("array", "key_type", "keys"),
    [
        (np.array([3, -1, 2], ">i4"), "int64", [3, -1, 2]),
        (np.array([3, 1, 2], "u8"), "int64", [3, 1, 2]),
        (np.array(["a", "ü", ""]), "str", ["a", "ü", ""]),
        (np.array(["a", "ü", ""], ">U3"), "str", ["a", "ü", ""]),
        (np.array([b"a", b"\xff", b""]), "bytes", [b"a", b"\xff", b""]),
    ],
)
def test_keys_in_an_array(read, tmp_path, array, key_type, keys):
    (tmp_path / "keys.npy").write_bytes(npy(array))
    found = read(npy(X[:3]), "d.npy", keys=tmp_path / "keys.npy", rows=2)
    assert found.dump.key_type == key_type and found.keys == keys and not found.problems


def test_keys_of_another_type(read, tmp_path):
    (tmp_path / "ints.npy").write_bytes(npy(np.arange(3)))
    assert read(npy(X[:3]), keys=tmp_path / "ints.npy", key_type="str").keys == ["0", "1", "2"]
    assert read(npy(X[:3]), keys=tmp_path / "ints.npy", key_type="bytes").keys == [b"0", b"1", b"2"]
    (tmp_path / "strings.npy").write_bytes(npy(np.array(["1", "x", "\ud800"])))
    found = read(npy(X[:3]), keys=tmp_path / "strings.npy", rows=2)
    assert list(found.problems) == [2] and found.problems[2].startswith("row 2: key is not valid UTF-8")
    assert list(read(npy(X[:3]), keys=tmp_path / "strings.npy", key_type="int64").problems) == [1, 2]


@pytest.mark.parametrize("array", [np.array([2**63], "u8"), np.zeros(1), np.zeros((1, 1), int), np.array([None])])
def test_keys_that_are_none(tmp_path, array):
    (tmp_path / "keys.npy").write_bytes(npy(array, allow_pickle=True))
    (tmp_path / "d.npy").write_bytes(npy(X[:1]))
    with pytest.raises(FormatError):
        list(open_dump(tmp_path / "d.npy", keys=tmp_path / "keys.npy").batches())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(read, compressed, order):
    data = npz(compressed, words=np.array(list("abcdefg")), table=np.asarray(X, order=order), counts=np.arange(7))
    found = read(data)
    assert found.dump.format == "npz" and found.keys == list("abcdefg")
    np.testing.assert_array_equal(found.vectors, X)


def test_npz_choice_of_array(read, tmp_path):
    two = {"vectors": X, "other": 2 * X}
    np.testing.assert_array_equal(read(npz(**two)).vectors, X)
    np.testing.assert_array_equal(read(npz(**two), array="other").vectors, 2 * X)
    with pytest.raises(FormatError, match="did you mean 'other'"):
        read(npz(**two), array="othr")
    with pytest.raises(FormatError, match="more than one array"):
        read(npz(a=X, b=X))
    with pytest.raises(FormatError, match="no array can be"):
        read(npz(a=X[0]))
    with pytest.raises(FormatError, match="as many keys"):
        read(npz(a=X, ids=np.arange(3)))


def test_npz_damaged(tmp_path):
    path = tmp_path / "d.npz"
    data = bytearray(npz(a=X, keys=np.arange(7)))
    for cut in (1, 30, 200):
        path.write_bytes(data[:-cut])
        with pytest.raises(FormatError):
            open_dump(path)
    position = data.find(X.tobytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="damaged"):
        list(open_dump(path).batches())


@pytest.mark.parametrize("mapped", [False, True])
def test_whole_arrays(tmp_path, mapped):
    np.save(tmp_path / "x.npy", X)
    found = read_npy(tmp_path / "x.npy", mapped=mapped)
    np.testing.assert_array_equal(found, X)
    assert isinstance(found, np.memmap) == mapped


def test_files_that_are_no_array(tmp_path):
    np.savez(tmp_path / "two.npy.npz", x=X, y=X)
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}]), allow_pickle=True)
    whole = io.BytesIO()
    np.save(whole, X)
    files = {"empty": b"", "text": b"1 2 3\n", "cut": whole.getvalue()[:-1], "zip": b"PK\x03\x04 and no more"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name in (*files, "two.npy.npz", "pickled.npy"):
        with pytest.raises(FormatError, match=rf"{name}, --weights: no \.npy array"):
            read_npy(tmp_path / name, where="--weights")
