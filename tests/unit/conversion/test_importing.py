"""Tables that other libraries trained: lookups bit for bit as there."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import glove
from vecstore.formats.fasttext import read_fasttext, read_floret_text

import vecstore
from vecstore.conversion.importing import import_subwords
from vecstore.errors import FormatError, OptionError

MAGIC = 793712314


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Return a text of 11,000 different words."""
    words = glove(11_000)[1]
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    lines = [
        " ".join(words[i] for i in random.permutation(11_000)[start : start + 20]) for start in range(0, 11_000, 20)
    ]
    lines += [" ".join(words[start : start + 20]) for start in range(0, 11_000, 20)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def unknown() -> list[str]:
    """Return 10,000 words that are in no corpus."""
    random = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCéßжя中文🙂-'<>0123456789"))
    return ["".join(random.choice(letters, length)) + "~§~" for length in random.integers(0, 14, 10_000)]


def trained_by_floret(corpus: Path, path: Path, **options: Any) -> Any:
    floret = pytest.importorskip("floret")
    options = {"dim": 10, "minCount": 1, "epoch": 1, "thread": 1, "bucket": 3000, "lr": 0.01, "verbose": 0, **options}
    model = floret.train_unsupervised(str(corpus), **options)
    model.save_model(str(path))
    return model


def trained_for_fasttext(corpus: Path, path: Path, **options: Any) -> Any:
    """Return a model that gensim trained, as the fasttext library reads it: training in that library is not sound."""
    gensim = pytest.importorskip("gensim.models.fasttext")
    fasttext = pytest.importorskip("fasttext")
    sentences = [line.split() for line in corpus.read_text(encoding="utf-8").split("\n")]
    options = {"vector_size": 10, "min_count": 1, "epochs": 1, "workers": 1, "bucket": 3000, **options}
    model = gensim.FastText(sentences, **options)
    gensim.save_facebook_model(model, str(path))
    return fasttext.load_model(str(path))


def vectors_of(model: Any, words: list[str]) -> np.ndarray:
    return np.stack([model.get_word_vector(word) for word in words])


@pytest.mark.parametrize("options", [{"min_n": 3, "max_n": 5}, {"min_n": 1, "max_n": 3}, {"min_n": 9, "max_n": 8}])
def test_fasttext_models(corpus, unknown, tmp_path, options):
    model = trained_for_fasttext(corpus, tmp_path / "m.bin", **options)
    words = model.get_words()
    assert import_subwords(tmp_path / "m.bin", tmp_path / "m.vecs") == len(words) > 10_000
    with vecstore.open(tmp_path / "m.vecs") as store:
        np.testing.assert_array_equal(store[words], vectors_of(model, words))
        np.testing.assert_array_equal(store[words[77]], model.get_word_vector(words[77]))
        found = store.lookup([*unknown, words[5]])
        assert found.known.sum() == 1 and found.known[-1]
        np.testing.assert_array_equal(found.vectors[:-1], vectors_of(model, unknown))
        np.testing.assert_array_equal(store.lookup([unknown[8]]).vectors[0], model.get_word_vector(unknown[8]))
        store.verify()


@pytest.mark.parametrize("hashes", [1, 2, 4])
def test_floret_models(corpus, unknown, tmp_path, hashes):
    model = trained_by_floret(corpus, tmp_path / "m.bin", mode="floret", hashCount=hashes, minn=2, maxn=5)
    words = [word for word in model.get_words() if word != "</s>"]
    assert import_subwords(tmp_path / "m.bin", tmp_path / "m.vecs") == len(words) > 10_000
    with vecstore.open(tmp_path / "m.vecs") as store:
        np.testing.assert_array_equal(store[words], vectors_of(model, words))
        np.testing.assert_array_equal(store.lookup(unknown).vectors, vectors_of(model, unknown))
        assert store.info()["bytes"]["code"] == [0]
        assert store.search(store[words[3]], 1, metric="l2").scores[0] == pytest.approx(0, abs=1e-5)


def test_floret_in_fasttext_mode(corpus, unknown, tmp_path):
    model = trained_by_floret(corpus, tmp_path / "m.bin", mode="fasttext", minn=3, maxn=4)
    import_subwords(tmp_path / "m.bin", tmp_path / "m.vecs")
    words = model.get_words()
    with vecstore.open(tmp_path / "m.vecs") as store:
        np.testing.assert_array_equal(store[words[:500]], vectors_of(model, words[:500]))
        np.testing.assert_array_equal(store.lookup(unknown[:500]).vectors, vectors_of(model, unknown[:500]))


def test_floret_text(corpus, unknown, tmp_path):
    """The text form holds the table in a few decimals; the sums are the same."""
    model = trained_by_floret(corpus, tmp_path / "m.bin", mode="floret", hashCount=2, minn=2, maxn=5)
    model.save_floret_vectors(str(tmp_path / "m.floret"))
    with pytest.raises(OptionError, match="give the keys"):
        import_subwords(tmp_path / "m.floret", tmp_path / "m.vecs")
    import_subwords(tmp_path / "m.floret", tmp_path / "m.vecs", keys=["king", "queen"])
    with vecstore.open(tmp_path / "m.vecs") as store:
        assert store.lookup(["king", "princess"]).known.tolist() == [True, False]
        np.testing.assert_allclose(store.lookup(unknown).vectors, vectors_of(model, unknown), atol=2e-5)


def old_form(path: Path) -> bytes:
    """Return a fastText file as it was before magic numbers: no magic and version, no pruning, no flag of codes."""
    data = path.read_bytes()
    dictionary = 64  # magic and version, then 12 integers and a double
    total, _, _, _ = struct.unpack_from("<3iq", data, dictionary)
    at = dictionary + 28
    for _ in range(total):
        at = data.index(b"\0", at) + 10
    return data[8:dictionary] + data[dictionary : dictionary + 20] + data[dictionary + 28 : at] + data[at + 1 :]


def test_files_from_before_the_magic_number(corpus, unknown, tmp_path):
    model = trained_for_fasttext(corpus, tmp_path / "m.bin", min_n=3, max_n=4)
    (tmp_path / "old.bin").write_bytes(old_form(tmp_path / "m.bin"))
    import_subwords(tmp_path / "old.bin", tmp_path / "m.vecs")
    words = model.get_words()
    with vecstore.open(tmp_path / "m.vecs") as store:
        np.testing.assert_array_equal(store[words], vectors_of(model, words))
        np.testing.assert_array_equal(store.lookup(unknown).vectors, vectors_of(model, unknown))


def test_version_11(corpus, tmp_path):
    model = trained_for_fasttext(corpus, tmp_path / "m.bin", min_n=3, max_n=4)
    data = bytearray((tmp_path / "m.bin").read_bytes())
    struct.pack_into("<i", data, 4, 11)
    (tmp_path / "m.bin").write_bytes(data)
    import_subwords(tmp_path / "m.bin", tmp_path / "m.vecs")
    with vecstore.open(tmp_path / "m.vecs") as store:
        np.testing.assert_array_equal(store["king"], model.get_word_vector("king"))
    struct.pack_into("<i", data, 4, 13)
    (tmp_path / "m.bin").write_bytes(data)
    with pytest.raises(FormatError, match="unknown version"):
        read_fasttext(tmp_path / "m.bin")


def test_damaged_models_are_refused(tmp_path):
    """Whatever bytes are changed or cut, reading raises FormatError or succeeds; it never crashes."""
    head = struct.pack("<14id", MAGIC, 12, 2, 5, 1, 1, 5, 1, 2, 1, 4, 3, 5, 100, 1e-4)
    words = b"".join(word + b"\0" + struct.pack("<qb", 3, 0) for word in (b"</s>", b"one", b"two"))
    matrix = np.arange(14, dtype="<f4").tobytes()
    whole = head + struct.pack("<3iqq", 3, 3, 0, 9, -1) + words + b"\0" + struct.pack("<qq", 7, 2) + matrix
    path = tmp_path / "m.bin"
    path.write_bytes(whole)
    assert read_fasttext(path).words == [b"</s>", b"one", b"two"]
    for size in range(0, len(whole), 3):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError):
            read_fasttext(path)
    for at in range(len(whole) - len(matrix)):
        for value in (0x00, 0x7F, 0xFF):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read_fasttext(path)
            except FormatError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    "text",
    [b"", b"2 3 1 2 1 0 < >", b"2 3 1 2 1 0 < >\n0 1 2 3\n", b"2 2 1 2 1 0 < >\n0 1 2\n1 1 x\n",
     b"2 2 1 2 1 0 < >\n0 1 2\n2 1 2\n", b"2 2 1 2 9 0 < >\n0 1 2\n1 1 2\n", b"2 2 1 2 1 0 < >\n0 1 2\n1 1 nan\n",
     b"2 2 1 2 1 0 < >\n0 1 2\n1 1 1e99\n"],
)  # fmt: skip
def test_malformed_floret_text(tmp_path, text):
    (tmp_path / "m.floret").write_bytes(text)
    with pytest.raises(FormatError):
        read_floret_text(tmp_path / "m.floret")


def test_hashes_with_and_without_compiled_code():
    """Of every length around the blocks that the hashes work in, and with characters of one to four bytes."""
    from vecstore.codecs.tables import subword_hashes as plain
    from vecstore.kernels import entries
    from vecstore.kernels import subwords as compiled

    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("aéß中🙂b"), length)).encode() for length in range(40)]
    for word in words:
        text = np.frombuffer(b"..." + word + b".", np.uint8)
        assert plain.murmur3(word, 5) == tuple(map(int, compiled.murmur3(text, 3, 3 + len(word), 5)))
        assert plain.fnv1a(word) == compiled.fnv1a(text, 3, 3 + len(word))
        starts = np.array([3, 3 + len(word)])
        number = np.empty(1, np.uint64)
        entries.string_numbers(text, starts, 0, number)
        assert plain.murmur2(word) == int(number[0])
        for options in ((3, 6, 1000, 0, 0, False), (1, 2, 1000, 3, 9, True), (2, 1, 10, 0, 0, False)):
            expected = plain.word_ids(word, *options)
            ids = np.empty(len(expected), np.int64)
            counts = np.empty(1, np.int64)
            assert entries.subword_ids(text, starts, *options, counts, ids) == len(expected) == counts[0]
            assert ids.tolist() == expected
