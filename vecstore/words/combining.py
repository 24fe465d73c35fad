"""Searches of words: sums of vectors, products of similarities, and the words of a query left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.search.result import SearchResult
from vecstore.search.topk import TopK
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store
from vecstore.words.mixtures import Mixtures

__all__ = ["by_products", "products", "result_of", "without"]

EPSILON = 1e-6  # added to what is divided by


def by_products(
    store: Store, mixtures: Mixtures, k: int, rows: NDArray[np.int64] | None, min_score: float | None
) -> SearchResult:
    """Return the best rows by 3CosMul (Levy & Goldberg, 2014).

    Similarities are moved to 0..1 and raised to the power of the weights. The product of those with positive weights is
    divided by the product of the others, plus 1e-6.
    """
    numbers = np.arange(len(store.vectors)) if rows is None else np.asarray(rows)
    best = TopK(len(mixtures), min(k, len(numbers)))
    for query, (start, end) in enumerate(pairwise(mixtures.indptr.tolist())):
        similar = store.scores(mixtures.vectors[start:end], rows, metric="cosine")
        scores = products(np.maximum((1 + similar) / 2, 0), mixtures.weights[start:end])
        scores[np.isneginf(similar[0])] = -np.inf  # deleted rows
        kept = np.flatnonzero(scores >= (np.finfo(np.float32).min if min_score is None else min_score))
        if len(kept) > best.k:
            kept = kept[np.argpartition(-scores[kept], best.k - 1)[: best.k]]
        best.put(query, scores[kept].astype(np.float64), numbers[kept])
    return result_of(store, best.rows, best.scores.astype(np.float32))


def products(similar: Floats, weights: Floats) -> Floats:
    """Return the products (n,) of similarities (t, n), those of negative weights in the divisor."""
    powers = similar if (np.abs(weights) == 1).all() else similar ** np.abs(weights)[:, None]
    products = powers[weights >= 0].prod(axis=0)
    return products / (powers[weights < 0].prod(axis=0) + EPSILON) if (weights < 0).any() else products


def without(found: SearchResult, rows: Sequence[NDArray[np.int64]], k: int) -> SearchResult:
    """Return the best k of each query of a batch, without some rows of its own."""
    kept = np.asarray(found.rows >= 0)
    for query, own in enumerate(rows):
        if len(own):
            kept[query] &= (found.rows[query][:, None] != own).all(axis=1)
    kept &= np.cumsum(kept, axis=1) <= k
    width = int(kept.sum(axis=1).max(initial=0))
    order = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    filled = np.take_along_axis(kept, order, axis=1)
    keys = [[key for key, keep in zip(*pair, strict=False) if keep] for pair in zip(found.keys, kept, strict=True)]
    return SearchResult(
        keys,
        np.where(filled, np.take_along_axis(np.asarray(found.rows), order, axis=1), -1).view(type(found.rows)),
        np.where(filled, np.take_along_axis(found.scores, order, axis=1), np.float32(np.nan)),
        found.rescored,
    )


def result_of(store: Store, rows: NDArray[np.int64], scores: Floats) -> SearchResult:
    """Return rows (q, k), -1 for none, and their scores as the result of a search."""
    snapshot = snapshot_of(store)
    keys = [snapshot.keys_of(own[own >= 0]) for own in rows]
    scores = np.where(rows >= 0, scores, np.float32(np.nan))
    return SearchResult(keys, snapshot.own(rows), scores, np.zeros(len(rows), np.int64))
