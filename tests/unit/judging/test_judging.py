"""Analogies and word pairs, beside gensim on the same vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from samples import glove
from typer.testing import CliRunner

import vecstore
from vecstore.cli.app import app
from vecstore.errors import FormatError, OptionError
from vecstore.judging import analogies, pairs
from vecstore.judging.pairs import _ranks
from vecstore.words import Words

gensim = pytest.importorskip("gensim", reason="its wheel holds the questions, and its numbers are the oracle")
ROWS = 20_000


@pytest.fixture(scope="module")
def files():
    from gensim.test.utils import datapath

    return {name: datapath(name) for name in ("questions-words.txt", "wordsim353.tsv", "simlex999.txt")}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    vectors, keys = glove(ROWS)
    path = tmp_path_factory.mktemp("judged") / "words.vecs"
    vecstore.write(path, vectors, keys, "f32")
    return path


@pytest.fixture(scope="module")
def words(path):
    with vecstore.open(path) as store:
        yield Words(store, fold_case=True)


@pytest.fixture(scope="module")
def keyed():
    vectors, keys = glove(ROWS)
    made = gensim.models.KeyedVectors(50)
    made.add_vectors(keys, vectors)
    return made


@pytest.fixture
def some(tmp_path, files):
    """Return a file with every eleventh question."""
    with open(files["questions-words.txt"]) as file:
        lines = file.read().splitlines()
    kept = [line for at, line in enumerate(lines) if line.startswith(":") or at % 11 == 0]
    (tmp_path / "some.txt").write_text("\n".join(kept))
    return tmp_path / "some.txt"


def test_analogies_are_answered_as_gensim_answers_them(words, keyed, some):
    found = analogies(words, some, first=15_000)
    expected, sections = keyed.evaluate_word_analogies(str(some), restrict_vocab=15_000)
    assert found.accuracy == expected
    theirs = [(s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections[:-1]]
    assert [(s.name, s.correct, s.asked) for s in found.sections] == theirs
    assert 0 < found.coverage < 1


def test_other_methods(words, some):
    by_sum, by_product = analogies(words, some), analogies(words, some, "mul")
    assert by_product.total.asked == by_sum.total.asked
    assert abs(by_product.accuracy - by_sum.accuracy) < 0.1
    averaged = analogies(words, some, "average")
    assert averaged.total.asked < by_sum.total.asked
    assert averaged.accuracy > 0.3
    with pytest.raises(OptionError, match="average"):
        analogies(words, some, "sum")


def test_the_mean_offset_by_hand(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    keys = list("abcdefghi")
    vecstore.write(tmp_path / "w.vecs", x, keys, "f32")
    (tmp_path / "q.txt").write_text(": s\na b c d\nc d e f\ne f a b\na b e f\n")
    with vecstore.open(tmp_path / "w.vecs") as store:
        found = analogies(Words(store), tmp_path / "q.txt", "average")
        u = x / np.linalg.norm(x, axis=1, keepdims=True)
        offsets = u[[1, 3, 5]] - u[[0, 2, 4]]
        right = 0
        for at, c in enumerate((0, 2, 4)):
            scores = u @ (u[c] + np.delete(offsets, at, axis=0).mean(axis=0))
            scores[c] = -9
            right += int(np.argmax(scores) == c + 1)
        assert (found.total.correct, found.total.asked) == (right, 3)


@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
def test_pairs_are_correlated_as_gensim_does(words, keyed, files, name):
    found = pairs(words, files[name])
    pearson, spearman, missing = keyed.evaluate_word_pairs(files[name])
    assert found.pearson == pytest.approx(pearson[0], abs=1e-5)
    assert found.spearman == pytest.approx(spearman[0], abs=1e-5)
    assert 100 * (1 - found.coverage) == pytest.approx(missing)
    assert found.spearman_low < found.spearman < found.spearman_high


def test_equal_values_share_their_ranks():
    assert _ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]


def test_the_command_compares_stores(path, files, some):
    run = CliRunner().invoke(
        app, ["judge", str(path), str(path), "--analogies", str(some), "--pairs", files["simlex999.txt"]]
    )
    assert run.exit_code == 0, run.output
    assert "capital-common-countries" in run.output
    assert "Spearman" in run.output
    options = ["--pairs", files["wordsim353.tsv"], "--analogies", str(some), "--json"]
    found = json.loads(CliRunner().invoke(app, ["judge", str(path), *options]).output)
    assert found[0]["sections"][0]["name"] == "capital-common-countries"
    assert found[1]["spearman"] > 0.4


def test_what_is_refused(words, tmp_path):
    file = tmp_path / "bad.txt"
    for text, message in (("a b c\n", "four words"), ("", "no analogies"), (": only a name\n", "no analogies")):
        file.write_text(text)
        with pytest.raises(FormatError, match=message):
            analogies(words, file)
    for text, message in (
        ("# nothing\n", "no pairs"),
        ("the king 1\nthe\n", "line 2"),
        ("w1\tw2\tscore\n", "no pairs"),
    ):
        file.write_text(text)
        with pytest.raises(FormatError, match=message):
            pairs(words, file)
    file.write_text("the,king,1\nqqqq,king,2\n")
    with pytest.raises(OptionError, match="1 pairs"):
        pairs(words, file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="UTF-8"):
        pairs(words, file)
    run = CliRunner().invoke(app, ["judge", "words.vecs"])
    assert isinstance(run.exception, OptionError)
