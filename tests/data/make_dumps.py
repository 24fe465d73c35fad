"""Write dumps.zip: a small dump of each format by the library that owns it, and what that library reads from it.

Run where these are installed: annoy apsw chromadb datasets faiss-cpu fasttext finalfusion gensim hnswlib pylance
pymagnitude-light spacy sqlite-vec usearch zarr. DuckDB files are too large to keep: the tests write their own.
"""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np

ROWS, DIMENSIONS = 12, 8
KEYS = ["king", "queen", "König", "new york", "a", "A", "語", "</s>", "7", "x-1", "b", "c"]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
MORE = RANDOM.normal(size=(300, DIMENSIONS)).astype(np.float32)


def faiss_files() -> None:
    import faiss

    flat = faiss.IndexFlatIP(DIMENSIONS)
    flat.add(X)
    faiss.write_index(flat, "flat.faiss")
    mapped = faiss.IndexIDMap(faiss.IndexFlatL2(DIMENSIONS))
    mapped.add_with_ids(X, np.arange(ROWS) * 10 + 5)
    faiss.write_index(mapped, "idmap.faiss")
    for name, spec in (("sq8", "SQ8"), ("pq", "PQ4x4"), ("ivf", "IVF2,Flat")):
        index = faiss.index_factory(DIMENSIONS, spec)
        index.train(X if name == "sq8" else MORE)
        index.add(X)
        faiss.write_index(index, f"{name}.faiss")
        if name != "ivf":
            np.save(f"{name}.expected.npy", index.reconstruct_n(0, ROWS))


def usearch_files() -> None:
    from usearch.index import Index

    for name, dtype in (("index", "f32"), ("half", "f16"), ("i8", "i8")):
        index = Index(ndim=DIMENSIONS, metric="cos", dtype=dtype)
        index.add(np.arange(ROWS) * 3 + 1, X)
        index.save(f"{name}.usearch")
    np.save("i8.expected.npy", index.get(np.arange(ROWS) * 3 + 1))


def hnswlib_files() -> None:
    import hnswlib

    index = hnswlib.Index("l2", DIMENSIONS)
    index.init_index(20, ef_construction=20, M=4)
    index.add_items(X, np.arange(ROWS) * 2 + 100)
    index.save_index("index.hnswlib")


def annoy_files() -> None:
    from annoy import AnnoyIndex

    for metric in ("angular", "euclidean", "dot"):
        index = AnnoyIndex(DIMENSIONS, metric)
        for row in range(ROWS):
            index.add_item(row, X[row])
        index.build(2)
        index.save(f"{metric}.annoy")


def sqlite_vec_files() -> None:
    import apsw
    import sqlite_vec

    def connected(path: str):
        database = apsw.Connection(path)
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        return database

    database = connected("vec.db")
    database.execute(f"create virtual table items using vec0(embedding float[{DIMENSIONS}])")
    for row in range(ROWS):
        database.execute("insert into items(rowid, embedding) values (?, ?)", (2 * row + 1, X[row].tobytes()))
    database.execute("delete from items where rowid = 23")
    database.execute("insert into items(rowid, embedding) values (23, ?)", (X[11].tobytes(),))
    database = connected("vectext.db")
    columns = f"name text primary key, embedding float[{DIMENSIONS}], small int8[{DIMENSIONS}], price float"
    database.execute(f"create virtual table docs using vec0({columns})")
    for key, vector in zip(KEYS, X, strict=True):
        small = (vector * 20).astype(np.int8).tobytes()
        insert = "insert into docs(name, embedding, small, price) values (?, ?, vec_int8(?), 1.5)"
        database.execute(insert, (key, vector.tobytes(), small))


def table_files() -> None:
    import datasets
    import lance
    import pyarrow as pa
    import zarr

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), DIMENSIONS)
    lance.write_dataset(pa.table({"key": KEYS, "vector": vectors, "price": list(range(ROWS))}), "table.lance")
    found = datasets.Dataset.from_dict({"id": KEYS, "emb": X.tolist(), "n": list(range(ROWS))})
    found.save_to_disk("hf")
    zarr.save_array("v2.zarr", X, zarr_format=2)


def chroma_files() -> None:
    import chromadb

    collection = chromadb.PersistentClient("chroma").create_collection("things")
    collection.add(ids=KEYS, embeddings=X.tolist(), documents=["d"] * ROWS)
    collection.delete(ids=["7"])
    collection.upsert(ids=["7"], embeddings=[X[8].tolist()], documents=["d"])


def word_files() -> None:
    import finalfusion
    import spacy
    from finalfusion.norms import Norms
    from finalfusion.storage import NdArray
    from finalfusion.vocab import SimpleVocab
    from gensim.models import KeyedVectors

    for name, limit in (("kv", 10 << 20), ("kv2", 0)):
        vectors = KeyedVectors(DIMENSIONS)
        vectors.add_vectors(KEYS, X)
        vectors.lifecycle_events = None  # or the file would tell where it was written
        vectors.save(f"{name}.gensim", sep_limit=limit)
    lengths = np.linalg.norm(X, axis=1).astype(np.float32)
    storage = NdArray((X / lengths[:, None]).astype(np.float32))
    finalfusion.Embeddings(storage=storage, vocab=SimpleVocab(KEYS), norms=Norms(lengths)).write("emb.fifu")
    np.save("fifu.expected.npy", (storage[:] * lengths[:, None]).astype(np.float32))
    blank = spacy.blank("en")
    for key, vector in zip(KEYS, X, strict=True):
        blank.vocab.set_vector(key, vector)
    blank.to_disk("spacy")
    (Path("spacy") / "tokenizer").unlink()


def coded_files() -> None:
    """Write models whose vectors are codes. fastText trains on memory that it does not clear: MALLOC_PERTURB_=255."""
    import fasttext
    import finalfusion
    from finalfusion.storage.quantized import PQ, QuantizedArray
    from finalfusion.vocab import SimpleVocab

    books = RANDOM.normal(size=(4, 256, 2)).astype(np.float32)
    rotation = np.linalg.qr(RANDOM.normal(size=(DIMENSIONS, DIMENSIONS)))[0].astype(np.float32)
    codes = RANDOM.integers(0, 256, (ROWS, 4)).astype(np.uint8)
    for name, turned, lengths in (("pq", None, None), ("opq", rotation, None), ("norms", None, X[:, 0] ** 2)):
        storage = QuantizedArray(PQ(books, turned), codes, lengths)
        finalfusion.Embeddings(storage=storage, vocab=SimpleVocab(KEYS)).write(f"{name}.fifu")
        np.save(f"{name}.fifu.expected.npy", storage[:])
    words = [*KEYS[:3], *KEYS[6:], *(f"w{number}" for number in range(260))]
    lines = [f"__label__{row % 2} " + " ".join(RANDOM.choice(words, 12)) for row in range(600)]
    Path("text.txt").write_text("\n".join(lines))
    ngrams = {"minn": 2, "maxn": 4, "bucket": 300}
    for name, options, how in (
        ("plain", {"minn": 0, "maxn": 0}, {}),
        ("ngrams", ngrams, {}),
        ("pruned", ngrams, {"cutoff": 300}),
        ("lengths", {"minn": 0, "maxn": 0}, {"qnorm": True}),
    ):
        model = fasttext.train_supervised("text.txt", dim=5, epoch=1, thread=1, verbose=0, minCount=1, **options)
        model.quantize(input="text.txt", **how)
        model.save_model(f"{name}.ftz")
        vectors = np.stack([model.get_word_vector(word) for word in model.words])
        np.savez_compressed(f"{name}.ftz.expected.npz", words=np.array(model.words), vectors=vectors)
    Path("text.txt").unlink()


def magnitude_files() -> None:
    """Write Magnitude files. The converter asks gensim's own class for members that its stand-in for text lacks."""
    import pymagnitudelight
    from pymagnitudelight import converter

    source = Path(converter.__file__).read_text().replace("keyed_vectors.wv.", "keyed_vectors.")
    exec(compile(source, converter.__file__, "exec"), vars(converter))
    names = [key.replace(" ", "-") for key in KEYS]
    lines = [" ".join([name, *(repr(float(x)) for x in row)]) for name, row in zip(names, X, strict=True)]
    Path("text.txt").write_text("\n".join([f"{ROWS} {DIMENSIONS}", *lines]) + "\n")
    heavy = {"subword": True, "approx": True, "approx_trees": 2}
    for level, how in (("light", {}), ("medium", {"subword": True}), ("heavy", heavy)):
        converter.convert("text.txt", f"{level}.magnitude", **how)
        found = pymagnitudelight.Magnitude(f"{level}.magnitude", normalized=False)
        np.save(f"{level}.magnitude.expected.npy", np.stack([found.query(name) for name in names]))
    Path("text.txt").unlink()


def main() -> None:
    target, folder = Path(__file__).parent / "dumps.zip", Path(sys.argv[1]).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    np.save("expected.npy", X)
    for write in (faiss_files, usearch_files, hnswlib_files, annoy_files, sqlite_vec_files, table_files, chroma_files):
        write()
    word_files()
    coded_files()
    magnitude_files()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))


if __name__ == "__main__":
    main()
