"""Variance-aware product quantization: groups of principal components, as wide as a code of one byte can carry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.axes import Axes, check_work
from vecstore.codecs.base import Arrays, Codes, Floats, TrainedQuantizer, frozen, named
from vecstore.codecs.product.pq import PQ, TRAINING_ROWS, TrainedPQ, train_codebooks
from vecstore.codecs.products import decoded_products, row_products
from vecstore.codecs.transforms.pca import principal_axes
from vecstore.errors import CodecError

__all__ = ["VAQ", "unequal_edges"]

FEW_NUMBERS, MOST_PADDING = 1 << 23, 16  # of codebooks: those that a file may ask for anyway, or times its own
EMPHASIS = 0.15  # queries are longest where the vectors are: widths weigh a variance v as v ** (1 + 2 * EMPHASIS)


@dataclass(frozen=True)
class VAQ(PQ):
    """Rotate to principal axes, cut them into runs of unequal width; code each by its nearest of 2**bits centroids.

    After Paparrizos, Edian, Liu, Elmore & Franklin, Fast adaptive similarity search through variance-aware
    quantization, ICDE 2022, who give groups unequal bits; here all groups have the same bits, so that codes are those
    of `pq`, and unequal widths. `unequal_edges` says where the groups end. Codes: as `pq`.
    """

    name = "vaq"
    summary = "product quantizer on principal components, M groups of unequal width"
    usage = "vaq:M or vaq:MxB with B 8 or 4, such as vaq:32"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        sample = z[:TRAINING_ROWS]
        axes_known = min(max(len(sample), self.m), z.shape[1])  # there is no variance along others
        check_work(axes_known, z.shape[1])
        mean, exact, variances = principal_axes(sample, axes_known)
        edges = unequal_edges(variances ** (1 + 2 * EMPHASIS), self.m, self.bits)
        self._require_room(edges)
        axes = Axes.principal(exact, variances, int(edges[-1]))
        components = np.asarray((sample - mean) @ axes.matrix.T, np.float32)
        codebooks = train_codebooks(components, edges, 1 << self.bits, seed=seed)
        return TrainedVAQ(mean, axes, TrainedPQ(self.bits, edges, codebooks))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        (widths,) = named(arrays, dtype="<u4", widths=(self.m,))
        edges = np.concatenate([[0], np.cumsum(widths, dtype=np.int64)])
        if widths.min() < 1 or edges[-1] > dimensions:
            raise CodecError(f"vaq: the groups in the file are not groups of {dimensions} dimensions; it is damaged")
        kept, k = int(edges[-1]), 1 << self.bits
        self._require_room(edges)
        mean, centroids = named(arrays, dtype="<f4", mean=(dimensions,), centroids=(kept, k))
        axes = Axes.restore(arrays, (kept, dimensions))
        codebooks = np.zeros((self.m, k, int(widths.max())), np.float32)
        for group, (begin, end) in enumerate(pairwise(edges)):
            codebooks[group, :, : end - begin] = centroids[begin:end].T
        return TrainedVAQ(mean, axes, TrainedPQ(self.bits, edges, codebooks))

    def _require_room(self, edges: NDArray[np.int64]) -> None:
        """Raise `CodecError` where codebooks, all as wide as the widest, take far more memory than their centroids."""
        widest = int(np.diff(edges).max())
        if self.m * widest << self.bits > max(FEW_NUMBERS, MOST_PADDING * int(edges[-1]) << self.bits):
            raise CodecError(f"vaq: a group of {widest} dimensions among {self.m}; take fewer groups")


def unequal_edges(variances: NDArray[np.float64], m: int, bits: int) -> NDArray[np.int64]:
    """Return where m runs of components begin and the last one ends: (m + 1,) int64; components beyond are dropped.

    The cost of a run is the least error that `bits` bits allow for it (reverse water-filling, as in
    `vecstore.measure.spectrum.distortion_bound`), and the cost of dropped components their variance. Dynamic
    programming finds the runs that cost least together. Variances may be weighted.

    Parameters
    ----------
    variances : (d,) float64, largest first
    m : int
        From 1 to d.
    bits : int
    """
    d = len(variances)
    cost = _run_costs(variances, bits)
    best = np.full(d + 1, np.inf)  # best[end]: of the runs so far, when they end there
    best[0] = 0
    begins = np.zeros((m, d + 1), np.int64)
    for run in range(m):
        totals = best[:, None] + cost
        begins[run] = totals.argmin(axis=0)
        best = np.take_along_axis(totals, begins[run][None], axis=0)[0]
    left = np.append(np.cumsum(variances[::-1])[::-1], 0.0)
    edges = [int((best + left).argmin())]
    for run in reversed(range(m)):
        edges.append(int(begins[run, edges[-1]]))
    return np.array(edges[::-1])


def _run_costs(variances: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Return cost[begin, end] of coding components `begin` to `end` together, infinite for no run: (d + 1, d + 1)."""
    d = len(variances)
    floor = max(float(variances[0]), 1e-300) * 1e-12
    v = np.maximum(variances, floor)
    logs = np.log2(v)
    cost = np.full((d + 1, d + 1), np.inf)
    for begin in range(d):
        count = np.arange(1, d - begin + 1)
        levels = (np.cumsum(logs[begin:]) - 2 * bits) / count  # log2 of the water, were the first `count` above it
        above = int(np.flatnonzero(levels <= logs[begin:])[-1]) + 1
        kept = np.minimum(count, above)
        lost = np.cumsum(v[begin:])
        cost[begin, begin + 1 :] = kept * np.exp2(levels[kept - 1]) + (lost - lost[kept - 1])
    return cost


class TrainedVAQ(TrainedQuantizer):
    """``decode(codes) == pq.decode(codes) @ axes + mean``, with orthonormal rows of axes (kept components, d)."""

    tile_rows = TrainedPQ.tile_rows

    def __init__(self, mean: Floats, axes: Axes, pq: TrainedPQ) -> None:
        self.mean, self.pq, self._axes = frozen(mean), pq, axes
        self.dimensions, self.code_bytes = len(mean), pq.code_bytes
        self.code_kind = pq.code_kind

    @property
    def axes(self) -> Floats:
        """Orthonormal rows (kept components, d) float32."""
        return self._axes.matrix

    def encode(self, z: Floats) -> Codes:
        return self.pq.encode(row_products(z - self.mean, self.axes.T))

    def decode(self, codes: Codes) -> Floats:
        return decoded_products(self.pq.decode(codes), self.axes) + self.mean

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        square = 0.0 if quadratic is None else float(quadratic[0])
        # |z|^2 = |y|^2 + 2 y . (axes @ mean) + |mean|^2; a weighted sum of squares does not survive the rotation.
        if quadratic is not None and not np.allclose(quadratic, square, rtol=1e-4):
            return None
        inner = decoded_products(np.asarray(linear + 2 * square * self.mean, np.float32), self.axes.T)
        even = None if quadratic is None else np.full(self.axes.shape[0], square, np.float32)
        terms = self.pq.tables(inner, even)
        assert terms is not None
        terms[:, 0] += (linear @ self.mean + square * (self.mean @ self.mean))[:, None]
        return terms

    @property
    def rotated(self) -> tuple[TrainedQuantizer, Floats, Floats]:
        return self.pq, self.axes, self.mean

    @property
    def arrays(self) -> Arrays:
        widths = np.diff(self.pq.edges)
        # centroids[component, centroid]: without the zeros that fill up narrow groups
        centroids = [book[:, :width].T for book, width in zip(self.pq.codebooks, widths, strict=True)]
        return {
            "mean": self.mean,
            **self._axes.arrays,
            "widths": widths.astype("<u4"),
            "centroids": np.ascontiguousarray(np.concatenate(centroids)),
        }
