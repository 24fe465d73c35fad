"""Take the mean away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vecstore.codecs.base import Arrays, Floats, TrainedTransform, Transform, frozen, named

__all__ = ["Center"]


@dataclass(frozen=True)
class Center(Transform):
    """Subtract the mean of the training sample."""

    name = "center"
    summary = "subtract the mean"
    usage = "center"

    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        return TrainedCenter(x.mean(axis=0, dtype=np.float64).astype("<f4"))

    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        return TrainedCenter(*named(arrays, mean=(dimensions_in,)))


class TrainedCenter(TrainedTransform):
    shifts = True

    def __init__(self, mean: Floats) -> None:
        self.mean = frozen(mean)  # mean[d]
        self.dimensions_in = self.dimensions = len(mean)

    def apply(self, x: Floats) -> Floats:
        return x - self.mean

    def invert(self, z: Floats) -> Floats:
        return z + self.mean

    def prefix(self, dimensions: int) -> TrainedTransform:
        return TrainedCenter(self.mean[:dimensions])

    @property
    def arrays(self) -> Arrays:
        return {"mean": self.mean}
