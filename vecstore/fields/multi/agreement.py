"""What coding costs searches by token vectors: how far the best rows agree with those of the vectors as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.fields.multi.trained import TrainedMulti
from vecstore.fields.runs import starts_of

__all__ = ["agreement", "maxsim"]

QUERIES = 64
QUERY_VECTORS = 32
BEST = 10
LEAST_ITEMS = 2 * BEST


def agreement(trained: TrainedMulti, x: Floats, counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return how many of the ten best rows are the same, by coded and by original vectors; nothing of too few rows.

    Parameters
    ----------
    trained : TrainedMulti
    x : (T, d) float32
        The vectors of rows that training did not see, one row behind the other.
    counts : (n,) int64
        How many each has.

    Notes
    -----
    Rows are queries, by 32 of their vectors at most; each is left out of what it is to find.
    """
    counts = counts[counts > 0]
    if len(counts) < LEAST_ITEMS:
        return {}
    coded = trained.encode(x, counts)
    decoded, starts, same = trained.decode(coded.codes), starts_of(counts), []
    for query in range(0, len(counts), max(len(counts) // QUERIES, 1)):
        tokens = x[starts[query] : min(starts[query + 1], starts[query] + QUERY_VECTORS)]
        best: list[set[int]] = []
        for vectors, own in ((x, counts), (decoded, coded.counts)):
            scores = maxsim(tokens, vectors, own)
            scores[query] = -np.inf
            best.append(set(np.argsort(-scores, kind="stable")[:BEST].tolist()))
        same.append(len(best[0] & best[1]) / BEST)
    return {
        "held_out_rows": len(counts),
        "queries": len(same),
        "agreement": round(float(np.mean(same)), 4),
        "at": BEST,
    }


def maxsim(query: Floats, x: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the score of each item: the sum over the query's vectors of the largest product with one of the item's.

    Parameters
    ----------
    query : (q, d) float32
    x : (T, d) float32
    counts : (n,) int64
        How many vectors of `x` each item has; an item with none scores -inf.

    Returns
    -------
    (n,) float32

    Notes
    -----
    Khattab and Zaharia, ColBERT, 2020, equation 3.
    """
    out, there = np.full(len(counts), -np.inf, np.float32), counts > 0
    if there.any():
        starts = starts_of(counts[there])[:-1]
        out[there] = np.maximum.reduceat(query @ x.T, starts, axis=1).sum(axis=0)
    return out
