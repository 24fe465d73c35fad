from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecstore.formats import open_dump

from vecstore.errors import FormatError


def test_word2vec(read):
    found = read(b"3 2\ncat 1 2.5\ndog -3e2 4\nemu .5 6.\n")
    assert (found.dump.format, found.dump.rows, found.dump.dimensions) == ("word2vec", 3, 2)
    assert found.keys == ["cat", "dog", "emu"]
    np.testing.assert_array_equal(found.vectors, np.float32([[1, 2.5], [-300, 4], [0.5, 6]]))
    assert not found.problems


@pytest.mark.parametrize(
    "data",
    [
        b"cat 1 2\r\ndog 3 4\r\n",
        b"cat 1 2 \ndog 3 4\t \n",
        b"cat\t1\t2\ndog\t3\t4",
        b"cat  1   2\ndog 3  4\n\n\n",
        b"\n \ncat 1 2\n\n  dog 3 4\n",
        b"\xef\xbb\xbfcat 1 2\ndog 3 4\n",
        b"cat +1 2e0\ndog 3.000 04\n",
    ],
)
@pytest.mark.parametrize("header", [b"", b"2 2\n", b"2\t2 \r\n", b"\xef\xbb\xbf2 2\n"])
def test_whitespace_does_not_matter(read, data, header):
    found = read(header + data.removeprefix(b"\xef\xbb\xbf") if header else data)
    assert found.dump.format == ("word2vec" if header else "glove")
    assert found.keys == ["cat", "dog"] and not found.problems
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])


def test_tokens_of_glove(read):
    tokens = [
        ". . .",
        "at name@domain.com",
        "a\u00a0b",
        "c\u0085d",
        "e\u2028f",
        "\u00a0",
        "1/2",
        "5",
        "nan",
        "1e5",
        "-",
    ]
    text = "".join(f"{token} 0.25 -1 3\n" for token in tokens)
    found = read(text.encode())
    assert found.keys == tokens and not found.problems
    np.testing.assert_array_equal(found.vectors, np.tile(np.float32([0.25, -1, 3]), (len(tokens), 1)))


def test_empty_keys_are_passed_on(read):
    found = read(b"2 2\n 1 2\ncat 3 4\n")
    assert found.keys == ["", "cat"] and not found.problems


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"bad 1 2", "2 numbers, expected 3"),
        (b"bad", "0 numbers, expected 3"),
        (b"bad 1 2 3 4", "4 numbers or more, expected 3"),
        (b"bad 1 1_000 3", "'1_000' is not a number"),
        (b"bad 1 0x1p3 3", "'0x1p3' is not a number"),
        (b"bad 1 2,5 3", "'2,5' is not a number"),
        (b"bad 1 - 3", "'-' is not a number"),
        (b"bad 1 . 3", "'.' is not a number"),
        (b"bad 1 2e 3", "'2e' is not a number"),
        (b"bad 1 1-2 3", "'1-2' is not a number"),
        (b"bad 1 2 3\x00", "'3\\x00' is not a number"),
        ("bad 1 ٣ 3".encode(), "'٣' is not a number"),
        (b"b\xff\xfe 1 2 3", "key is not valid UTF-8; read it with key_type='bytes'"),
    ],
)
@pytest.mark.parametrize("header", [b"", b"4 3\n"])
def test_malformed_line_is_a_problem_of_its_row(read, line, why, header):
    found = read(header + b"cat 1 2 3\ndog 4 5 6\n" + line + b"\nemu 7 8 9\n")
    number = 4 if header else 3
    assert found.problems == {2: f"line {number}: {why}"}
    np.testing.assert_array_equal(found.vectors[[0, 1, 3]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert found.keys[0] == "cat" and found.keys[2].startswith("b") and found.keys[3] == "emu"


def test_nan_and_infinities_are_passed_on(read):
    found = read(b"a 1 nan\nb inf -Infinity\nc 1e999 -1e39\nd 1e-999 -0.0\n")
    assert not found.problems
    expected = np.float32([[1, np.nan], [np.inf, -np.inf], [np.inf, -np.inf], [0, -0.0]])
    np.testing.assert_array_equal(found.vectors, expected)
    assert np.signbit(found.vectors[3, 1])


@pytest.mark.parametrize(("key_type", "keys"), [("str", ["7", "x"]), ("bytes", [b"7", b"x"]), ("int64", [7, 0])])
def test_key_type(read, key_type, keys):
    found = read(b"2 1\n7 1\nx 2\n", key_type=key_type)
    assert found.dump.key_type == key_type and found.keys == keys
    assert found.problems == ({1: "line 3: key 'x' is not a 64-bit integer"} if key_type == "int64" else {})


def test_integer_keys_out_of_range(read):
    found = read(b"3 1\n9223372036854775807 1\n9223372036854775808 2\n-9223372036854775808 3\n", key_type="int64")
    assert list(found.problems) == [1] and found.keys == [2**63 - 1, 0, -(2**63)]


def test_bytes_keys_need_no_utf8(read):
    assert read(b"2 1\n\xff\xfe 1\nx 2\n", key_type="bytes").keys == [b"\xff\xfe", b"x"]


@pytest.mark.parametrize(("declared", "found"), [(1, "at least 2"), (3, "2"), (0, "at least 1"), (10**12, "2")])
def test_wrong_count_in_header(tmp_path, declared, found):
    path = tmp_path / "d.vec"
    path.write_bytes(b"%d 2\na 1 2\nb 3 4\n" % declared)
    with pytest.raises(FormatError, match="count is wrong") as caught:
        list(open_dump(path).batches())
    assert caught.value.path == str(path) and caught.value.where == "line 1"
    assert caught.value.expected == f"{declared} rows" and caught.value.found == found


@pytest.mark.parametrize("dimensions", [1, 3, 900_000_000, 0])
def test_wrong_dimensions_in_header(tmp_path, dimensions):
    path = tmp_path / "d.vec"
    path.write_bytes(b"2 %d\na 1 2\nb 3 4\n" % dimensions)
    with pytest.raises(FormatError):
        open_dump(path)


def test_no_rows(read):
    found = read(b"0 5\n")
    assert found.vectors.shape == (0, 5) and found.keys == []


def test_dimensions_are_what_most_lines_have(read):
    found = read(b"Windows 10 1 2\na 1 2\nb 3\nc 5 6\nd 7 8\ne 9 1\n")
    assert found.dump.dimensions == 2 and list(found.problems) == [0, 2]


def test_lines_across_blocks(read, monkeypatch):
    monkeypatch.setattr("vecstore.formats.text._BLOCK_BYTES", 7)
    data = b"".join(b"word%d %d %d\n" % (i, i, -i) for i in range(40))
    found = read(b"40 2\n" + data)
    assert found.keys == [f"word{i}" for i in range(40)]
    np.testing.assert_array_equal(found.vectors, [[i, -i] for i in range(40)])


def test_endless_line(tmp_path, monkeypatch):
    monkeypatch.setattr("vecstore.formats.text._LONGEST_LINE_BYTES", 1000)
    monkeypatch.setattr("vecstore.formats.text._BLOCK_BYTES", 100)
    path = tmp_path / "d.txt"
    path.write_bytes(b"a 1 2\nb 1 2\nc 3 4\n" + b"9" * 5000)
    with pytest.raises(FormatError, match="longer"):
        list(open_dump(path).batches())


def _parsed(texts: list[str]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "d.vec")
        path.write_text(f"{len(texts)} 1\n" + "".join(f"k {text}\n" for text in texts))
        batch = next(open_dump(path, format="word2vec").batches())
    assert not batch.problems
    return batch.vectors[:, 0]


def _expected(texts: list[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([float(text) for text in texts]).astype(np.float32)


numerals = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.floats(width=32, allow_nan=False).map(lambda value: str(np.float32(value))),
    st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).filter(str.isascii),
)


@given(st.lists(numerals, min_size=1, max_size=30))
def test_numbers_round_as_python_and_numpy_do(texts):
    np.testing.assert_array_equal(_parsed(texts), _expected(texts))


def test_numbers_at_rounding_borders():
    values = np.float32([1, 1.1, 3.4e38, 1e-38, 1e-45, 16777216, 0.1])
    borders = [(float(a) + float(b)) / 2 for a, b in zip(values, np.nextafter(values, np.float32(0)), strict=True)]
    texts = [f"{border:.{digits}e}" for border in borders for digits in (8, 12, 17, 25, 40)]
    np.testing.assert_array_equal(_parsed(texts), _expected(texts))


def test_random_numbers_of_all_magnitudes():
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    texts = [str(value) for value in values[:4000]] + [repr(float(value) * 1.0000001) for value in values[4000:8000]]
    np.testing.assert_array_equal(_parsed(texts), _expected(texts))
