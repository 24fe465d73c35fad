from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vecstore.formats import open_dump

from vecstore.errors import FormatError, MissingExtraError

X = np.random.default_rng(0).integers(-100, 100, (7, 3)).astype(np.float32)
WORDS = list("abcdefg")


def parquet(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def ipc_file(table, **options):
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return file.getvalue()


def ipc_stream(table, **options):
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return file.getvalue()


WRITERS = [parquet, ipc_file, ipc_stream]
LISTS = [lambda kind: pa.list_(kind, 3), pa.list_, pa.large_list]


def vectors(kind=pa.list_(pa.float32()), rows=X):  # noqa: B008
    values = [
        row if row is None else [x if x is None else kind.value_type.to_pandas_dtype()(x) for x in row] for row in rows
    ]
    return pa.array(values, kind)


def table(**columns):
    return pa.table(columns)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int64()])
def test_types(read, write, listed, kind):
    found = read(write(table(word=WORDS, v=vectors(listed(kind)))))
    assert (found.dump.format, found.dump.dimensions) == ("parquet" if write is parquet else "arrow", 3)
    assert found.dump.rows == (7 if write is parquet else None)
    assert found.keys == WORDS and not found.problems
    np.testing.assert_array_equal(found.vectors, X)


@pytest.mark.parametrize("write", WRITERS)
def test_malformed_rows(read, write):
    rows = [[1, 2, 3], None, [1, 2], [1, None, 3], [], [4, 5, 6], [1, 2, 3, 4]]
    found = read(write(table(id=[1, 2, 3, 4, 5, None, 7], v=vectors(rows=rows))))
    assert found.problems == {
        1: "row 1: no vector (null)",
        2: "row 2: 2 numbers, expected 3",
        3: "row 3: null among the numbers",
        4: "row 4: 0 numbers, expected 3",
        5: "row 5: no key (null)",
        6: "row 6: 4 numbers, expected 3",
    }
    np.testing.assert_array_equal(found.vectors[0], [1, 2, 3])
    assert found.keys == [1, 2, 3, 4, 5, 0, 7]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kind", [pa.float16(), pa.float64(), pa.int32()])
def test_nulls_in_fixed_size_lists(read, write, kind):
    rows = [[1, 2, 3], None, [1, None, 3], [4, 5, 6], None, [None] * 3, [7, 8, 9]]
    found = read(write(table(v=vectors(pa.list_(kind, 3), rows))))
    assert list(found.problems) == [1, 2, 4, 5] and found.keys is None
    np.testing.assert_array_equal(found.vectors[[0, 3, 6]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("array", "key_type", "keys"),
    [
        (pa.array(WORDS, pa.large_string()), "str", WORDS),
        (pa.array(WORDS).dictionary_encode(), "str", WORDS),
        (pa.array(WORDS, pa.string_view()), "str", WORDS),
        (
            pa.array([b"\xff", *map(str.encode, WORDS[1:])], pa.binary()),
            "bytes",
            [b"\xff", *map(str.encode, WORDS[1:])],
        ),
        (pa.array([b"ab"] * 7, pa.binary(2)), "bytes", [b"ab"] * 7),
        (pa.array(range(7), pa.uint8()), "int64", list(range(7))),
        (pa.array(range(7), pa.uint64()), "int64", list(range(7))),
    ],
)
def test_key_types(read, write, array, key_type, keys):
    found = read(write(table(k=array, v=vectors())))
    assert found.dump.key_type == key_type and found.keys == keys and not found.problems


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
@pytest.mark.parametrize(
    "words", [["a", "", "b\nc", "d" * 300, "", "e", ""], ["ä", "", "öü€", "😀x", "\n", "", "é"], [""] * 7]
)
def test_texts_are_cut_where_they_end(read, write, kind, words):
    """Whatever they lie between, in whole batches and in parts of them."""
    given = [word.encode() for word in words] if "binary" in str(kind) else words
    content = write(table(word=pa.array(given, kind), v=vectors()))
    for rows in (7, 3, 1):
        assert [key for batch in read(content, key_type="str").dump.batches(rows) for key in batch.keys] == words


@pytest.mark.parametrize("write", WRITERS)
def test_a_letter_that_two_keys_share(read, write):
    """Together the bytes are UTF-8, each by itself is not."""
    found = read(
        write(table(word=pa.array([b"a\xc3", b"\xa9b", *map(str.encode, WORDS[2:])]), v=vectors())), key_type="str"
    )
    assert found.keys == ["a\\xc3", "\\xa9b", *WORDS[2:]] and sorted(found.problems) == [0, 1]


def test_key_conversions(read):
    data = parquet(table(k=["1", "2", "x", "4", "5", "6", "7"], v=vectors()))
    assert read(data, key_type="int64").problems == {2: "row 2: key 'x' is not a 64-bit integer"}
    assert read(data, key_type="bytes").keys[0] == b"1"
    assert read(parquet(table(k=list(range(7)), v=vectors())), key_type="str").keys[6] == "6"
    invalid = pa.array([b"\xff", *map(str.encode, WORDS[1:])])
    assert list(read(parquet(table(k=invalid, v=vectors())), key_type="str").problems) == [0]
    text = pa.StringArray.from_buffers(7, *invalid.buffers()[1:])
    assert list(read(ipc_stream(table(k=text, v=vectors()))).problems) == [0]


def test_unsigned_key_too_large(read):
    with pytest.raises(FormatError, match="save the keys as strings"):
        read(parquet(table(k=pa.array([2**63] + [0] * 6, pa.uint64()), v=vectors())))


def test_choice_of_columns(read):
    several = parquet(table(text=WORDS, ID=list(range(7)), a=vectors(), b=vectors(rows=2 * X), score=[0.5] * 7))
    with pytest.raises(FormatError, match="'a', 'b'"):
        read(several)
    found = read(several, vector_column="b")
    assert found.keys == list(range(7))
    np.testing.assert_array_equal(found.vectors, 2 * X)
    assert read(several, vector_column="a", key_column="text").keys == WORDS
    with pytest.raises(FormatError, match="did you mean 'text'"):
        read(several, vector_column="a", key_column="tekst")
    with pytest.raises(FormatError, match="holds no vectors"):
        read(several, vector_column="score")
    with pytest.raises(FormatError, match="cannot serve as keys"):
        read(several, vector_column="a", key_column="score")
    with pytest.raises(FormatError, match="no column holds lists"):
        read(parquet(table(text=WORDS)))


def test_width_unknown(read):
    with pytest.raises(FormatError, match="width is unknown"):
        read(parquet(table(v=pa.array([None, []], pa.list_(pa.float32())))))
    assert read(parquet(table(v=pa.array([], pa.list_(pa.float32(), 4))))).vectors.shape == (0, 4)


@pytest.mark.parametrize("write", WRITERS)
def test_damaged(tmp_path, write):
    path = tmp_path / "d"
    data = bytearray(write(table(word=WORDS, v=vectors())))
    for position in range(0, len(data), 13):
        path.write_bytes(data[:position])
        if position:
            with pytest.raises(FormatError):
                list(open_dump(path, format="parquet" if write is parquet else "arrow").batches())


def test_missing_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "d").write_bytes(parquet(table(v=vectors())))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pip install pyarrow"):
        open_dump(tmp_path / "d")


CONVERT = """
import sys, vecstore
vecstore.convert(sys.argv[1], sys.argv[2], "sq:8", shard_bytes=300_000)
print(*(name for name in ("pandas", "dateutil", "pyarrow.compute") if name in sys.modules))
"""


def test_a_conversion_of_parquet_imports_no_pandas_and_no_compute_functions(tmp_path):
    """Pyarrow imports it for some of its functions, which takes each worker a fifth of a second."""
    (tmp_path / "d").write_bytes(parquet(table(word=WORDS, v=vectors())))
    arguments = [sys.executable, "-W", "error", "-c", CONVERT, str(tmp_path / "d"), str(tmp_path / "s")]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_stream_cut_between_messages(tmp_path):
    path = tmp_path / "d"
    data = ipc_stream(table(word=WORDS, v=vectors()))
    assert data.endswith(b"\xff\xff\xff\xff\0\0\0\0")
    path.write_bytes(data[:-8])
    with pytest.raises(FormatError, match="end of an Arrow stream"):
        list(open_dump(path).batches())


@pytest.mark.parametrize("write", [ipc_file, ipc_stream])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_offsets_that_point_outside(tmp_path, write, kind):
    """Arrow would follow them and crash the process."""
    integer = "<i8" if kind == pa.large_string() else "<i4"
    data = write(pa.table({"key": pa.array(["a", "b"]).cast(kind), "v": vectors(rows=X[:2])}))
    offsets, outside = (np.array(ends, integer).tobytes() for ends in ([0, 1, 2], [0, 1 << 30, 2]))
    assert data.count(offsets) == 1
    (tmp_path / "d").write_bytes(data.replace(offsets, outside))
    with pytest.raises(FormatError, match="damaged"):
        list(open_dump(tmp_path / "d").batches())
