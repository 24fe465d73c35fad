"""RaBitQ: directions on a grid behind a random rotation, with an unbiased estimate of products and its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer, TrainedTransform, frozen, named
from vecstore.codecs.members import Whole
from vecstore.codecs.packing import join_bits, packed_bytes, split_bits
from vecstore.codecs.scalar.row_factors import FACTOR_BYTES, read_factors, write_factors
from vecstore.codecs.transforms.rotate import Rotate
from vecstore.kernels import entries
from vecstore.parallel import over_slices

__all__ = ["RaBitQ", "TrainedRaBitQ"]

HEAD_BYTES = 2 * FACTOR_BYTES
ONE = np.ones(1, "<f4")
ROUNDING = np.float32(2**-10)  # two factors, each half a unit in its eleventh bit


@dataclass(frozen=True)
class RaBitQ(Quantizer):
    """Take the mean away, rotate at random, and name the point of a grid of 2**bits levels with the nearest direction.

    Gao & Long, RaBitQ, SIGMOD 2024 (one bit); Gao, Gou, Xu, Yang, Long & Wong, Practical and asymptotically optimal
    quantization of high-dimensional vectors, SIGMOD 2025 (more bits). Of grid points at several scales the best is
    taken, then improved one level at a time. Codes: the length r of the centred row and the tangent t of the angle
    between it and its grid point y, 2 bytes each; then `bits` bits a dimension in order, the lowest bit first.

    With a = 1 / sqrt(1 + t**2), the cosine of that angle, `decode` gives the point along the grid point's direction
    that is nearest to the row (r a y / |y|), which loses least; `TrainedRaBitQ.estimate` gives the unbiased products of
    the papers (r / a instead of r a), with their error.
    """

    bits: Annotated[int, Whole(1, 8)]

    name = "rabitq"
    summary = "extended RaBitQ: random rotation, then the nearest direction of a grid, B bits a dimension"
    usage = "rabitq:B with B 1 to 8"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        mean = z.mean(axis=0, dtype=np.float64).astype("<f4")
        length = float(np.sqrt(np.einsum("ij,ij->i", z - mean, z - mean, dtype=np.float64)).mean())
        return TrainedRaBitQ(self.bits, mean, np.array([length or 1], "<f4"), Rotate().fit(z, seed=seed))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        mean, scale = named(arrays, mean=(dimensions,), scale=(1,))
        return TrainedRaBitQ(self.bits, mean, scale, Rotate().restore(dimensions, arrays))


class TrainedRaBitQ(TrainedQuantizer):
    """The mean (d,), the mean length `scale` (1,) of centred rows, and a rotation."""

    def __init__(self, bits: int, mean: Floats, scale: Floats, rotation: TrainedTransform) -> None:
        self.bits, self.mean, self.scale, self.rotation = bits, frozen(mean), frozen(scale), rotation
        self.dimensions = len(mean)
        self.code_bytes = HEAD_BYTES + packed_bytes(self.dimensions, bits)

    def encode(self, z: Floats) -> Codes:
        out = np.empty((len(z), self.code_bytes), np.uint8)

        def encode_part(part: slice) -> None:
            turned, codes = self.rotation.apply(z[part] - self.mean), out[part]
            lengths = np.sqrt(np.einsum("ij,ij->i", turned, turned, dtype=np.float64))
            unit = np.divide(turned, lengths[:, None], out=np.zeros_like(turned), where=lengths[:, None] > 0)
            levels = np.empty(unit.shape, np.uint8)
            entries.encode_rabitq(unit, self.bits, levels)
            write_factors(lengths, self.scale, codes)
            cosines = np.einsum("ij,ij->i", unit, self._directions(levels), dtype=np.float64)
            square = np.clip(cosines, 1e-4, 1) ** 2
            write_factors(np.sqrt(1 / square - 1), ONE, codes[:, FACTOR_BYTES:])
            codes[:, HEAD_BYTES:] = join_bits(levels, self.bits)

        over_slices(encode_part, len(z), at_least=256)
        return out

    def decode(self, codes: Codes) -> Floats:
        lengths, tangents, directions = self._parts(codes)
        directions *= (lengths / np.sqrt(1 + tangents**2))[:, None]
        return self.rotation.invert(directions) + self.mean

    def estimate(self, queries: Floats, codes: Codes, *, deviations: float = 1.9) -> tuple[Floats, Floats]:
        """Return unbiased estimates of the products of queries with encoded rows, and how far off they may be.

        Parameters
        ----------
        queries : (q, d) float32
        codes : (n, code_bytes) uint8
        deviations : float
            The papers' epsilon: the error is within the bound for nearly all pairs of query and row, more of them the
            larger it is, over the choice of the rotation.

        Returns
        -------
        products : (q, n) float32
            queries . x for each row x, estimated as queries . mean + (r / a) * (rotated query) . y / |y|, which has
            that mean over random rotations.
        bounds : (q, n) float32
            |query| r t deviations / sqrt(d - 1), and what rounding r and t to 11 bits makes of the products.
        """
        lengths, tangents, directions = self._parts(codes)
        turned = self.rotation.apply(np.ascontiguousarray(queries, np.float32))
        centred = turned @ directions.T * (lengths * np.sqrt(1 + tangents**2))
        spread = lengths * tangents * np.float32(deviations / max(self.dimensions - 1, 1) ** 0.5)
        bounds = np.linalg.norm(queries, axis=1)[:, None] * spread + np.abs(centred) * ROUNDING
        return queries @ self.mean[:, None] + centred, bounds

    def _parts(self, codes: Codes) -> tuple[Floats, Floats, Floats]:
        levels = split_bits(codes[:, HEAD_BYTES:], self.bits, self.dimensions)
        lengths = read_factors(codes, self.scale)
        return lengths, read_factors(codes[:, FACTOR_BYTES:], ONE), self._directions(levels)

    def _directions(self, levels: NDArray[np.uint8]) -> Floats:
        """Return the grid points of levels, scaled to length one: (n, d) float32."""
        y = levels - np.float32((1 << self.bits) / 2 - 0.5)
        y /= np.sqrt(np.einsum("ij,ij->i", y, y))[:, None]
        return y

    @property
    def arrays(self) -> Arrays:
        return {"mean": self.mean, "scale": self.scale, **self.rotation.arrays}
