"""How many rows of a coarse layer have to be rescored, measured at conversion and kept in the store."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.kernels import entries
from vecstore.measure.fidelity import RAW
from vecstore.metric import Metric
from vecstore.search.oversampling import RECALLS
from vecstore.search.ranking import Ranking, raw_scores
from vecstore.search.topk import TopK

__all__ = ["measure_oversampling"]

SAFETY = 2  # real queries lie farther from the rows than held-out rows do
QUERIES, NEIGHBORS = 400, 10
SAMPLE_ROWS = 50_000  # more take longer and say the same
FEWEST_ROWS = 1000  # of a part of the rows, for a slope
PARTS = 4  # the slope is measured between all rows and one in so many
LEAST_SLOPE, MOST_SLOPE = 0.1, 1.0
SCORES_AT_ONCE = 1 << 23


def measure_oversampling(
    codec: Codec | MixedCodec, held_out: Floats, sample: Floats, *, rows: int, metric: Metric
) -> dict[str, int]:
    """Return how many rows for each one wanted a two-layer store has to rescore, by the recall that is to be reached.

    The ten rows that the fine layer puts nearest to each query are looked for in the order of the coarse layer. How
    deep they lie there grows with the number of rows, to a power that is measured on the sample and on a part of it.

    Parameters
    ----------
    held_out, sample : (n, d) float32
        Queries and rows in no order, of which 400 are asked and 50,000 are searched.
    rows : int
        Of the store.
    """
    queries = Ranking.of(metric, held_out[:QUERIES], unit_rows=False).queries
    sample = sample[:SAMPLE_ROWS]
    coarse, fine = codec.decoded(sample)
    found = factors(queries, coarse, fine, metric)
    part, grows = len(sample) // PARTS, np.full(len(RECALLS), MOST_SLOPE)
    if part >= FEWEST_ROWS:
        fewer = factors(queries, coarse[:part], fine[:part], metric)
        grows[:] = np.log(found / fewer).mean() / np.log(len(sample) / part)
    growth = max(rows / len(sample), 1) ** np.clip(grows, LEAST_SLOPE, MOST_SLOPE)
    return {
        str(recall): max(int(np.ceil(factor * SAFETY)), 1)
        for recall, factor in zip(RECALLS, found * growth, strict=True)
    }


def factors(queries: Floats, coarse: Floats, fine: Floats, metric: Metric) -> NDArray[np.float64]:
    """Return how deep in the coarse layer's order the fine layer's nearest rows lie, for each recall, a row wanted."""
    k, norms = min(NEIGHBORS, len(fine)), [np.einsum("ij,ij->i", x, x) for x in (coarse, fine)]
    depth = []
    step = max(SCORES_AT_ONCE // len(fine), 1)
    for at in range(0, len(queries), step):
        some = queries[at : at + step]
        by_coarse, by_fine = (
            raw_scores(RAW[metric], some @ x.T, squares) for x, squares in zip((coarse, fine), norms, strict=True)
        )
        nearest = TopK(len(by_fine), k)
        entries.offer_all(by_fine, np.arange(len(fine)), nearest.heap(np.full(len(by_fine), -np.inf)))
        thresholds = np.take_along_axis(by_coarse, nearest.rows, axis=1)
        # [query, i]: rows that the coarse layer puts before the i-th of those wanted, and that one
        depth += [
            [np.count_nonzero(own > one) + 1 for one in ones] for own, ones in zip(by_coarse, thresholds, strict=True)
        ]
    return np.quantile(depth, RECALLS) / k
