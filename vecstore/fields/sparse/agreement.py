"""What coding the weights costs: whether the best rows stay the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.fields.sparse.entries import Entries
from vecstore.fields.sparse.trained import TrainedSparse

__all__ = ["agreement", "products"]

MOST_ROWS, QUERIES, BEST = 4096, 64, 10
LEAST_ROWS = 50
QUERY_TERMS = 16


def agreement(trained: TrainedSparse, given: Entries, rng: np.random.Generator) -> dict[str, Any]:
    """Return how many of the ten best rows are the same, by coded and by original weights; nothing of too few rows.

    Some rows are searched for by the greatest 16 of their weights, each among the others of a sample. Nothing is
    trained on rows but the greatest weight of all, so any row will do.
    """
    n = len(given.indptr) - 1
    if n < LEAST_ROWS:
        return {}
    sample = given.take(np.sort(rng.choice(n, min(n, MOST_ROWS), replace=False)))
    rows = len(sample.indptr) - 1
    row_of = np.repeat(np.arange(rows), np.diff(sample.indptr))
    order = np.argsort(sample.terms, kind="stable")
    decoded = trained.decode(trained.encode(sample).codes)
    same = []
    for query in rng.choice(rows, min(rows, QUERIES), replace=False).tolist():
        own = slice(sample.indptr[query], sample.indptr[query + 1])
        heaviest = np.argsort(-sample.weights[own], kind="stable")[:QUERY_TERMS]
        best = []
        for weights in (sample.weights, decoded):
            asked = sample.terms[own][heaviest], sample.weights[own][heaviest]
            scores = products(sample.terms[order], row_of[order], weights[order], rows, *asked)
            scores[query] = -np.inf
            best.append(set(np.argsort(-scores, kind="stable")[:BEST].tolist()))
        same.append(len(best[0] & best[1]) / BEST)
    return {"rows": rows, "queries": len(same), "agreement": round(float(np.mean(same)), 4), "at": BEST}


def products(
    terms: NDArray[np.uint32],
    row_of: NDArray[np.int64],
    weights: NDArray[np.float32],
    rows: int,
    query_terms: Sequence[int] | NDArray[np.uint32],
    query_weights: Sequence[float] | NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the products of all rows, whose entries are given term by term, with a query: (rows,)."""
    scores = np.zeros(rows)
    for term, weight in zip(query_terms, query_weights, strict=True):
        low, high = np.searchsorted(terms, np.uint32(term)), np.searchsorted(terms, np.uint32(term), side="right")
        scores[row_of[low:high]] += float(weight) * weights[low:high]
    return scores
