"""What coding costs searches of a dense field: how far the best rows agree with those of the vectors as they were."""

from __future__ import annotations

from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.fields.dense.trained import TrainedDense

__all__ = ["agreement"]

QUERIES, BEST = 64, 10
LEAST_ROWS = 2 * BEST


def agreement(trained: TrainedDense, x: Floats) -> dict[str, Any]:
    """Return how many of the ten best rows are the same, by coded and by original vectors; nothing of too few rows.

    Parameters
    ----------
    trained : TrainedDense
    x : (n, d) float32
        Vectors of rows that training did not see. Some are queries; each is left out of what it is to find.
    """
    if len(x) < LEAST_ROWS:
        return {}
    x = trained.scaled(x)
    decoded = trained.codec.layers[-1].decode(trained.codec.layers[-1].encode(x))
    queries = np.arange(0, len(x), max(len(x) // QUERIES, 1))
    best = []
    for rows in (x, decoded):
        scores = x[queries] @ rows.T
        if trained.metric == "l2":
            scores = 2 * scores - (rows**2).sum(axis=1)
        scores[np.arange(len(queries)), queries] = -np.inf
        best.append(np.argsort(-scores, axis=1, kind="stable")[:, :BEST])
    same = np.mean([len(np.intersect1d(*both)) / BEST for both in zip(*best, strict=True)])
    return {"held_out_rows": len(x), "queries": len(queries), "agreement": round(float(same), 4), "at": BEST}
