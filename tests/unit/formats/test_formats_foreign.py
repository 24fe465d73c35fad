"""What other libraries wrote is read as they read it; tests/data/make_dumps.py had them write it."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.scripts.fuzz_dumps import attack
from vecstore.formats import open_dump

from vecstore.errors import FormatError

DATA = Path(__file__).parents[2] / "data" / "dumps.zip"
KEYS = ["king", "queen", "König", "new york", "a", "A", "語", "</s>", "7", "x-1", "b", "c"]
ANNOY = {"format": "annoy", "dimensions": 8}
CASES = {  # file: format, keys in the order of the rows (None: no keys), what reading it takes
    "flat.faiss": ("faiss", None, {}),
    "idmap.faiss": ("faiss", range(5, 125, 10), {}),
    "sq8.faiss": ("faiss", None, {}),
    "pq.faiss": ("faiss", None, {}),
    "ivf.faiss": ("faiss", range(12), {}),
    "index.usearch": ("usearch", range(1, 37, 3), {}),
    "half.usearch": ("usearch", range(1, 37, 3), {}),
    "i8.usearch": ("usearch", range(1, 37, 3), {}),
    "index.hnswlib": ("hnswlib", range(100, 124, 2), {}),
    "angular.annoy": ("annoy", None, ANNOY),
    "euclidean.annoy": ("annoy", None, ANNOY),
    "dot.annoy": ("annoy", None, ANNOY),
    "vec.db": ("sqlite-vec", range(1, 25, 2), {}),
    "vectext.db": ("sqlite-vec", KEYS, {"vector_column": "embedding"}),
    "table.lance": ("lance", KEYS, {}),
    "chroma": ("chroma", KEYS, {}),
    "kv.gensim": ("gensim", KEYS, {}),
    "kv2.gensim": ("gensim", KEYS, {}),
    "emb.fifu": ("finalfusion", KEYS, {}),
    "spacy": ("spacy", KEYS, {}),
    "hf": ("hf-dataset", KEYS, {}),
    "v2.zarr": ("zarr", None, {}),
}
LIBRARIES = {"lance": "lance", "zarr": "zarr", "hf-dataset": "pyarrow"}
EXPECTED = {"sq8.faiss": "sq8", "pq.faiss": "pq", "i8.usearch": "i8", "emb.fifu": "fifu"}
UNORDERED = ("ivf.faiss", "chroma", "spacy")  # rows have their keys, in whatever order


@pytest.fixture(scope="session")
def dumps(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    with zipfile.ZipFile(DATA) as archive:
        archive.extractall(folder)
    return folder


def needs(format: str) -> None:
    if (library := LIBRARIES.get(format)) and importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_those_of_the_library(read, dumps, name):
    format, keys, options = CASES[name]
    needs(format)
    found = read(dumps / name, **options)
    expected = np.load(dumps / (f"{EXPECTED[name]}.expected.npy" if name in EXPECTED else "expected.npy"))
    expected = expected.astype(np.float32)
    assert found.dump.format == format and not found.problems and found.dump.rows in (12, None)
    vectors = found.vectors
    if keys is not None:
        order = [list(found.keys).index(key) for key in keys] if name in UNORDERED else range(12)
        assert [found.keys[at] for at in order] == list(keys)
        vectors = vectors[list(order)]
    if name == "half.usearch":
        expected = expected.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-7 if name == "sq8.faiss" else 0)


@pytest.mark.parametrize("name", CASES)
def test_damage_is_a_format_error(dumps, tmp_path, name):
    format, _, options = CASES[name]
    needs(format)
    named = {option: value for option, value in options.items() if option != "format"}
    assert attack(dumps / name, format, tmp_path / "mutated", count=20, **named) == []


def test_columns_left_out_are_named(dumps):
    assert open_dump(dumps / "vectext.db", vector_column="embedding").left_out == ("small",)
    with pytest.raises(FormatError, match="vector_column="):
        open_dump(dumps / "vectext.db")
    small = next(open_dump(dumps / "vectext.db", vector_column="small").batches())
    assert small.vectors.shape == (12, 8) and (small.vectors == np.round(small.vectors)).all()


def test_duckdb(read, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "d.duckdb")) as connection:
        connection.execute("create table items(key varchar, vec float[2], price int)")
        connection.execute("insert into items values ('a', [1, 2], 3), ('b', [3, 4], 5)")
    found = read(tmp_path / "d.duckdb")
    assert found.dump.format == "duckdb" and found.keys == ["a", "b"] and found.dump.left_out == ("price",)
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])


@pytest.mark.parametrize("level", ["light", "medium", "heavy"])
def test_magnitude_of_its_library(read, dumps, tmp_path, level):
    """What pymagnitude-light wrote, as it reads it: in float32, where we round once."""
    path, keys = dumps / f"{level}.magnitude", [key.replace(" ", "-") for key in KEYS]
    found = read(path)
    assert found.dump.format == "magnitude" and found.keys == keys
    np.testing.assert_allclose(found.vectors, np.load(f"{path}.expected.npy"), rtol=2e-7, atol=2e-7)
    assert attack(path, "magnitude", tmp_path / "mutated", count=20) == []


@pytest.mark.parametrize("text", [True, False])
def test_pgvector_of_its_library(read, text):
    """What the Python package of pgvector sends to Postgres, in rows as COPY writes them."""
    vector = pytest.importorskip("pgvector").Vector
    some = [np.float32([1.5, -2e-9, 3]), np.float32([0.1, 1 / 3, -1e20])]
    if text:
        found = read("".join(f"{row}\t{vector(x).to_text()}\n" for row, x in enumerate(some)).encode() + b"\\.\n")
    else:
        packed = [vector(x).to_binary() for x in some]
        rows = [struct.pack(">hiqi", 2, 8, row, len(value)) + value for row, value in enumerate(packed)]
        found = read(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff")
    assert found.dump.format == ("pgvector" if text else "pgvector-binary")
    np.testing.assert_array_equal(found.vectors, some)


@pytest.mark.parametrize("lengths", [False, True])
def test_magnitude(read, tmp_path, lengths):
    """Keys twice, and lengths or none: the library writes neither, so the table is written here."""
    with sqlite3.connect(tmp_path / "w.magnitude") as database:
        extra = ", magnitude REAL" if lengths else ""
        database.execute(f"CREATE TABLE magnitude (key TEXT COLLATE NOCASE, dim_0 INTEGER, dim_1 INTEGER{extra})")
        database.execute("CREATE TABLE magnitude_format (key TEXT, value INTEGER)")
        settings = {"dim": 2, "precision": 3, "size": 3}
        database.executemany("INSERT INTO magnitude_format VALUES (?, ?)", settings.items())
        rows = [("a", 600, 800), ("A", -1000, 0), ("a", 0, 1000)]
        database.executemany(f"INSERT INTO magnitude VALUES (?, ?, ?{', 2.5' if lengths else ''})", rows)
    database.close()
    found = read(tmp_path / "w.magnitude")
    assert found.dump.format == "magnitude" and found.keys == ["a", "A", "a"]
    np.testing.assert_allclose(
        found.vectors, np.array([[0.6, 0.8], [-1, 0], [0, 1]]) * (2.5 if lengths else 1), rtol=1e-6
    )


def test_answers_of_services(read):
    packed = __import__("base64").b64encode(np.float32([5, 6]).tobytes()).decode()
    lines = [
        {"custom_id": "b", "response": {"body": {"data": [{"embedding": [3, 4]}]}}},
        {"custom_id": "a", "response": {"body": {"data": [{"embedding": packed}]}}},
        {"custom_id": "c", "response": None, "error": {"message": "too long"}},
        {"custom_id": "d", "response": {"body": {"data": [{"embedding": [1, None]}]}}},
    ]
    found = read("\n".join(map(json.dumps, lines)).encode())
    assert found.dump.format == "jsonl" and found.keys == ["b", "a", "c", "d"]
    assert {row: problem.kind for row, problem in found.problems.items()} == {2: "no vector", 3: "not a number"}
    np.testing.assert_array_equal(found.vectors[:2], [[3, 4], [5, 6]])


def test_copy_of_postgres(read):
    found = read(b"1\tcat\t[1,2.5]\n2\tdog\t\\N\n3\ta\\tb\t[3,4]\n\\.\n")
    assert found.dump.format == "pgvector" and found.keys == ["1", "2", "3"] and found.dump.left_out == ("column 2",)
    assert list(found.problems) == [1] and found.vectors[2].tolist() == [3, 4]
    field = struct.pack(">HH2f", 2, 0, 1.5, -2)
    rows = b"".join(
        struct.pack(">hi", 2, 8) + struct.pack(">q", key) + struct.pack(">i", len(field)) + field for key in (7, 9)
    )
    found = read(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff")
    assert found.dump.format == "pgvector-binary" and list(found.keys) == [7, 9]
    assert found.vectors.tolist() == [[1.5, -2], [1.5, -2]]


def test_separated_values(read, tmp_path):
    found = read(b'word,x,y,z\n"a, b",1,2,3\nc,4,5\nd,6,x,8\ne,1,1,1\n')
    assert found.dump.format == "csv" and found.keys == ["a, b", "c", "d", "e"] and list(found.problems) == [1, 2]
    found = read(b'id,embedding,text\n7,"[1, 2]",hello\n8,"[3, 4]",you\n')
    assert found.keys == ["7", "8"] and found.dump.left_out == ("text",) and found.vectors.tolist() == [[1, 2], [3, 4]]
    found = read(b'id\n7,"[1, 2]"\n8,"[3, 4]"\n', format="csv")  # a first row that is short
    assert found.keys == ["7", "8"] and found.vectors.tolist() == [[1, 2], [3, 4]]
    (tmp_path / "metadata.tsv").write_text("one\ntwo\n")
    found = read(b"1\t2\t3\n4\t5\t6\n", keys=tmp_path / "metadata.tsv")
    assert (
        found.dump.format == "tsv" and found.keys == ["one", "two"] and found.vectors.tolist() == [[1, 2, 3], [4, 5, 6]]
    )


def test_several_files(read, tmp_path):
    (tmp_path / "parts").mkdir()
    for number, text in enumerate(("a 1 2\nb 3 4\n", "c 5 6\nd 7 8\n")):
        (tmp_path / "parts" / f"part-{number}.txt").write_text(text)
    for path in (tmp_path / "parts", tmp_path / "parts" / "part-*.txt"):
        found = read(path)
        assert found.keys == list("abcd") and found.vectors[:, 0].tolist() == [1, 3, 5, 7]
    (tmp_path / "parts" / "part-2.txt").write_text("e 1 2 3\nf 1 2 3\n")
    with pytest.raises(FormatError, match=r"other dimensions than in part-0\.txt"):
        open_dump(tmp_path / "parts")
    with pytest.raises(FormatError, match="no file matches"):
        open_dump(tmp_path / "*.vec")


def test_pickles_are_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    data = b"\x80\x04\x8c\x1agensim.models.keyedvectors0" + __import__("pickle").dumps(Evil())[2:]
    (tmp_path / "d.kv").write_bytes(data)
    with pytest.raises(FormatError):
        open_dump(tmp_path / "d.kv", format="gensim")
    assert not (tmp_path / "ran").exists()
