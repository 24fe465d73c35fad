"""What is kept of a codec under test: neighbours and scores as they came, from which all metrics are computed later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.geometry import geometry_of, occurrences
from vecstore.bench.split import AT_ONCE, DEPTH, Split, exact_scores

from vecstore.codecs.transforms.normalize import unit
from vecstore.metric import Metric

__all__ = ["CLOSE", "Engine", "Observation", "observe", "sampled_rows"]

Floats: TypeAlias = NDArray[np.float32]
CLOSE = 1e-4  # scores that differ by less, relative to the largest, are ties to float32 sums in another order
ASKED_ROWS = 500  # base rows whose own neighbours are compared before and after
OCCURRENCE_ROWS = 2_000  # rows among which k-occurrences are counted
K = 10


class Engine(Protocol):
    """Something that holds the base rows, compressed."""

    def search(self, queries: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the k best base rows of each query and their scores, best first, larger being better; -1: none."""

    def decode(self) -> Floats | None:
        """Return all base rows as they are kept, (n, d), or None where that cannot be had."""


@dataclass(frozen=True)
class Observation:
    """Raw results.

    Attributes
    ----------
    queries : dict
        Column -> one value or list a query: ``found`` and ``found_scores`` as the engine gave them,
        ``found_exact`` (scores of the same rows before compression); where rows can be decoded also
        ``truth_scores`` (of the true neighbours), ``truth_ranks`` (how many rows score higher than each of the ten
        nearest), ``random_exact`` and ``random_scores``, ``relevant_ranks``.
    rows : dict
        Column -> one value a base row: ``cosine`` to what it was, ``squared_error``.
    asked : dict
        Column -> one list a sampled base row: its ``neighbours`` among all, from the decoded vectors.
    facts : dict
        Geometry of the decoded vectors, and the audit.
    """

    queries: dict[str, Any]
    rows: dict[str, Any]
    asked: dict[str, Any]
    facts: dict[str, Any]


def observe(engine: Engine, split: Split) -> Observation:
    """Ask an engine all that the metrics need."""
    queries, base = np.asarray(split.queries), np.asarray(split.base)
    depth = min(DEPTH, len(base))
    found, scores = engine.search(queries, depth)
    columns: dict[str, Any] = {
        "found": found.astype(np.int32),
        "found_scores": scores.astype(np.float32),
        "found_exact": _pair_scores(queries, base, found, split.metric),
        "random_exact": _pair_scores(queries, base, np.asarray(split.random), split.metric),
    }
    decoded = engine.decode()
    if decoded is None:
        return Observation(columns, {}, {}, {})
    ranks, audit = _against_all(split, decoded, found, scores)
    columns |= {
        "truth_scores": _pair_scores(queries, decoded, np.asarray(split.truth), split.metric),
        "random_scores": _pair_scores(queries, decoded, np.asarray(split.random), split.metric),
        **ranks,
    }
    lengths = np.linalg.norm(base, axis=1) * np.linalg.norm(decoded, axis=1)
    cosines = np.einsum("ij,ij->i", base, decoded) / np.where(lengths > 0, lengths, 1)
    rows = {"cosine": cosines, "squared_error": ((base - decoded) ** 2).sum(axis=1)}
    return Observation(columns, rows, {"neighbours": own_neighbours(decoded)}, {"audit": audit, **geometry(decoded)})


def own_neighbours(x: Floats) -> NDArray[np.int32]:
    """Return the K nearest other rows, by cosine, of some sampled rows: (sample, K)."""
    asked = sampled_rows(len(x), ASKED_ROWS)
    scaled = unit(x)
    found = np.empty((len(asked), min(K, len(x) - 1)), np.int32)
    for start in range(0, len(asked), AT_ONCE):
        own = asked[start : start + AT_ONCE]
        scores = scaled[own] @ scaled.T
        scores[np.arange(len(own)), own] = -np.inf
        found[start : start + AT_ONCE] = np.argpartition(-scores, found.shape[1] - 1, axis=1)[:, : found.shape[1]]
    return found


def geometry(x: Floats) -> dict[str, Any]:
    """Return the shape of a cloud of vectors, by a sample: what `geometry_of` says, and k-occurrences."""
    sample = x[sampled_rows(len(x), OCCURRENCE_ROWS)]
    return {"geometry": geometry_of(x), "occurrences": occurrences(unit(sample), K).tolist()}


def sampled_rows(n: int, count: int) -> NDArray[np.int64]:
    """Return `count` rows of n, rising, always the same."""
    return np.sort(np.random.default_rng(n).choice(n, min(count, n), replace=False))


def _pair_scores(queries: Floats, x: Floats, rows: NDArray[Any], metric: Metric) -> Floats:
    """Return the score of rows[q, i] for query q; NaN where there is no row."""
    out = np.full(rows.shape, np.nan, np.float32)
    for query, own in enumerate(rows):
        there = own >= 0
        out[query, there] = exact_scores(queries[query : query + 1], x[own[there]], metric)[0]
    return out


def _against_all(
    split: Split, decoded: Floats, found: NDArray[np.int64], scores: Floats
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ranks among all decoded rows, and whether the engine's answers are what those rows say."""
    queries, truth = np.asarray(split.queries), np.asarray(split.truth)[:, :K]
    relevant = _relevant(split)
    ranks = np.empty(truth.shape, np.int32)
    relevant_ranks: list[list[int]] = []
    misplaced, wrong_scores, recomputed = 0, 0, []
    for start in range(0, len(queries), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        all_scores = exact_scores(queries[part], decoded, split.metric)
        best = np.argpartition(-all_scores, truth.shape[1] - 1, axis=1)[:, : truth.shape[1]]
        slack = CLOSE * max(float(np.abs(all_scores).max(initial=0)), 1e-30)
        for line, query in enumerate(range(start, start + len(all_scores))):
            own, own_found = all_scores[line], found[query][found[query] >= 0]
            ranks[query] = (own[:, None] > own[truth[query]]).sum(axis=0)
            relevant_ranks.append([int((own > own[row]).sum()) for row in relevant[query]])
            recomputed.append(np.isin(truth[query], best[line]).mean())
            top = own_found[: truth.shape[1]]
            misplaced += int((own[top] < own[best[line]].min() - slack).sum())
            wrong_scores += int((np.abs(own[top] - scores[query][: len(top)]) > slack).sum())
    own_recall = np.mean([np.isin(t, f[: len(t)]).mean() for t, f in zip(truth, found, strict=True)])
    audit = {
        "recall": float(own_recall),
        "recall_of_decoded": float(np.mean(recomputed)),
        "misplaced": misplaced,
        "wrong_scores": wrong_scores,
        "checked": int(truth.size),
    }
    columns: dict[str, Any] = {"truth_ranks": ranks}
    if split.judgements is not None:
        columns["relevant_ranks"] = relevant_ranks
    return columns, audit


def _relevant(split: Split) -> Sequence[Sequence[int]]:
    found: list[list[int]] = [[] for _ in range(len(split.queries))]
    for query, row, _ in [] if split.judgements is None else np.asarray(split.judgements).tolist():
        found[query].append(row)
    return found
