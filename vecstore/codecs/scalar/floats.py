"""Plain numbers: float32, float16 and bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Numbers, Quantizer, TrainedQuantizer
from vecstore.errors import ShapeError

__all__ = ["BF16", "F16", "F32"]


class _Plain(Quantizer):
    trained: ClassVar[type[TrainedF32]]

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return self.trained(z.shape[1])

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        return self.trained(dimensions)


class TrainedF32(TrainedQuantizer):
    item_bytes = 4
    code_kind = "numbers"
    dtype: Literal["f2", "bf2", "f4"] = "f4"
    lossless = True

    def __init__(self, dimensions: int) -> None:
        self.dimensions, self.code_bytes = dimensions, self.item_bytes * dimensions

    def encode(self, z: Floats) -> Codes:
        return np.ascontiguousarray(z, "<f4").view(np.uint8)

    def decode(self, codes: Codes) -> Floats:
        return np.ascontiguousarray(codes).view("<f4").astype(np.float32, copy=False)

    @property
    def numbers(self) -> Numbers:
        return Numbers(self.dtype, np.ones(self.dimensions, np.float32), np.zeros(self.dimensions, np.float32))

    def prefix(self, dimensions: int) -> TrainedQuantizer:
        return type(self)(dimensions)

    @property
    def arrays(self) -> Arrays:
        return {}


class TrainedF16(TrainedF32):
    item_bytes = 2
    dtype = "f2"
    lossless = False

    def encode(self, z: Floats) -> Codes:
        largest = float(np.abs(z).max(initial=0))
        if largest >= 65520:  # rounds to infinity
            raise ShapeError(
                f"the value {largest:g} does not fit float16 (up to 65504): use bf16, f32, or normalize first"
            )
        return np.ascontiguousarray(z, "<f2").view(np.uint8)

    def decode(self, codes: Codes) -> Floats:
        return np.ascontiguousarray(codes).view("<f2").astype(np.float32)


class TrainedBF16(TrainedF32):
    item_bytes = 2
    dtype = "bf2"
    lossless = False

    def encode(self, z: Floats) -> Codes:
        bits = np.ascontiguousarray(z, "<f4").view("<u4")
        # Round to the nearest even upper half.
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        upper = (rounded >> 16).astype("<u2")
        if not np.isfinite(self._floats(upper)).all():
            raise ShapeError("a value rounds to infinity in bfloat16: use f32, or normalize first")
        return upper.view(np.uint8)

    def decode(self, codes: Codes) -> Floats:
        return self._floats(np.ascontiguousarray(codes).view("<u2"))

    @staticmethod
    def _floats(upper: NDArray[np.uint16]) -> Floats:
        return (upper.astype("<u4") << 16).view("<f4")


@dataclass(frozen=True)
class F32(_Plain):
    """Store float32 as it is."""

    name = "f32"
    summary = "float32, exact"
    usage = "f32"
    trained = TrainedF32


@dataclass(frozen=True)
class F16(_Plain):
    """Store float16: 11 bits of precision, up to 65504."""

    name = "f16"
    summary = "float16"
    usage = "f16"
    trained = TrainedF16


@dataclass(frozen=True)
class BF16(_Plain):
    """Store bfloat16: 8 bits of precision, the range of float32."""

    name = "bf16"
    summary = "bfloat16"
    usage = "bf16"
    trained = TrainedBF16
