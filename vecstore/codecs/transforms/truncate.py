"""Matryoshka truncation: keep the first dimensions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from vecstore.codecs.base import Arrays, Floats, TrainedTransform, Transform
from vecstore.codecs.evaluation import neighbours, overlap, split_sample
from vecstore.codecs.members import UpToWidth
from vecstore.codecs.transforms.normalize import unit
from vecstore.codecs.transforms.pca import PCA

__all__ = ["Truncate", "TruncationWarning"]

CLEARLY = 0.02  # recall@10 by which PCA has to win before the user is told


class TruncationWarning(UserWarning):
    """Truncation loses clearly more neighbours than PCA to the same number of dimensions."""


@dataclass(frozen=True)
class Truncate(Transform):
    """Keep the first `dimensions` dimensions and scale to length one; decoding fills up with zeros.

    Made for models trained so that prefixes of their vectors are embeddings too (Kusupati et al., Matryoshka
    representation learning, 2022). Other models lose by it: when PCA to the same width keeps clearly more
    neighbours on held-out rows of the sample, training warns and says how many.
    """

    dimensions: Annotated[int, UpToWidth()]

    name = "truncate"
    summary = "keep the first D dimensions (Matryoshka), scaled to length one"
    usage = "truncate:D or mrl:D"

    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        d = x.shape[1]
        if self.dimensions < d:
            self._compare_with_pca(x, seed)
        return TrainedTruncate(d, self.dimensions)

    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        return TrainedTruncate(dimensions_in, self.dimensions)

    def _compare_with_pca(self, x: Floats, seed: int) -> None:
        queries, base = split_sample(unit(x), queries=500, base=8000, seed=seed)
        if len(queries) < 100 or len(base) < 200:
            return
        wanted = neighbours(queries, base, 10)
        pca = PCA(self.dimensions).fit(base, seed=seed)
        by_pca = overlap(neighbours(pca.invert(pca.apply(queries)), pca.invert(pca.apply(base)), 10), wanted)
        d = self.dimensions
        by_prefix = overlap(neighbours(queries[:, :d], base[:, :d], 10), wanted)
        if by_pca > by_prefix + CLEARLY:
            warnings.warn(
                f"truncate:{d} keeps {by_prefix:.0%} of the ten nearest neighbours, pca:{d} keeps {by_pca:.0%} in the "
                f"same space: this model was not trained for truncation, use pca:{d}",
                TruncationWarning,
                stacklevel=2,
            )


class TrainedTruncate(TrainedTransform):
    def __init__(self, dimensions_in: int, dimensions: int) -> None:
        self.dimensions_in, self.dimensions = dimensions_in, dimensions

    def apply(self, x: Floats) -> Floats:
        return unit(x[:, : self.dimensions])

    def invert(self, z: Floats) -> Floats:
        x = np.zeros((len(z), self.dimensions_in), np.float32)
        x[:, : self.dimensions] = z
        return x

    def prefix(self, dimensions: int) -> TrainedTransform:
        return TrainedTruncate(dimensions, min(dimensions, self.dimensions))

    @property
    def arrays(self) -> Arrays:
        return {}
