"""Product quantization."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.kmeans import kmeans
from vecstore.codecs.members import Among, UpToWidth
from vecstore.codecs.packing import join, paired, split
from vecstore.errors import CodecError
from vecstore.kernels import entries
from vecstore.parallel import over_slices

__all__ = ["PQ", "TrainedPQ", "group_edges", "train_codebooks"]

KERNEL_ROWS = 512  # from this many rows on, the compiled kernel pays for its import
TRAINING_ROWS = 1 << 15


@dataclass(frozen=True)
class PQ(Quantizer):
    """Cut the vector into m groups of dimensions and code each by its nearest of 2**bits centroids.

    Jégou, Douze & Schmid, Product quantization for nearest neighbor search, PAMI 2011. When m does not divide
    the dimensions, the first groups are one dimension wider. Codes: a byte a group, or with 4 bits two groups a
    byte, the even one low.
    """

    m: Annotated[int, UpToWidth()]
    bits: Annotated[int, Among(4, 8)] = 8

    name = "pq"
    summary = "product quantizer: M groups, a byte (or B bits) each"
    usage = "pq:M or pq:MxB with B 8 or 4, such as pq:48 or pq:96x4"

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        return cls.crossed(arguments, 8)

    def __str__(self) -> str:
        return f"{self.name}:{self.m}" + ("" if self.bits == 8 else f"x{self.bits}")

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        edges = group_edges(z.shape[1], self.m)
        return TrainedPQ(self.bits, edges, train_codebooks(z[:TRAINING_ROWS], edges, 1 << self.bits, seed=seed))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        edges = group_edges(dimensions, self.m)
        shape = (self.m, 1 << self.bits, int(np.diff(edges).max()))
        return TrainedPQ(self.bits, edges, *named(arrays, codebooks=shape))


def group_edges(d: int, m: int) -> NDArray[np.int64]:
    """Return where m groups of nearly equal width begin and the last one ends: (m + 1,) int64."""
    if not 1 <= m <= d:
        raise CodecError(f"pq: {m} groups of {d} dimensions; choose 1 to {d}")
    return np.concatenate([[0], np.cumsum(np.full(m, d // m) + (np.arange(m) < d % m))])


def train_codebooks(
    z: Floats, edges: NDArray[np.int64], k: int, *, seed: int, iterations: int = 25, start: Floats | None = None
) -> Floats:
    """Return codebooks (m, k, widest group) by k-means in each group, narrower groups filled up with zeros."""
    widths = np.diff(edges)
    codebooks = np.zeros((len(widths), k, int(widths.max())), np.float32)
    for m, width in enumerate(widths.tolist()):
        begin = None if start is None else np.ascontiguousarray(start[m, :, :width])
        group = z[:, edges[m] : edges[m + 1]]
        codebooks[m, :, :width] = kmeans(group, k, seed=seed + m, iterations=iterations, start=begin)
    return codebooks


class TrainedPQ(TrainedQuantizer):
    """Codebooks (m, 2**bits, widest group) and the edges of the groups of dimensions that they code."""

    tile_rows = 32

    def __init__(self, bits: int, edges: NDArray[np.int64], codebooks: Floats) -> None:
        self.bits, self.edges, self.codebooks = bits, edges, frozen(codebooks.astype("<f4", copy=False))
        self.m, self.dimensions = len(codebooks), int(edges[-1])
        self.code_bytes = self.m if bits == 8 else -(-self.m // 2)
        self.code_kind = "tables256" if bits == 8 else "tables16"

    def encode(self, z: Floats) -> Codes:
        z = np.ascontiguousarray(z, np.float32)
        centroids = np.ascontiguousarray(self.codebooks.transpose(0, 2, 1))  # [m, dimension, centroid]
        groups = np.empty((len(z), self.m), np.uint8)
        over_slices(lambda part: entries.encode_pq(z[part], self.edges, centroids, groups[part]), len(z))
        return groups if self.bits == 8 else join(groups, 2)

    def decode(self, codes: Codes) -> Floats:
        groups = codes if self.bits == 8 else split(codes, 2, self.m)
        out = np.empty((len(codes), self.dimensions), np.float32)
        if len(codes) >= KERNEL_ROWS:
            plan = self.edges, self.codebooks
            over_slices(lambda part: entries.decode_pq(groups[part], *plan, out[part]), len(codes), at_least=4096)
            return out
        if self.dimensions == self.m * self.codebooks.shape[2]:  # equal widths: one gather
            picked = self.codebooks[np.arange(self.m), groups]  # picked[n, m, dimension]
            return picked.reshape(len(codes), self.dimensions)
        for m in range(self.m):
            start, end = self.edges[m], self.edges[m + 1]
            out[:, start:end] = self.codebooks[m, groups[:, m], : end - start]
        return out

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        by_group = self._products(self.codebooks, linear)
        if quadratic is not None:
            by_group += self._products(np.square(self.codebooks), quadratic[None])
        return by_group if self.bits == 8 else paired(by_group)

    def _products(self, codebooks: Floats, x: Floats) -> Floats:
        """Return the products of vectors' groups and centroids: (n, m, centroids), written where they stay."""
        out = np.empty((len(x), *codebooks.shape[:2]), np.float32)
        np.matmul(self._by_group(x), codebooks.transpose(0, 2, 1), out=out.transpose(1, 0, 2))
        return out

    def _by_group(self, x: Floats) -> Floats:
        """Return vectors (n, dimensions) as (m, n, widest group), narrower groups filled up with zeros."""
        m, _, widest = self.codebooks.shape
        if self.dimensions == m * widest:
            return x.reshape(len(x), m, widest).transpose(1, 0, 2)
        padded = np.zeros((len(x), m, widest), np.float32)
        padded[:, self._places[0], self._places[1]] = x
        return padded.transpose(1, 0, 2)

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The group of each dimension, and its place in the group."""
        group = np.repeat(np.arange(self.m), np.diff(self.edges))
        return group, np.arange(self.dimensions) - self.edges[group]

    @property
    def arrays(self) -> Arrays:
        return {"codebooks": self.codebooks}
