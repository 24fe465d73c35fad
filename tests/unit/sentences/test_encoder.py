"""Vectors of texts, beside model2vec, fastText and plain means."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from gensim.test.utils import datapath
from samples import wordllama_files

import vecstore
from vecstore.conversion.importing import import_subwords
from vecstore.errors import OptionError, ShapeError
from vecstore.sentences import Encoder, import_static, sif_weights
from vecstore.words import Words

TEXTS = [
    "a compact store for embeddings",
    "",
    "Überraschung! 🙂 日本語",
    "the the the",
    "words " * 3000,
    *(f"sentence number {i} of {i * i}" for i in range(1500)),
]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    with open(datapath("lee.cor"), encoding="latin-1") as file:
        return file.read().splitlines()


def tokenizer_of(path):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


@pytest.mark.parametrize("codec", ["f32", "sq:8", "pq:64x4"])
def test_a_real_model_encodes_as_model2vec_does(wordllama, lines, codec):
    from model2vec import StaticModel

    with vecstore.open(wordllama(codec)) as store:
        theirs = StaticModel(np.asarray(store.vectors), tokenizer_of(wordllama_files()[1]), max_length=None)
        theirs.unk_token_id = None  # wordllama counts unknown tokens
        lazily = copy.copy(theirs)
        lazily.embedding = store.vectors  # decoded as it is read
        found = Encoder(store).encode(lines + TEXTS)
        np.testing.assert_allclose(found, theirs.encode(lines + TEXTS), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found, lazily.encode(lines + TEXTS), rtol=1e-5, atol=1e-6)


def test_model2vec_takes_the_vectors_of_a_store(wordllama):
    from model2vec import StaticModel

    with vecstore.open(wordllama("sq:8")) as store:
        model = StaticModel(vectors=store.vectors, tokenizer=tokenizer_of(wordllama_files()[1]))
        assert model.dim == 256
        assert model.encode("a cat").shape == (256,)


@pytest.mark.parametrize("config", [{}, {"normalize": True}, {"max_length": 3}, {"max_length": None}], ids=str)
@pytest.mark.parametrize("beside", ["nothing", "weights", "mapping", "both"])
def test_folders_of_model2vec(model_folder, tmp_path, config, beside):
    from model2vec import StaticModel

    rng = np.random.default_rng(1)
    arrays = {"embeddings": rng.normal(size=(7, 6)).astype(np.float32)}
    if beside in ("mapping", "both"):
        arrays["embeddings"] = arrays["embeddings"][:4]
        arrays["mapping"] = rng.integers(4, size=7)
    if beside in ("weights", "both"):
        arrays["weights"] = rng.random(7).astype(np.float32)
    folder = model_folder(arrays, config=config)
    vecstore.convert(folder, tmp_path / "a.vecs", "f32")
    theirs = StaticModel.from_pretrained(folder)
    texts = ["a cat sat on the mat", "cat", "no known words", "", "cat dog cat"]
    with vecstore.open(tmp_path / "a.vecs") as store:
        store.verify(deep=True)
        np.testing.assert_allclose(Encoder(store).encode(texts), theirs.encode(texts), rtol=1e-5, atol=1e-6)


def test_a_table_of_whole_numbers_as_model2vec_writes_it(model_folder, tmp_path):
    from model2vec import StaticModel

    table = np.random.default_rng(2).integers(-127, 128, size=(7, 6)).astype(np.int8)
    folder = model_folder({"embeddings": table}, config={"normalize": True})
    vecstore.convert(folder, tmp_path / "a.vecs", "f32")
    texts = ["a cat sat on the mat", "cat", "the mat"]
    with vecstore.open(tmp_path / "a.vecs") as store:
        np.testing.assert_array_equal(np.asarray(store.vectors), table)
        theirs = StaticModel.from_pretrained(folder)
        np.testing.assert_allclose(Encoder(store).encode(texts), theirs.encode(texts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["flat", "nested"])
@pytest.mark.parametrize("normalizes", [False, True])
def test_folders_of_sentence_transformers(model_folder, tmp_path, kind, normalizes):
    folder = model_folder(kind=kind)
    modules = '[{"type": "sentence_transformers.models.StaticEmbedding"}, {"type": "x.Normalize"}]'
    (folder / "modules.json").write_text(modules if normalizes else "[]")
    import_static(folder, tmp_path / "a.vecs", "f32")
    with vecstore.open(tmp_path / "a.vecs") as store:
        table = np.asarray(store.vectors)
        expected = table[[1, 2, 0]].mean(axis=0)  # unknown words count
        expected = expected / np.linalg.norm(expected) if normalizes else expected
        np.testing.assert_allclose(Encoder(store).encode("a cat flew"), expected, rtol=1e-5)
        raw = Encoder(store).encode(["a cat flew"], normalize=False)
        np.testing.assert_allclose(raw[0], table[[1, 2, 0]].mean(axis=0), rtol=1e-5)


def test_weights_of_the_caller(model_folder, tmp_path):
    vecstore.convert(model_folder(), tmp_path / "a.vecs", "f32")
    with vecstore.open(tmp_path / "a.vecs") as store:
        weights = sif_weights(len(store))
        assert (np.diff(weights) > 0).all()
        found = Encoder(store, weights=weights).encode("a mat")
        table = np.asarray(store.vectors) * weights[:, None]
        np.testing.assert_allclose(found, table[[1, 6]].mean(axis=0), rtol=1e-5)
        with pytest.raises(ShapeError, match="7 rows"):
            Encoder(store, weights=[1.0])


def test_words_are_averaged_as_fasttext_does(tmp_path):
    import fasttext

    path = datapath("crime-and-punishment.bin")
    import_subwords(path, tmp_path / "a.vecs")
    model = fasttext.load_model(path)
    texts = ["the landlady said", "", "landlady   garret zzzzqq", "the"]
    expected = np.stack([model.get_sentence_vector(text) for text in texts])
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = Encoder(Words(store, unknown="store")).encode(texts)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("ngrams", "most"), [(1, 0), (2, 0), (3, 4), (5, 6)])
def test_word_ngrams_are_those_of_fasttexts_classifiers(tmp_path, ngrams, most):
    import fasttext

    # A model of words, said to be a classifier: its vectors are what a classifier's could be. Training one by the
    # wheel gives infinities at times.
    raw = bytearray(Path(datapath("crime-and-punishment.bin")).read_bytes())
    for place, value in {7: ngrams, 8: 3, 9: 3, 12: most}.items():  # wordNgrams, loss, model, maxn
        raw[4 * place : 4 * place + 4] = value.to_bytes(4, "little")
    (tmp_path / "a.bin").write_bytes(raw)
    import_subwords(tmp_path / "a.bin", tmp_path / "a.vecs")
    model = fasttext.load_model(str(tmp_path / "a.bin"))
    texts = ["the landlady said", "", "zzzz", "landlady   garret zzzzqq überzzz the", "the " * 30]
    expected = np.stack([model.get_sentence_vector(text) for text in texts])
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = Encoder(Words(store, unknown="store" if most else "skip"), ngrams=ngrams).encode(texts)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        with pytest.raises(OptionError, match="number of words"):
            Encoder(Words(store), ngrams=0)
        with pytest.raises(OptionError, match="without weights"):
            Encoder(Words(store), ngrams=2, weights=np.ones(len(store)))


def test_word_ngrams_need_a_table_of_them(make_store):
    with vecstore.open(make_store("f32")) as store, pytest.raises(OptionError, match="imported fastText"):
        Encoder(Words(store), ngrams=2)


def test_words_with_weights_and_unknown_ones(make_store):
    with vecstore.open(make_store("f32")) as store:
        weights = sif_weights(len(store))
        found = Encoder(Words(store, unknown="skip"), weights=weights).encode("the king zzzzz")
        units = [store[word] / np.linalg.norm(store[word]) for word in ("the", "king")]
        rows = store.rows_of(["the", "king"])
        np.testing.assert_allclose(found, (weights[rows][:, None] * units).mean(axis=0), rtol=1e-5)


def test_a_store_of_shards_and_a_shard_alone(model_folder, tmp_path):
    path = tmp_path / "a.vecs"
    vecstore.convert(model_folder(), path, "f32@3+f16")
    with vecstore.open(path) as store:
        assert Encoder(pickle.loads(pickle.dumps(store))).encode("a cat").shape == (6,)
    with (
        vecstore.open(path / "shard-00001.vecs") as shard,
        pytest.raises(vecstore.errors.CorruptError, match="open the whole store"),
    ):
        Encoder(shard)


def test_what_is_no_static_model(make_store):
    with vecstore.open(make_store("f32")) as store, pytest.raises(OptionError, match="import_static"):
        Encoder(store)
