"""Files whose vectors are codes: read as the library decodes them, and taken over where a codec has the same codes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import faiss
import numpy as np
import pytest
from vecstore.bench.scripts.fuzz_dumps import attack
from vecstore.formats import open_dump

import vecstore
from vecstore.errors import FormatError

DATA = Path(__file__).parents[2] / "data" / "dumps.zip"
ROWS, DIMENSIONS = 20, 8
# What faiss' factory is told -> the codec that has the same codes.
INDEXES = {
    "Flat": None,
    "SQ8": "sq:8",
    "SQ6": "sq:6",
    "SQ4": "sq:4",
    "SQfp16": "f16",
    "SQbf16": None,
    "PQ4": "pq:4",
    "PQ4x4": "pq:4x4",
    "OPQ4,PQ4x4": "opq:4x4",
    "RR8,Flat": None,
    "L2norm,SQ8": "sq:8",
    "PCA4,Flat": None,
    "PCAR4,SQ8": None,
    "HNSW8,Flat": None,
    "HNSW8,SQ8": "sq:8",
    "HNSW8,PQ4x4": "pq:4x4",
    "IVF4,Flat": None,
    "IVF4,SQ8": None,  # codes of what is left of the centroid
    "IVF4,SQfp16": None,
    "IVF4,PQ4x4np": None,
    "IVF32_HNSW4,SQ8": None,  # few of the lists have rows
    "OPQ4,IVF4,PQ4x4": None,
}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    with zipfile.ZipFile(DATA) as archive:
        archive.extractall(folder)
    return folder


def built(spec: str, path: Path, *, ids: bool = False):
    x = np.random.default_rng(0).normal(size=(300, DIMENSIONS)).astype(np.float32)
    index = faiss.index_factory(DIMENSIONS, spec)
    index.train(x)
    if ids:
        index.add_with_ids(x[:ROWS], np.arange(ROWS) * 3 + 7)
    else:
        index.add(x[:ROWS])
    faiss.write_index(index, str(path))
    if "IVF" in spec:
        faiss.extract_index_ivf(index).make_direct_map()
    return index


def is_taken_over(source: Path, spec: str, store: Path) -> None:
    """The store has that codec and, decoded, exactly what the dump gives, but for the rounding of sums."""
    report = vecstore.convert(source, store)
    assert report.codec == spec and report.codes_of == open_dump(source).format
    vectors = np.concatenate([batch.vectors for batch in open_dump(source).batches()])
    with vecstore.open(store) as opened:
        np.testing.assert_allclose(opened.vectors[:], vectors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spec", INDEXES)
def test_faiss(read, tmp_path, spec):
    index = built(spec, tmp_path / "x.faiss")
    found = read(tmp_path / "x.faiss")
    assert found.dump.format == "faiss" and found.dump.rows == ROWS and not found.problems
    order = slice(None) if found.keys is None else np.argsort(found.keys)
    expected = index.reconstruct_n(0, ROWS)
    np.testing.assert_allclose(found.vectors[order], expected, rtol=0, atol=1e-6)
    assert (found.dump.coded and found.dump.coded.spec) == INDEXES[spec]
    if INDEXES[spec]:
        is_taken_over(tmp_path / "x.faiss", INDEXES[spec], tmp_path / "x.vecs")


@pytest.mark.parametrize("spec", ["IDMap2,PQ4", "IDMap2,IVF4,Flat", "IDMap,OPQ4,PQ4x4"])
def test_faiss_ids(read, tmp_path, spec):
    built(spec, tmp_path / "x.faiss", ids=True)
    found = read(tmp_path / "x.faiss")
    assert sorted(found.keys) == [3 * row + 7 for row in range(ROWS)]


def test_codes_of_faiss_are_the_codes_of_the_store(tmp_path):
    index = built("PQ4", tmp_path / "x.faiss")
    vecstore.convert(tmp_path / "x.faiss", tmp_path / "x.vecs")
    with vecstore.open(tmp_path / "x.vecs") as store:
        codes = store.codec.encode(np.asarray(store.vectors[:]))
    np.testing.assert_array_equal(codes, faiss.vector_to_array(index.codes).reshape(ROWS, 4))


@pytest.mark.parametrize("spec", ["OPQ4,PQ4x4", "IVF4,SQ8", "HNSW8,SQ8", "PCA4,Flat", "IVF32,PQ4x4"])
def test_faiss_damaged(tmp_path, spec):
    built(spec, tmp_path / "x.faiss")
    assert attack(tmp_path / "x.faiss", "faiss", tmp_path / "mutated", count=40) == []


def test_another_codec_may_be_asked_for(tmp_path):
    built("PQ4", tmp_path / "x.faiss")
    report = vecstore.convert(tmp_path / "x.faiss", tmp_path / "x.vecs", "f32")
    assert report.codec == "f32" and report.codes_of == "" and report.certificate
    unit = vecstore.convert(tmp_path / "x.faiss", tmp_path / "unit.vecs", keep_norms=True)
    assert unit.codec == "sq:8" and unit.codes_of == ""


@pytest.mark.parametrize(("name", "spec"), [("plain", "pq:3"), ("ngrams", None), ("pruned", None), ("lengths", None)])
def test_quantized_fasttext(read, dumps, tmp_path, name, spec):
    expected = np.load(dumps / f"{name}.ftz.expected.npz")
    found = read(dumps / f"{name}.ftz", rows=7)
    assert found.dump.format == "fasttext-quantized" and found.keys == expected["words"].tolist()
    np.testing.assert_allclose(found.vectors, expected["vectors"], rtol=0, atol=1e-7)
    assert (found.dump.coded and found.dump.coded.spec) == spec
    assert found.dump.left_out == (() if name in ("plain", "lengths") else ("n-grams",))
    if spec:
        is_taken_over(dumps / f"{name}.ftz", spec, tmp_path / "x.vecs")
    assert attack(dumps / f"{name}.ftz", "fasttext-quantized", tmp_path / "mutated", count=20) == []


def test_quantized_and_not_are_told_apart(dumps, tmp_path):
    renamed = tmp_path / "model.bin"
    renamed.write_bytes((dumps / "plain.ftz").read_bytes())
    with pytest.raises(FormatError, match="fasttext-quantized"):
        vecstore.convert(renamed, tmp_path / "x.vecs")
    assert vecstore.convert(renamed, tmp_path / "x.vecs", format="fasttext-quantized").codec == "pq:3"


@pytest.mark.parametrize(("name", "spec"), [("pq", "pq:4"), ("opq", "opq:4"), ("norms", None)])
def test_finalfusion_codes(read, dumps, tmp_path, name, spec):
    found = read(dumps / f"{name}.fifu")
    np.testing.assert_allclose(found.vectors, np.load(dumps / f"{name}.fifu.expected.npy"), rtol=0, atol=2e-6)
    assert (found.dump.coded and found.dump.coded.spec) == spec
    if spec:
        is_taken_over(dumps / f"{name}.fifu", spec, tmp_path / "x.vecs")
    assert attack(dumps / f"{name}.fifu", "finalfusion", tmp_path / "mutated", count=20) == []


def test_columns_of_a_dump_whose_keys_are_no_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"key,x,y,z,price\n\xff,1,2,3,4\nb,1,2,3,5\n")
    dump = open_dump(tmp_path / "x.csv", columns=["price"], encoding_errors="replace")
    assert dump.columns == ("price",) and next(dump.batches()).columns["price"] == [4, 5]
    vecstore.convert(tmp_path / "x.csv", tmp_path / "x.vecs", columns=["price"], encoding_errors="replace")
    with vecstore.open(tmp_path / "x.vecs") as store:
        assert store.columns["price"].to_pylist() == [4, 5]
