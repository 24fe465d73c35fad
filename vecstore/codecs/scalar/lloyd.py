"""Lloyd-Max scalar quantization for coefficients that a random rotation has made Gaussian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import erf, pi
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.members import Whole
from vecstore.codecs.packing import join_bits, level_tables, packed_bytes, split_bits
from vecstore.codecs.scalar.row_factors import FACTOR_BYTES, read_factors, write_factors
from vecstore.errors import CodecError
from vecstore.parallel import over_slices

__all__ = ["Lloyd", "gaussian_levels"]

ONE = np.ones(1, "<f4")
UNEVEN = 1e-3  # lengths that vary by more, relative to their mean, are stored


@dataclass(frozen=True)
class Lloyd(Quantizer):
    """Round each dimension to the nearest of the 2**bits levels that are best for a Gaussian (Max 1960; Lloyd 1982).

    Behind `rotate` this is the recipe of Zandieh, Daliri, Hadian & Mirrokni, TurboQuant: online vector quantization
    with near-optimal distortion rate, 2025: a random rotation makes every coefficient of a vector of length one nearly
    Gaussian of variance 1 / d, whatever the data, so the levels need no training. Where the sample's lengths differ,
    a row's length is stored and its direction coded. Codes: the length, 2 bytes, if any; then `bits` bits a dimension
    in order, without a gap, the lowest bit first.
    """

    bits: Annotated[int, Whole(1, 8)]

    name = "lloyd"
    summary = "Lloyd-Max levels for a Gaussian, B bits a dimension; behind rotate it is TurboQuant"
    usage = "lloyd:B with B 1 to 8, such as rotate,lloyd:4"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        lengths = np.sqrt(np.einsum("ij,ij->i", z, z, dtype=np.float64))
        mean = float(lengths.mean())
        uneven = bool(lengths.std() > UNEVEN * mean)
        scale = np.array([mean], "<f4")
        return TrainedLloyd(z.shape[1], gaussian_levels(self.bits), scale, np.array([uneven], "|u1"))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        levels, scale = named(arrays, levels=(1 << self.bits,), scale=(1,))
        (uneven,) = named(arrays, dtype="|u1", uneven=(1,))
        if not np.isfinite(levels).all() or (np.diff(levels) <= 0).any() or not 0 <= scale[0] < np.inf or uneven > 1:
            raise CodecError("lloyd: the levels or the scale in the file are none; it is damaged")
        return TrainedLloyd(dimensions, levels, scale, uneven)


@cache
def gaussian_levels(bits: int) -> Floats:
    """Return the 2**bits levels of least squared error for a Gaussian of variance one, in order.

    Lloyd's iteration on one half of the axis, begun at the quantiles of the density to the power 1/3 (Panter & Dite
    1951), which a Gaussian of variance 3 has.
    """
    half = 1 << (bits - 1)
    levels = np.array([3**0.5 * _quantile(0.5 + (i + 0.5) / (2 * half)) for i in range(half)])
    for _ in range(2000):
        edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        density = np.exp(-(edges**2) / 2) / (2 * pi) ** 0.5
        share = np.diff([erf(edge / 2**0.5) / 2 for edge in edges])
        moved = -np.diff(density) / share
        done = np.abs(moved - levels).max() < 1e-9
        levels = moved
        if done:
            break
    return frozen(np.concatenate([-levels[::-1], levels]).astype("<f4"))


def _quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


class TrainedLloyd(TrainedQuantizer):
    """Levels (2**bits,) for dimensions of variance one; `scale` (1,) is the mean length of the sample.

    With `uneven` (1,) zero all rows are taken to have that length, and nothing but levels is stored.
    """

    def __init__(self, dimensions: int, levels: Floats, scale: Floats, uneven: NDArray[np.uint8]) -> None:
        self.levels, self.scale, self.uneven = frozen(levels), frozen(scale), frozen(uneven)
        self.dimensions, self.bits = dimensions, len(levels).bit_length() - 1
        self._head = FACTOR_BYTES if uneven[0] else 0
        self.code_bytes = self._head + packed_bytes(dimensions, self.bits)
        if self._additive:
            self.tile_rows, self.code_kind = 32, "tables256" if self.bits == 8 else "tables16"

    @property
    def _additive(self) -> bool:
        return not self._head and self.bits in (1, 2, 4, 8)

    @property
    def _values(self) -> Floats:
        """The levels for rows of the mean length."""
        return np.asarray(self.levels * (self.scale[0] / self.dimensions**0.5), np.float32)

    def encode(self, z: Floats) -> Codes:
        out = np.empty((len(z), self.code_bytes), np.uint8)
        edges = (self.levels[1:] + self.levels[:-1]) / 2

        def encode_part(part: slice) -> None:
            x = z[part]
            lengths = np.full(len(x), self.scale[0])
            if self._head:
                lengths = write_factors(np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64)), self.scale, out[part])
            stretch = np.divide(self.dimensions**0.5, lengths, out=np.zeros(len(x)), where=lengths > 0)
            levels = np.searchsorted(edges, x * stretch[:, None].astype(np.float32))
            out[part, self._head :] = join_bits(levels.astype(np.uint8), self.bits)

        over_slices(encode_part, len(z), at_least=256)
        return out

    def decode(self, codes: Codes) -> Floats:
        z: Floats = self._values[split_bits(codes[:, self._head :], self.bits, self.dimensions)]
        if self._head:
            z *= read_factors(codes, ONE)[:, None]  # in units of the mean length
        return z

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        if not self._additive:
            return None
        terms = linear[:, :, None] * self._values
        if quadratic is not None:
            terms += quadratic[:, None] * self._values**2
        return level_tables(terms, self.bits)

    @property
    def arrays(self) -> Arrays:
        return {"levels": self.levels, "scale": self.scale, "uneven": self.uneven}
