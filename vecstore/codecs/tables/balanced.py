"""Numbers for rows, such that alike rows have numbers close together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.dataset import Dataset
from vecstore.codecs.transforms.pca import principal_axes

__all__ = ["balanced_slots"]

AXES = 16  # principal components that decide; the rest of a vector is not kept in memory


def balanced_slots(dataset: Dataset, group: int) -> NDArray[np.int64]:
    """Return a permutation of the rows, (total,) int64, whose runs of `group` numbers hold rows that are alike.

    Rows are halved at the median of the component along which they vary most, again and again (a k-d tree: Bentley,
    Communications of the ACM 18, 1975), cut at multiples of `group`.
    """
    first = next(dataset.blocks()).vectors
    mean, axes, _ = principal_axes(first, min(AXES, first.shape[1]))
    z = np.concatenate([(block.vectors - mean) @ axes.T for block in dataset.blocks()])
    order = np.arange(len(z))
    pending = [(0, len(z))]
    while pending:
        low, high = pending.pop()
        if high - low <= group:
            continue
        rows = order[low:high]
        values = z[rows, int(z[rows].var(axis=0).argmax())]
        middle = max((high - low) // 2 // group, 1) * group
        order[low:high] = rows[np.argpartition(values, middle - 1)]
        pending += [(low, low + middle), (low + middle, high)]
    slots = np.empty(len(z), np.int64)
    slots[order] = np.arange(len(z))
    return slots
