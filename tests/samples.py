"""Real vectors for tests, from a package of the registry."""

from __future__ import annotations

from functools import cache

import numpy as np
from vecstore.bench.demo import load_words


@cache
def glove(rows: int = 5000) -> tuple[np.ndarray, list[str]]:
    """Return the most frequent words' vectors, (rows, 50) float32 of lengths 2 to 10, and the words."""
    words = load_words(rows)
    return words.vectors, words.keys
