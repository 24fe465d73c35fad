"""Which of several measured codecs to take: the one that keeps most, or one that costs less and keeps as much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Measured", "choose", "keeps_as_much"]

SAME_BYTES = 1.01  # files that differ by no more than 1% are as large as each other


@dataclass(frozen=True, eq=False)
class Measured:
    """What a choice looks at.

    Attributes
    ----------
    recalls : (q,) float64
        Recall of each query; the same queries for all that are compared.
    row_bytes : float
        What a row takes in the file, with all that it shares out over the rows.
    speed : float
        Larger is faster; compared only with others of the same choice.
    """

    recalls: NDArray[np.float64]
    row_bytes: float
    speed: float


def choose(found: Sequence[Measured]) -> int:
    """Return the place of the one to take.

    Recall decides, as far as the queries can tell: whatever falls short of the best by no more than one standard error
    of the difference, query by query, keeps as much (the one-standard-error rule: Breiman, Friedman, Olshen & Stone,
    Classification and Regression Trees, 1984, section 3.4.3). Of these the smallest file is taken; of files of the same
    size, within 1%, the fastest; and then the one of most recall.

    Parameters
    ----------
    found : sequence of Measured
        One or more.

    Examples
    --------
    >>> recalls = np.array([0.9, 0.7, 0.8, 1.0])
    >>> larger, smaller = Measured(recalls, 64.0, 1.0), Measured(recalls[::-1], 48.0, 1.0)
    >>> choose([larger, smaller])
    1
    """
    means = [float(one.recalls.mean()) for one in found]
    best = found[int(np.argmax(means))]
    tied = [at for at, one in enumerate(found) if keeps_as_much(one.recalls, best.recalls)]
    smallest = min(found[at].row_bytes for at in tied)
    small = [at for at in tied if found[at].row_bytes <= SAME_BYTES * smallest]
    return max(small, key=lambda at: (found[at].speed, means[at]))


def keeps_as_much(recalls: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Return whether recalls fall short of the best by no more than one standard error; both (q,)."""
    behind = best - recalls
    error = behind.std(ddof=1) / np.sqrt(len(behind)) if len(behind) > 1 else 0.0
    return bool(behind.mean() <= error)
