"""Locally-adaptive vector quantization: every row has a grid of its own, and a second one for what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.members import Whole
from vecstore.codecs.packing import join_bits, packed_bytes, split_bits
from vecstore.codecs.scalar.row_factors import FACTOR_BYTES, read_factors, write_factors
from vecstore.parallel import over_slices

__all__ = ["LVQ"]

HEAD_BYTES = 2 * FACTOR_BYTES


@dataclass(frozen=True)
class LVQ(Quantizer):
    """Take the mean away, then round each row to 2**bits even levels from its own least to its own largest value.

    With `residual_bits` what is left of each number, which lies within half a step, is rounded to that many bits in
    the same way (Aguerrebere, Bhati, Hildebrand, Tepper & Willke, Similarity search in the blink of an eye with
    compressed indices, PVLDB 2023). Codes: the row's least value and its step, 2 bytes each; `bits` bits a dimension in
    order; then, from a whole byte on, `residual_bits` bits a dimension.
    """

    bits: Annotated[int, Whole(1, 8)]
    residual_bits: Annotated[int, Whole(0, 8)] = 0

    name = "lvq"
    summary = "a grid of B bits a dimension between each row's own bounds, and R bits for what is left"
    usage = "lvq:B or lvq:BxR with B and R 1 to 8, such as lvq:8 or lvq:4x8"

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        return cls.crossed(arguments, 0)

    def __str__(self) -> str:
        return f"{self.name}:{self.bits}" + (f"x{self.residual_bits}" if self.residual_bits else "")

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        mean = z.mean(axis=0, dtype=np.float64).astype("<f4")
        largest = np.abs(z - mean).max(initial=0)
        return TrainedLVQ(self.bits, self.residual_bits, mean, np.array([largest or 1], "<f4"))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        mean, scale = named(arrays, mean=(dimensions,), scale=(1,))
        return TrainedLVQ(self.bits, self.residual_bits, mean, scale)


class TrainedLVQ(TrainedQuantizer):
    """The mean (d,) of the sample, and `scale` (1,), in units of which rows keep their least value and step."""

    def __init__(self, bits: int, residual_bits: int, mean: Floats, scale: Floats) -> None:
        self.bits, self.residual_bits = bits, residual_bits
        self.mean, self.scale = frozen(mean), frozen(scale)
        self.dimensions = len(mean)
        self._middle = HEAD_BYTES + packed_bytes(self.dimensions, bits)
        self.code_bytes = self._middle + packed_bytes(self.dimensions, residual_bits)

    def encode(self, z: Floats) -> Codes:
        out = np.empty((len(z), self.code_bytes), np.uint8)

        def encode_part(part: slice) -> None:
            x, codes = z[part] - self.mean, out[part]
            top = (1 << self.bits) - 1
            lowest = write_factors(x.min(axis=1), self.scale, codes)
            step = write_factors((x.max(axis=1) - lowest) / np.float64(top), self.scale, codes[:, FACTOR_BYTES:])
            # In steps from the least value; a step of zero belongs to a row of equal numbers.
            x -= lowest[:, None]
            x *= np.divide(1, step, out=np.zeros_like(step), where=step > 0)[:, None]
            levels = np.clip(np.rint(x), 0, top)
            codes[:, HEAD_BYTES : self._middle] = join_bits(levels.astype(np.uint8), self.bits)
            if self.residual_bits:
                finest = (1 << self.residual_bits) - 1
                left = np.clip(np.rint((x - levels + 0.5) * finest), 0, finest)
                codes[:, self._middle :] = join_bits(left.astype(np.uint8), self.residual_bits)

        over_slices(encode_part, len(z), at_least=256)
        return out

    def decode(self, codes: Codes) -> Floats:
        lowest = read_factors(codes, self.scale)
        step = read_factors(codes[:, FACTOR_BYTES:], self.scale)
        z = split_bits(codes[:, HEAD_BYTES : self._middle], self.bits, self.dimensions).astype(np.float32)
        if self.residual_bits:
            left = split_bits(codes[:, self._middle :], self.residual_bits, self.dimensions)
            z += left * np.float32(1 / ((1 << self.residual_bits) - 1))
            z -= np.float32(0.5)
        z *= step[:, None]
        z += lowest[:, None]
        z += self.mean
        return z

    @property
    def arrays(self) -> Arrays:
        return {"mean": self.mean, "scale": self.scale}
