"""Real vectors for tests, from a package of the registry."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from vecstore.bench.demo import load_words


@cache
def glove(rows: int = 5000) -> tuple[np.ndarray, list[str]]:
    """Return the most frequent words' vectors, (rows, 50) float32 of lengths 2 to 10, and the words."""
    words = load_words(rows)
    return words.vectors, words.keys


def wordllama_files() -> tuple[Path, Path]:
    """Return the table of a static model, 32,000 tokens x 256, and its tokenizer."""
    found = importlib.util.find_spec("wordllama")  # importing it takes seconds
    assert found is not None and found.origin is not None, "pip install wordllama"
    folder = Path(found.origin).parent
    return folder / "weights/l2_supercat_256.safetensors", folder / "tokenizers/l2_supercat_tokenizer_config.json"
