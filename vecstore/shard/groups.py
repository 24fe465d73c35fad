"""Take what belongs together out of an array, in one sort."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["groups"]


def groups(numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each number that occurs in (n,), and where: rising positions."""
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1, append=-1))
    for low, high in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        yield int(numbers[order[low]]), order[low:high]
