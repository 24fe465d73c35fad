"""Exhaustive search of one shard on its codes, and rescoring from its fine layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.scoring import LayerScorer, metric_scores
from vecstore.shard import Metric, Shard
from vecstore.topk import TopK

__all__ = ["OVERSAMPLE", "SearchResult", "search_shard"]

OVERSAMPLE = 32  # rows rescored for each one wanted, where neither the caller nor the store says
SCAN_BYTES = 8 * 1024 * 1024  # of float32 that one step of a scan may hold
QUERIES_AT_ONCE = 64


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first.

    For one query (a vector) every field has length k; for a batch, one such row a query. k is smaller than asked
    when the store has fewer rows.

    Attributes
    ----------
    keys : list of keys, or list of such lists
        Row numbers in a store without keys.
    rows : (k,) or (q, k) int64
    scores : (k,) or (q, k) float32
        Cosine, dot product or squared Euclidean distance, as the store's metric says.
    """

    keys: list[Any]
    rows: NDArray[np.int64]
    scores: Floats


def search_shard(shard: Shard, queries: Floats, k: int, *, metric: Metric, oversample: int | None) -> TopK:
    """Return the k best rows of a shard for each query (q, d), scores such that larger is better.

    With one layer the result is exact for the codec: what a scan of the decoded vectors gives. With two, the best
    `oversample` * k rows by the coarse layer are scored again from the fine one; 0 leaves the coarse scores, None
    takes what was measured at conversion.
    """
    if oversample is None:
        measured = shard.description.get("fidelity")
        found = measured.get("oversample") if isinstance(measured, dict) else None
        oversample = found if isinstance(found, int) and found > 0 else OVERSAMPLE
    two_step = len(shard.layers) > 1 and oversample > 0
    best = _scan(shard, queries, min(k * oversample, shard.rows) if two_step else k, metric)
    return _rescore(shard, queries, best.rows, k, metric) if two_step else best


def _scan(shard: Shard, queries: Floats, k: int, metric: Metric) -> TopK:
    codes = shard.layers[0]
    best = TopK(len(queries), k)
    step = max(SCAN_BYTES // (4 * max(codes.layer.quantizer.dimensions, len(queries))), 64)
    scorer = LayerScorer(codes.layer, queries, metric, fixed_lengths=shard.fixes_lengths)
    for first, block in codes.blocks():
        for start in range(0, len(block), step):
            piece = block[start : start + step]
            rows = np.arange(first + start, first + start + len(piece))
            lengths = shard.lengths(rows) if shard.fixes_lengths else None
            best.offer(scorer.score(piece, rows, lengths), rows)
    return best


def _rescore(shard: Shard, queries: Floats, candidates: NDArray[np.int64], k: int, metric: Metric) -> TopK:
    best = TopK(len(queries), k)
    for query, rows in enumerate(candidates):
        rows = np.sort(rows[rows >= 0])
        if len(rows):
            x = shard.vectors(rows)
            norms = np.einsum("ij,ij->i", x, x)
            own = queries[query : query + 1]
            scores = metric_scores(own @ x.T, norms, own, metric, None)
            best.merge(query, scores[0], rows)
    return best
