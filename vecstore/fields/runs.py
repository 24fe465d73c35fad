"""Rows of several members each, one behind the other: where those of a row begin, and which they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["spread", "starts_of"]


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where runs of so many begin, and where the last one ends: (n + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def spread(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of all members of runs, run after run: (sum of counts,)."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - counts), counts) + np.arange(total)
