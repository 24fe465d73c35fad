"""All rows that reach a score: what pieces of the rows give for each query, and that together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "joined"]

Found: TypeAlias = list[tuple[NDArray[np.float64], NDArray[np.int64]]]  # raw scores and rows of each query


def joined(pieces: Sequence[Found]) -> Found:
    """Return what pieces of the rows gave for each query (q lists of scores and rows) as one pair for each."""
    none = np.empty(0), np.empty(0, np.int64)  # where no piece has a row that may be found
    every = [own or [none] for own in pieces]
    return [(np.concatenate([s for s, _ in own]), np.concatenate([r for _, r in own])) for own in every]
