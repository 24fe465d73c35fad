"""Static models of sentences for tests: the one of the package wordllama, and small ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from samples import wordllama_files

from vecstore.sentences import import_static

WORDS = ["[UNK]", "a", "cat", "sat", "on", "the", "mat"]


@pytest.fixture(scope="session")
def wordllama(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that converts wordllama's table with a codec and gives the store's path."""
    folder = tmp_path_factory.mktemp("wordllama")

    def path(codec: str) -> Path:
        found = folder / f"{codec}.vecs"
        if not found.exists():
            table, tokenizer = wordllama_files()
            import_static(table, found, codec, tokenizer=tokenizer)
        return found

    return path


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a folder as model2vec or sentence-transformers do."""

    def write(
        arrays: dict[str, np.ndarray] | None = None, *, config: dict | None = None, kind: str = "model2vec", **model
    ) -> Path:
        folder = tmp_path / "model"
        inner = folder / "0_StaticEmbedding" if kind == "nested" else folder
        inner.mkdir(parents=True, exist_ok=True)
        model = {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "[UNK]"} | model
        tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": model}
        (inner / "tokenizer.json").write_text(json.dumps(tokenizer))
        table = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
        name = "embeddings" if kind == "model2vec" else "embedding.weight"
        save_file({name: table} if arrays is None else arrays, inner / "model.safetensors")
        settings = "config.json" if kind == "model2vec" else "config_sentence_transformers.json"
        (folder / settings).write_text(json.dumps(config or {}))
        return folder

    return write
