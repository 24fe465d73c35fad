"""How far the words of one text have to travel to become those of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import require

__all__ = ["mover_distance"]


def mover_distance(
    a: Floats, b: Floats, a_weights: NDArray[np.floating], b_weights: NDArray[np.floating], *, relaxed: bool
) -> float:
    """Return the word mover's distance (Kusner et al., 2015) of vectors a (n, d) and b (m, d).

    Their weights sum to 1. Relaxed, every word travels to the nearest of the other text: a lower bound, the larger one
    of both directions, in the time of a matrix product.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    costs = np.sqrt(np.maximum((x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T, 0))
    if relaxed:
        return float(max(costs.min(axis=1) @ a_weights, costs.min(axis=0) @ b_weights))
    transport = require("ot", purpose="an exact mover_distance")
    return float(transport.emd2(a_weights.astype(np.float64), b_weights.astype(np.float64), costs))
