"""Ranges of rows, (n, 2) int64 with the first and the end of each: cut where something begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ranges", "cut", "divided", "length_of", "rows_in", "spread", "without"]

Ranges = NDArray[np.int64]


def length_of(ranges: Ranges) -> int:
    """Return how many rows there are in ranges."""
    return int((ranges[:, 1] - ranges[:, 0]).sum())


def rows_in(ranges: Ranges) -> NDArray[np.int64]:
    """Return the rows that there are in ranges: (n,)."""
    lengths = ranges[:, 1] - ranges[:, 0]
    before = np.cumsum(lengths) - lengths
    return np.repeat(ranges[:, 0] - before, lengths) + np.arange(int(lengths.sum()))


def cut(ranges: Ranges, edges: NDArray[np.int64]) -> tuple[Ranges, NDArray[np.int64]]:
    """Cut ranges at edges (m + 1,), rising, that enclose them all.

    Returns
    -------
    (p, 2) int64, (p,) int64
        The pieces, and behind which of the edges each lies.
    """
    first = np.searchsorted(edges, ranges[:, 0], side="right") - 1
    counts = np.maximum(np.searchsorted(edges, ranges[:, 1], side="left") - first, 0)
    whole = np.repeat(np.arange(len(ranges)), counts)
    behind = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(len(whole))
    low, high = np.maximum(ranges[whole, 0], edges[behind]), np.minimum(ranges[whole, 1], edges[behind + 1])
    there = low < high
    return np.stack([low[there], high[there]], axis=1), behind[there]


def without(ranges: Ranges, gaps: Ranges) -> Ranges:
    """Return what is left of ranges without the rows of others, `gaps`, which rise and do not overlap."""
    if not len(ranges) or not len(gaps):
        return ranges
    low, high = min(ranges.min(), gaps.min()), max(ranges.max(), gaps.max())
    pieces, behind = cut(ranges, np.concatenate([[low], gaps.ravel(), [high]]))
    return pieces[behind % 2 == 0]


def divided(ranges: Ranges, size: int) -> list[Ranges]:
    """Divide ranges into lists of ranges that hold `size` rows each, the last one fewer."""
    if len(ranges) == 1:
        ((start, stop),) = ranges.tolist()
        return [np.array([[first, min(first + size, stop)]]) for first in range(start, stop, size)]
    ends = np.cumsum(ranges[:, 1] - ranges[:, 0])
    total = int(ends[-1]) if len(ends) else 0
    if total <= size:
        return [ranges] if total else []
    before = ends - (ranges[:, 1] - ranges[:, 0])  # how many rows lie before each: they are cut as these are counted
    counted, part = cut(np.stack([before, ends], axis=1), np.arange(0, total + size, size))
    pieces = counted + (ranges[:, 0] - before)[np.searchsorted(before, counted[:, 0], side="right") - 1, None]
    return np.split(pieces, np.flatnonzero(np.diff(part)) + 1)


def spread(ranges: Ranges, runs: int, size: int) -> Ranges:
    """Return runs of up to `size` rows, evenly spread over those of some ranges; there are 2 * runs * size at least."""
    lengths = ranges[:, 1] - ranges[:, 0]
    ends = np.cumsum(lengths)
    at = np.arange(runs) * (int(ends[-1]) // runs)
    own = np.searchsorted(ends, at, side="right")
    first = ranges[own, 0] + at - (ends - lengths)[own]
    return np.stack([first, np.minimum(first + size, ranges[own, 1])], axis=1)
