"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats

__all__ = ["SearchResult"]


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first.

    For one query (a vector) every field has length k; for a batch, one such row a query. k is smaller than asked
    when there are fewer rows; where one query of a batch found fewer than another (because of `min_score`), its rows
    are filled up with -1 and NaN, its keys are not.

    Attributes
    ----------
    keys : list of keys, or list of such lists
        Row numbers in a store without keys.
    rows : (k,) or (q, k) int64
    scores : (k,) or (q, k) float32
        Cosine, dot product, squared Euclidean or Hamming distance, as the metric says.
    rescored : int or (q,) int64
        Rows that were scored again: by the fine layer, or exactly by the same one.
    """

    keys: list[Any]
    rows: NDArray[np.int64]
    scores: Floats
    rescored: Any

    def each(self) -> list[SearchResult]:
        """Return the result of each query of a batch by itself, without what rows were filled up with."""
        sizes = (self.rows >= 0).sum(axis=1).tolist()
        return [
            SearchResult(keys, rows[:size], scores[:size], int(rescored))
            for keys, rows, scores, rescored, size in zip(
                self.keys, self.rows, self.scores, self.rescored, sizes, strict=True
            )
        ]
