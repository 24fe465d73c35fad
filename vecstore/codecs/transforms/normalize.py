"""Scale every vector to length one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vecstore.codecs.base import Arrays, Floats, TrainedTransform, Transform

__all__ = ["Normalize", "unit"]


def unit(x: Floats) -> Floats:
    """Return rows of length one; zero rows stay zero."""
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.where(norms > 0, norms, 1), np.float32)


@dataclass(frozen=True)
class Normalize(Transform):
    """Divide each vector by its Euclidean length; zero vectors stay zero.

    The length is lost: decoding returns vectors of about length one. Store lengths beside them with ``--norms``.
    """

    name = "normalize"
    summary = "scale vectors to length one"
    usage = "normalize"

    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        return TrainedNormalize(x.shape[1])

    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        return TrainedNormalize(dimensions_in)


class TrainedNormalize(TrainedTransform):
    shifts = True

    def __init__(self, dimensions: int) -> None:
        self.dimensions_in = self.dimensions = dimensions

    def apply(self, x: Floats) -> Floats:
        return unit(x)

    def invert(self, z: Floats) -> Floats:
        return z

    def prefix(self, dimensions: int) -> TrainedTransform:
        return TrainedNormalize(dimensions)

    @property
    def arrays(self) -> Arrays:
        return {}
