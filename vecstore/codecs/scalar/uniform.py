"""Uniform scalar quantization with one step for all dimensions, for entropy coding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from vecstore.codecs.base import Arrays, Codes, Floats, Numbers, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.members import Whole

__all__ = ["Uniform"]

TRAINING_ROWS = 1 << 13
HALVINGS = 14


@dataclass(frozen=True)
class Uniform(Quantizer):
    """Round all dimensions to multiples of one step, chosen so that the entropy of a row's levels is `size_bytes`.

    With entropy coding behind it, nearly the best that can be had at a high rate (Gish & Pierce, Asymptotically
    efficient quantizing, 1968: a quarter of a bit a dimension from the bound), if dimensions are uncorrelated: put
    `pca` before it. Codes: a byte a dimension, before entropy coding by `rans`.
    """

    size_bytes: Annotated[int, Whole(1)]

    name = "uniform"
    summary = "one step for all dimensions; B bytes a row once rans has coded it"
    usage = "uniform:B, such as pca:384,uniform:64,rans:384"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        z = z[:TRAINING_ROWS]
        middle = z.mean(axis=0, dtype=np.float64).astype("<f4")
        largest = float(np.abs(z - middle).max(initial=0)) or 1.0
        low, high = largest / 127, 2 * largest  # the finest step that clips nothing, and one that tells nothing
        if self._entropy(z, middle, low) <= 8 * self.size_bytes:
            return TrainedUniform(middle, np.array([low], "<f4"))
        for _ in range(HALVINGS):
            step = (low * high) ** 0.5
            if self._entropy(z, middle, step) > 8 * self.size_bytes:
                low = step
            else:
                high = step
        return TrainedUniform(middle, np.array([high], "<f4"))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        return TrainedUniform(*named(arrays, middle=(dimensions,), step=(1,)))

    @staticmethod
    def _entropy(z: Floats, middle: Floats, step: float) -> float:
        """Return the bits that the levels of a row take, each dimension by itself."""
        levels = TrainedUniform(middle, np.array([step], "<f4")).encode(z)
        counts = np.bincount((levels + 256 * np.arange(z.shape[1])).reshape(-1), minlength=256 * z.shape[1])
        shares = counts[counts > 0] / len(z)
        return float(-(shares * np.log2(shares)).sum())


class TrainedUniform(TrainedQuantizer):
    """``z = middle + step * (level - 128)``; middle (d,), step (1,)."""

    code_kind = "numbers"

    def __init__(self, middle: Floats, step: Floats) -> None:
        self.middle, self.step = frozen(middle), frozen(step)
        self.dimensions = self.code_bytes = len(middle)

    def encode(self, z: Floats) -> Codes:
        return (np.clip(np.rint((z - self.middle) / self.step), -128, 127) + 128).astype(np.uint8)

    def decode(self, codes: Codes) -> Floats:
        return self.numbers.offset + self.numbers.scale * codes

    @property
    def numbers(self) -> Numbers:
        return Numbers("u1", np.full(self.dimensions, self.step[0], np.float32), self.middle - 128 * self.step)

    def prefix(self, dimensions: int) -> TrainedQuantizer:
        return TrainedUniform(self.middle[:dimensions], self.step)

    @property
    def arrays(self) -> Arrays:
        return {"middle": self.middle, "step": self.step}
