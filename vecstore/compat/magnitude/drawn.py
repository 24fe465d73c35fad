"""Vectors that are drawn from the letters of a key, with the numbers that Magnitude draws."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.codecs.base import Floats

__all__ = ["drawn_number", "drawn_text", "feature_dimensions"]

MARK = "\uf000"  # before and behind a key
BETWEEN = "\uf002"  # a namespace and a key
LONGEST = 6  # characters of an n-gram
RUN = re.compile(r"([^<])\1{2,}")
COLLISIONS = 0.001  # that are allowed among the values of a feature


def drawn_text(key: str, dimensions: int, namespace: str | None, *, ngrams: bool) -> NDArray[np.float64]:
    """Return the mean of what is drawn for each n-gram of a key, or what is drawn for the key: (d,).

    The key stands between marks, and runs of three and more equal letters count as two.
    """
    marked = RUN.sub(r"\1\1", MARK + key + MARK)
    pieces = [marked]
    if ngrams:
        pieces = [marked[at : at + n] for n in range(1, LONGEST + 1) for at in range(len(marked) - n + 1)]
    return np.mean([_drawn(piece, dimensions, namespace) for piece in pieces], axis=0)


def drawn_number(value: Any, dimensions: int, namespace: str | None) -> Floats:
    """Return what is drawn for the type of a value, with the value itself in the last place, very small: (d,)."""
    vector = _drawn(type(value).__name__, dimensions, namespace).astype(np.float32)
    vector[-1] = np.float32(value) / np.finfo(np.float32).max
    return vector


def feature_dimensions(values: int) -> int:
    """Return how many dimensions keep so many values of a feature apart."""
    return max(math.ceil(math.log(values**2 / (-2 * math.log(1 - COLLISIONS)), 100)), 2)


def _drawn(text: str, dimensions: int, namespace: str | None) -> NDArray[np.float64]:
    seeded = text if not namespace else namespace + BETWEEN + text
    random = np.random.RandomState(xxhash.xxh32_intdigest(seeded.encode()))
    return random.uniform(-1, 1, dimensions)
