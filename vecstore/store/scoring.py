"""Scores of many rows for each query, by decoding them block by block."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_array
from vecstore.errors import OptionError
from vecstore.metric import METRICS, Metric
from vecstore.parallel import over_items
from vecstore.search.options import SearchOptions
from vecstore.search.ranking import Ranking, raw_scores
from vecstore.search.selection import as_numbers
from vecstore.store.searching import as_queries, refuse_foreign_rows
from vecstore.store.snapshot import Snapshot

__all__ = ["scores"]

BLOCK_NUMBERS = 1 << 18  # decoded at once: 1 MiB, which stays in a processor's cache
FEW = 8  # queries that are multiplied one by one


def scores(snapshot: Snapshot, queries: ArrayLike, rows: ArrayLike | None, metric: Metric) -> Floats:
    """Return the score of each row for a query (n,), or for each of a batch (q, n); see `Store.scores`."""
    if metric not in METRICS:
        raise OptionError(f"scores are by {', '.join(METRICS)}; found {metric!r}")
    refuse_foreign_rows(snapshot, SearchOptions(metric=metric, rows=rows))
    given = as_array(queries)
    ranking = Ranking.of(metric, as_queries(snapshot, given), unit_rows=False)
    chosen = None if rows is None else as_numbers(snapshot.rows, rows, "rows")
    out = np.empty((len(ranking.queries), snapshot.rows if chosen is None else len(chosen)), np.float32)

    def over(piece: slice) -> None:
        vectors = snapshot.vector_range(piece.start, piece.stop) if chosen is None else snapshot.vectors(chosen[piece])
        norms = np.einsum("ij,ij->i", vectors, vectors)
        raw = raw_scores(ranking.raw, _products(ranking.queries, vectors), norms)
        out[:, piece] = ranking.final(np.asarray(raw, np.float64))

    # A matrix product has threads of its own, which wait for each other where several of it are at work.
    pieces = _pieces(snapshot, out.shape[1])
    if len(out) <= FEW:
        over_items(over, pieces)
    else:
        for piece in pieces:
            over(piece)
    out[:, snapshot.dead.rows if chosen is None else snapshot.dead.mark(chosen)] = -np.inf
    if metric == "l2":
        np.negative(out, out=out)
    return out[0] if given.ndim == 1 else out


def _pieces(snapshot: Snapshot, rows: int) -> list[slice]:
    """Return parts of rows that are decoded at once.

    In the first file none lies in two blocks of codes: what two blocks decode to is copied.
    """
    block = max(int(snapshot.shards[0].layers[-1].part.block_rows), 1)
    parts = max(block * snapshot.dimensions // BLOCK_NUMBERS, 1)
    edges = [start + block * part // parts for start in range(0, rows, block) for part in range(parts)]
    return [slice(start, min(end, rows)) for start, end in pairwise([*edges, rows]) if start < rows]


def _products(queries: Floats, vectors: Floats) -> Floats:
    if len(queries) > FEW:
        return queries @ vectors.T
    return np.stack([np.einsum("ij,j->i", vectors, query) for query in queries])
