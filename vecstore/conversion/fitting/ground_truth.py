"""The certificate of all rows: who asks, what shards find while they are encoded, and what that says of the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.checks import as_queries
from vecstore.conversion.tasks.options import ConversionOptions
from vecstore.measure.certificate import KS
from vecstore.measure.neighbours import Asking, Nearest
from vecstore.measure.recall import forecast
from vecstore.measure.sample import Sample
from vecstore.search.ranking import Ranking
from vecstore.shard.certificate import REAL_QUERIES, ROWS_AS_QUERIES, Certificate, Recall

__all__ = ["Gathered", "asking_of"]

MERGED = 8  # what so many shards found waits to be merged


def asking_of(options: ConversionOptions, sample: Sample) -> Asking | None:
    """Return who asks all rows of a store: of the sample those that training did not see, and real queries."""
    if not options.ground_truth:
        return None
    asking, real = sample.measured, options.request.queries
    queries, own = [asking.vectors[: options.ground_truth]], [asking.rows[: options.ground_truth]]
    if real is not None:
        given = as_queries(real, asking.vectors.shape[1])
        chosen = np.random.default_rng(options.seed).permutation(len(given))[: options.ground_truth]
        queries.append(given[np.sort(chosen)])
        own.append(np.full(len(chosen), -1))
    most = max(min(KS[-1], sample.total - 1), 1)
    return Asking(np.concatenate(queries), np.concatenate(own).astype(np.int64), options.metric, most)


class Gathered:
    """What shards found, merged as it comes: memory does not depend on how many there are."""

    def __init__(self, asking: Asking) -> None:
        self._asking, self._waiting = asking, list[Nearest]()

    def add(self, found: Nearest) -> None:
        """Take what one more shard found."""
        self._waiting.append(found)
        if len(self._waiting) == MERGED:
            self._waiting = [Nearest.merged(self._waiting)]

    def ground_truth(self) -> dict[str, NDArray[Any]]:
        """Return who asked, the numbers of the nearest rows, and their scores as searches give them."""
        asking, found = self._asking, Nearest.merged(self._waiting)
        ranking = Ranking.of(asking.metric, asking.queries, unit_rows=False)
        return {"asking": asking.own, "rows": found.rows, "scores": ranking.final(found.scores)}

    def certificate(self, sampled: Certificate, total: int, *, seed: int) -> Certificate:
        """Return a certificate that was measured on a sample, with the recall among all rows."""
        found, own = Nearest.merged(self._waiting), self._asking.own
        recall = _recall(found, own >= 0, ROWS_AS_QUERIES, total - 1, seed)
        real = _recall(found, own < 0, REAL_QUERIES, total, seed)
        return replace(sampled, recall=recall or sampled.recall, query_recall=real or sampled.query_recall)


def _recall(found: Nearest, asking: NDArray[np.bool_], by: str, base: int, seed: int) -> Recall | None:
    ks = [k for k in KS if k <= found.rows.shape[1]]
    if not asking.any() or base < 1:
        return None
    at = {k: forecast(found.recalls(k)[asking], k, seed=seed) for k in ks}
    return Recall(int(asking.sum()), base, at, by)
