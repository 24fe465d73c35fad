"""Binarization: one bit a dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.evaluation import neighbours, overlap, split_sample
from vecstore.codecs.members import Among
from vecstore.errors import CodecError

__all__ = ["Binary"]

NIBBLE_BITS = np.unpackbits(np.arange(16, dtype=np.uint8)[None], axis=0, count=4, bitorder="little").astype(np.float32)
THRESHOLDS = ("auto", "zero", "mean", "median")


@dataclass(frozen=True)
class Binary(Quantizer):
    """Keep whether each dimension lies above a threshold; decode to the mean of the sample's values on that side.

    The threshold of a dimension is zero, the sample's mean or its median: whichever keeps the most neighbours on
    held-out rows of the sample, unless named. Queries are not binarized (asymmetric distance: Gordo et al., PAMI
    2014). Codes: eight dimensions a byte, the first one lowest.
    """

    threshold: Annotated[str, Among(*THRESHOLDS)] = "auto"

    name = "bin"
    summary = "one bit a dimension, query kept in full"
    usage = "bin, or bin:zero, bin:mean, bin:median"

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        if len(arguments) > 1:
            raise CodecError(f"bin takes at most one argument: {cls.usage}")
        return cls(*arguments)

    def __str__(self) -> str:
        return self.name if self.threshold == "auto" else f"{self.name}:{self.threshold}"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        if self.threshold != "auto":
            return self._fit(z, self.threshold)
        queries, base = split_sample(z, queries=500, base=8000, seed=seed)
        if len(queries) < 50 or len(base) < 100:
            return self._fit(z, "mean")
        wanted = neighbours(queries, base, 10)
        kept = {}
        for threshold in THRESHOLDS[1:]:
            trained = self._fit(base, threshold)
            kept[threshold] = overlap(neighbours(queries, trained.decode(trained.encode(base)), 10), wanted)
        return self._fit(z, max(kept, key=lambda name: kept[name]))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        return TrainedBinary(*named(arrays, thresholds=(dimensions,), levels=(2, dimensions)))

    @staticmethod
    def _fit(z: Floats, threshold: str) -> TrainedBinary:
        center = {"zero": 0, "mean": z.mean(axis=0), "median": np.median(z, axis=0)}[threshold]
        thresholds = np.broadcast_to(np.asarray(center, np.float32), z.shape[1:])
        above = z > thresholds
        count = above.sum(axis=0)
        mean = z.mean(axis=0)
        upper = np.where(above, z, 0).sum(axis=0) / np.maximum(count, 1)
        lower = np.where(above, 0, z).sum(axis=0) / np.maximum(len(z) - count, 1)
        levels = np.stack([np.where(count < len(z), lower, mean), np.where(count > 0, upper, mean)])
        return TrainedBinary(thresholds.copy(), levels.astype("<f4"))


class TrainedBinary(TrainedQuantizer):
    tile_rows = 32
    code_kind = "tables16"

    def __init__(self, thresholds: Floats, levels: Floats) -> None:
        self.thresholds, self.levels = frozen(thresholds.astype("<f4", copy=False)), frozen(levels)  # levels[bit, d]
        self.dimensions = len(thresholds)
        self.code_bytes = -(-self.dimensions // 8)

    def encode(self, z: Floats) -> Codes:
        return np.packbits(z > self.thresholds, axis=1, bitorder="little")

    def decode(self, codes: Codes) -> Floats:
        bits = np.unpackbits(codes, axis=1, count=self.dimensions, bitorder="little")
        return bits * (self.levels[1] - self.levels[0]) + self.levels[0]

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        terms = np.zeros((len(linear), 2, 8 * self.code_bytes), np.float32)  # terms[q, bit, dimension]
        terms[:, :, : self.dimensions] = linear[:, None, :] * self.levels
        if quadratic is not None:
            terms[:, :, : self.dimensions] += quadratic * self.levels**2
        fours = terms.reshape(len(linear), 2, -1, 4)  # four dimensions are a table of sixteen entries
        return fours[:, 0].sum(axis=2)[:, :, None] + (fours[:, 1] - fours[:, 0]) @ NIBBLE_BITS

    def hamming_tables(self, codes: Codes) -> Floats:
        halves = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)  # halves[q, table]
        return -np.bitwise_count(halves[:, :, None] ^ np.arange(16, dtype=np.uint8)).astype(np.float32)

    def prefix(self, dimensions: int) -> TrainedQuantizer:
        return TrainedBinary(self.thresholds[:dimensions], self.levels[:, :dimensions])

    @property
    def arrays(self) -> Arrays:
        return {"thresholds": self.thresholds, "levels": self.levels}
