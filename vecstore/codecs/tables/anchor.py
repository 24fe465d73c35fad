"""Rows as a few anchor rows with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, TrainedQuantizer, frozen, named
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.kmeans import kmeans
from vecstore.codecs.members import Whole
from vecstore.codecs.tables.table import TableQuantizer
from vecstore.errors import CodecError

__all__ = ["Anchor"]

ENTRY = np.dtype([("anchor", "<u2"), ("weight", "<f2")])
RIDGE = 1e-3  # of an anchor's square
BLOCK_ROWS = 2048
TRAINING_ROWS = 1 << 15
LARGEST_WEIGHT = 6e4  # what float16 holds


@dataclass(frozen=True)
class Anchor(TableQuantizer):
    """Represent a row by a weighted sum of a few of the anchors, rows that were picked from the sample.

    Liang, Zaheer, Wang & Ahmed, Anchor & transform: learning sparse embeddings for large vocabularies, ICLR 2021. The
    anchors are the rows nearest to k-means centroids. A row takes them one after the other, each time the one that
    points most along what is left, and ridge regression on all taken so far sets the weights (orthogonal matching
    pursuit: Pati, Rezaiifar & Krishnaprasad 1993). A code has four bytes for each: number and float16 weight. Rows that
    training did not see are coded alike. ``anchor:1000:2/pq:8`` adds a code of what is left.
    """

    anchors: Annotated[int, Whole(1, 1 << 16)]
    taken: Annotated[int, Whole(1, 64)] = 4

    name = "anchor"
    summary = "W of A anchor rows with weights, 4 bytes each"
    by_row = False
    usage = "anchor:A or anchor:A:W, such as anchor:4096:4"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.taken > self.anchors:
            raise CodecError(f"anchor: {self.taken} of {self.anchors} anchors taken; {self.usage}")

    def fit_dataset(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedAnchor:
        z = z[:TRAINING_ROWS]
        centroids = kmeans(z, self.anchors, seed=seed, iterations=10)
        squares = np.einsum("ij,ij->i", z, z)
        nearest = [int((squares - 2 * (z @ centroid)).argmin()) for centroid in centroids]
        return TrainedAnchor(self.taken, z[nearest].astype("<f4"))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedAnchor:
        return TrainedAnchor(self.taken, *named(arrays, anchors=(self.anchors, dimensions)))


class TrainedAnchor(TrainedQuantizer):
    def __init__(self, taken: int, anchors: Floats) -> None:
        self.taken, self.anchors = taken, frozen(anchors)
        self.dimensions = anchors.shape[1]
        self.code_bytes = ENTRY.itemsize * taken
        sizes = np.linalg.norm(anchors, axis=1)
        self._directions = anchors / np.where(sizes > 0, sizes, 1)[:, None]

    def encode(self, z: Floats) -> Codes:
        out = np.empty((len(z), self.taken), ENTRY)
        for start in range(0, len(z), BLOCK_ROWS):
            block = z[start : start + BLOCK_ROWS]
            chosen, weights = self._pursue(block)
            out["anchor"][start : start + len(block)] = chosen
            out["weight"][start : start + len(block)] = np.clip(weights, -LARGEST_WEIGHT, LARGEST_WEIGHT)
        return out.view(np.uint8).reshape(len(z), self.code_bytes)

    def _pursue(self, z: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        chosen = np.empty((len(z), 0), np.int64)
        weights = np.empty((len(z), 0))
        left = z
        for _ in range(self.taken):
            along = np.abs(left @ self._directions.T)
            np.put_along_axis(along, chosen, -1, axis=1)
            chosen = np.concatenate([chosen, along.argmax(axis=1)[:, None]], axis=1)
            basis = self.anchors[chosen].astype(np.float64)  # basis[row, taken, dimension]
            gram = basis @ basis.transpose(0, 2, 1)
            ridge = RIDGE * np.maximum(np.einsum("nii->n", gram) / gram.shape[1], 1e-30)
            gram += ridge[:, None, None] * np.eye(gram.shape[1])
            weights = np.linalg.solve(gram, np.einsum("nkd,nd->nk", basis, z)[:, :, None])[:, :, 0]
            left = z - np.einsum("nk,nkd->nd", weights, basis).astype(np.float32)
        return chosen, weights

    def decode(self, codes: Codes) -> Floats:
        entries = np.ascontiguousarray(codes).view(ENTRY)
        if len(entries) and int(entries["anchor"].max()) >= len(self.anchors):
            raise CodecError("anchor: a code names an anchor that the file does not hold; it is damaged")
        weights = entries["weight"].astype(np.float32)
        out = np.zeros((len(codes), self.dimensions), np.float32)
        for place in range(self.taken):
            out += weights[:, place, None] * self.anchors[entries["anchor"][:, place]]
        return out

    @property
    def arrays(self) -> Arrays:
        return {"anchors": self.anchors}
