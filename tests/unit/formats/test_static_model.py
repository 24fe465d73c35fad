"""Folders of static models that are damaged, or none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from vecstore.bench.scripts.mutations import reseal

import vecstore
from vecstore.container.container import Container
from vecstore.errors import CorruptError, FormatError, OptionError
from vecstore.sentences import Encoder, import_static

VOCABULARY = {"[UNK]": 0, "a": 1, "b": 2}


def folder(tmp_path: Path, *, vocabulary=VOCABULARY, tensors=None, tokenizer=None, **config) -> Path:
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary}
    whole = {"version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"}, "added_tokens": [], "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole) if tokenizer is None else tokenizer)
    (tmp_path / "config.json").write_text(json.dumps(config))
    table = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    save_file({"embeddings": table} if tensors is None else tensors, tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vocabulary": {"a": 3}}, "no row for some tokens"),
        ({"vocabulary": {}}, "no row for some tokens"),
        ({"vocabulary": {"a": "1"}}, "no tokenizer"),
        ({"vocabulary": {"a": 1 << 40}}, "no tokenizer"),
        ({"vocabulary": "abc"}, "no tokenizer"),
        ({"vocabulary": [1, 2]}, "no tokenizer"),
        ({"tokenizer": "[]"}, "another kind of JSON"),
        ({"tokenizer": "{"}, "no JSON"),
        ({"tokenizer": "{}"}, "no tokenizer"),
        ({"tensors": {"x": np.zeros((3, 4), np.int32)}}, "no table of numbers"),
        ({"tensors": {"embeddings": np.zeros(3, np.float32)}}, "no table of numbers"),
        ({"tensors": {"a": np.zeros((3, 4), "f4"), "b": np.zeros((3, 4), "f4")}}, "no table of numbers"),
        ({"tensors": {"embeddings": np.zeros((3, 4), "f4"), "weights": np.zeros(2, "f4")}}, "malformed weights"),
        ({"tensors": {"embeddings": np.zeros((3, 4), "f4"), "mapping": np.array([0, 1, 3])}}, "no row for some"),
        ({"tensors": {"embeddings": np.zeros((3, 4), "f4"), "mapping": np.array([0, 1, -1])}}, "no row for some"),
    ],
)
def test_what_is_refused(tmp_path, given, message):
    with pytest.raises(FormatError, match=message):
        import_static(folder(tmp_path, **given), tmp_path / "a.vecs")
    assert not (tmp_path / "a.vecs").exists()


def test_an_empty_folder(tmp_path):
    with pytest.raises(FormatError, match="no static model"):
        import_static(tmp_path, tmp_path / "a.vecs")
    with pytest.raises(FormatError, match="an empty directory"):
        vecstore.convert(tmp_path, tmp_path / "a.vecs")


def test_pieces_of_a_unigram_model_and_added_tokens(tmp_path):
    source = folder(tmp_path, vocabulary=[["<unk>", 0.0], ["a", -1.0]])
    dump = vecstore.formats.open_dump(source)
    assert (dump.rows, dump.dimensions, dump.format, dump.model.tokens.count) == (3, 4, "static-model", 2)


def test_no_row_is_left_out_or_moved(tmp_path):
    source = folder(tmp_path)
    for options in ({"on_bad": "skip"}, {"importance": [1, 2, 3]}):
        with pytest.raises(OptionError, match="none is left out"):
            vecstore.convert(source, tmp_path / "a.vecs", "f32", **options)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 0},
        {"tokens": 4},
        {"tokens": "3"},
        {"tokenizer_bytes": 10},
        {"tokenizer_bytes": 1 << 30},
        {"weights": True},
        {"rows": True},
        {"normalize": 1},
        {"skip": [3]},
        {"skip": 0},
        {"max_tokens": 0},
        {"max_characters": -1},
    ],
    ids=str,
)
def test_numbers_of_a_file_are_not_trusted(tmp_path, change):
    path = tmp_path / "a.vecs"
    vecstore.convert(folder(tmp_path), path, "f32")
    description = Container(path).description
    description["static"] |= change
    reseal(path, description)
    with vecstore.open(path) as store:
        assert store.vectors[1].shape == (4,)  # lookups do not need it
        with pytest.raises(CorruptError):
            Encoder(store)
        if change != {"tokens": 4}:
            with pytest.raises(CorruptError):
                store.verify()
