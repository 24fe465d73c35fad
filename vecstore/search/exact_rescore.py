"""Exact rescore: what a scan of the fine layer would find, provably, from a scan of the coarse one and its bounds."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError
from vecstore.search.batch import Batch
from vecstore.search.found import Found, joined
from vecstore.search.scanner import Scanner
from vecstore.search.strategy import RangeStrategy
from vecstore.search.topk import TopK
from vecstore.shard.layer_distances import LayerDistances

__all__ = ["ExactRescore"]

RESCORED_AT_ONCE = 256
SEEDS = 4  # rows of the coarse layer scored for each one wanted before it is looked for what they missed


@dataclass(frozen=True)
class ExactRescore(RangeStrategy):
    """The best rows by the fine layer: none is passed over that its bound lets in.

    The coarse score of a row and how far its two layers lie apart bound its fine score.
    """

    def find(self, batch: Batch, k: int, floors: NDArray[np.float64]) -> TopK:
        scanners, scorers = batch.exact_scanners(), batch.scorers(-1)
        everything = np.full(len(floors), -np.inf)
        # The best of the coarse layer are scored first, for a threshold to start with.
        seeds = batch.best(scanners, min(k * SEEDS, batch.prepared.rows), everything).rows
        best = batch.score(seeds, k, scorers)
        search = Bounded(batch, scorers, seeds, best, floors, k)
        batch.reaching(scanners, batch.ranking.reaching(search.thresholds, largest_distance(batch)), search.take)
        return best.least(floors)

    def find_all(self, batch: Batch, floors: NDArray[np.float64]) -> Found:
        found: list[Found] = [[] for _ in floors]
        scorers, collecting = batch.scorers(-1), threading.Lock()

        def take(number: int, best: TopK) -> None:
            for query, size in enumerate(best.sizes):
                order = np.argsort(best.rows[query, :size])
                rows = best.rows[query, order]
                bounds = bounds_of(batch, number, query, best.scores[query, order], rows)
                rows = rows[bounds >= floors[query]]
                scores = scorers[number].of_rows(query, rows)
                kept = scores >= floors[query]
                with collecting:
                    batch.rescored[query] += len(rows)
                    found[query].append((scores[kept], rows[kept] + batch.prepared.edges[number]))

        batch.reaching(batch.exact_scanners(), batch.ranking.reaching(floors, largest_distance(batch)), take)
        return joined(found)


class Bounded:
    """The rows that a bound lets in, scored piece by piece, until no other can be among the best k.

    Attributes
    ----------
    thresholds : (q,) float64
        What a row has to score; rises as better ones are found.
    """

    def __init__(
        self,
        batch: Batch,
        scorers: list[Scanner],
        seeds: NDArray[np.int64],
        best: TopK,
        floors: NDArray[np.float64],
        k: int,
    ) -> None:
        self._batch, self._scorers, self._seeds, self._best, self._k = batch, scorers, seeds, best, k
        self.thresholds = np.maximum(floors, np.where(best.sizes == k, best.scores[:, -1], -np.inf))
        self._merging = threading.Lock()

    def take(self, number: int, found: TopK) -> None:
        """Score the rows of a piece of a section that may be among the best."""
        first = self._batch.prepared.edges[number]
        for query, size in enumerate(found.sizes):
            rows = found.rows[query, :size]
            fresh = ~np.isin(rows + first, self._seeds[query])
            rows, scores = rows[fresh], found.scores[query, :size][fresh]
            bounds = bounds_of(self._batch, number, query, scores, rows)
            order = np.argsort(-bounds, kind="stable")
            rows, bounds = rows[order], bounds[order]
            for at in range(0, len(rows), RESCORED_AT_ONCE):
                if bounds[at] < self.thresholds[query]:
                    break
                some = rows[at : at + RESCORED_AT_ONCE]
                self._score(number, query, some[bounds[at : at + RESCORED_AT_ONCE] >= self.thresholds[query]])

    def _score(self, number: int, query: int, rows: NDArray[np.int64]) -> None:
        new = TopK(1, min(self._k, len(rows)))
        new.put(0, self._scorers[number].of_rows(query, rows), rows + self._batch.prepared.edges[number])
        with self._merging:
            self._batch.rescored[query] += len(rows)
            own = self._best.of(query)
            own.merge(new)
            self._best.set(query, own)
            if own.sizes[0] == self._k:
                self.thresholds[query] = max(self.thresholds[query], own.scores[0, -1])


def bounds_of(
    batch: Batch, number: int, query: int, scores: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what rows (n,) of a section can score at most by the fine layer, of coarse scores (n,)."""
    return batch.ranking.bound(query, scores, layer_distances(batch, number).of(rows))


def layer_distances(batch: Batch, number: int) -> LayerDistances:
    """Return how far the layers of a section's rows lie apart."""
    section = batch.prepared.sections[number]
    if section.layer_distances is None:
        shard = section.shards[0]
        again = "convert the dump again, or " if shard.prefix is None else ""
        raise OptionError(
            f"{shard.path}{'' if shard.prefix is None else ', truncated,'} does not keep how far its layers lie apart, "
            f"which exact scores need: {again}search with rescore= and without exact="
        )
    return section.layer_distances


def largest_distance(batch: Batch) -> float:
    """Return the largest distance of two layers of any row."""
    return max(layer_distances(batch, number).largest for number in range(len(batch.prepared.sections)))
