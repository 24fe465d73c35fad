"""Optimized product quantization: a rotation learned together with the codebooks."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.axes import Axes, check_work, named_axes, orthonormal, rounded
from vecstore.codecs.base import Arrays, Codes, Floats, TrainedQuantizer
from vecstore.codecs.product.pq import PQ, TRAINING_ROWS, TrainedPQ, group_edges, train_codebooks
from vecstore.codecs.products import decoded_products, row_products
from vecstore.codecs.transforms.pca import principal_axes

__all__ = ["OPQ"]

ROTATION_ROWS = 1 << 14
ROUNDS = 12


@dataclass(frozen=True)
class OPQ(PQ):
    """Rotate, then quantize as `pq`; the rotation is trained to leave the codebooks the least error.

    Ge, He, Ke & Sun, Optimized product quantization, PAMI 2014: start from principal axes dealt out so that every
    group has the same product of variances (the parametric solution), then alternate codebooks and the orthogonal
    matrix that fits them best (Procrustes; the non-parametric solution).
    """

    name = "opq"
    summary = "product quantizer behind a learned rotation"
    usage = "opq:M or opq:MxB with B 8 or 4, such as opq:48"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        check_work(z.shape[1], z.shape[1])
        edges = group_edges(z.shape[1], self.m)
        k = 1 << self.bits
        sample = z[:ROTATION_ROWS]
        rotation = balanced_axes(sample, np.diff(edges))
        codebooks: Floats | None = None
        for _ in range(ROUNDS):
            turned = sample @ rotation
            codebooks = train_codebooks(turned, edges, k, seed=seed, iterations=4, start=codebooks)
            pq = TrainedPQ(self.bits, edges, codebooks)
            u, _, v = np.linalg.svd((sample.T @ pq.decode(pq.encode(turned))).astype(np.float64))
            rotation = (u @ v).astype("<f4")
        stored = rounded(rotation)
        turned = z[:TRAINING_ROWS] @ orthonormal(stored)
        codebooks = train_codebooks(turned, edges, k, seed=seed, start=codebooks)
        return TrainedOPQ(stored, TrainedPQ(self.bits, edges, codebooks))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        pq = PQ(self.m, self.bits).restore(dimensions, arrays)
        assert isinstance(pq, TrainedPQ)
        rotation = named_axes(arrays, (dimensions, dimensions), "rotation")
        check_work(dimensions if rotation.dtype == np.int8 else 0, dimensions)
        return TrainedOPQ(rotation, pq)


def balanced_axes(x: Floats, widths: NDArray[np.int64]) -> Floats:
    """Return principal axes as columns (d, d), dealt to groups so that the products of their variances are close.

    Axes go, largest variance first, to the group with the smallest product that still has room.
    """
    _, axes, variances = principal_axes(x, x.shape[1])
    logs = np.log(np.maximum(variances, variances[0] * 1e-9 + 1e-30))
    logs -= logs.min() - 1  # all positive, so that a fuller group has the larger sum
    groups: list[list[int]] = [[] for _ in widths]
    queue = [(0.0, m) for m in range(len(widths))]
    for axis, log in enumerate(logs):
        total, m = heapq.heappop(queue)
        groups[m].append(axis)
        if len(groups[m]) < widths[m]:
            heapq.heappush(queue, (total + float(log), m))
    return np.ascontiguousarray(axes[[axis for group in groups for axis in group]].T)


class TrainedOPQ(TrainedQuantizer):
    """``decode(codes) == pq.decode(codes) @ rotation.T``.

    The rotation (d, d), [from, to], is given as it is stored, see `vecstore.codecs.axes`.
    """

    tile_rows = TrainedPQ.tile_rows

    def __init__(self, rotation: NDArray[Any], pq: TrainedPQ) -> None:
        self.pq, self._axes = pq, Axes({"axes": rotation})
        self.dimensions, self.code_bytes = pq.dimensions, pq.code_bytes
        self.code_kind = pq.code_kind

    @property
    def rotation(self) -> Floats:
        """The rotation (d, d), [from, to], as it is used."""
        return self._axes.matrix

    def encode(self, z: Floats) -> Codes:
        return self.pq.encode(row_products(z, self.rotation))

    def decode(self, codes: Codes) -> Floats:
        return decoded_products(self.pq.decode(codes), self.rotation.T)

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        # |z|^2 survives the rotation, a weighted sum of squares does not.
        if quadratic is not None and not np.allclose(quadratic, quadratic[0], rtol=1e-4):
            return None
        return self.pq.tables(decoded_products(linear, self.rotation), quadratic)

    @property
    def rotated(self) -> tuple[TrainedQuantizer, Floats, Floats]:
        return self.pq, self.rotation.T, np.zeros(self.dimensions, np.float32)

    @property
    def arrays(self) -> Arrays:
        return {"rotation": self._axes.arrays["axes"], **self.pq.arrays}
