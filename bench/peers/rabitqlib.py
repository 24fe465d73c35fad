"""RaBitQLib, by RaBitQ's authors: codes of 1 to 9 bits a dimension around cluster centres."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import require

__all__ = ["Rabitqlib"]

Floats = NDArray[np.float32]
CLUSTERS = 16


class Rabitqlib(Peer):
    """An IVF index of which every cluster is probed, by the accurate estimator; centres by faiss's k-means.

    The centres come from the training rows. The bytes of a row are those of the file: bits, factors, and its number.
    """

    name = "rabitqlib"
    package, module = "rabitqlib", "rabitqlib"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the bits that fit, with room for the factors of a row."""
        padded = 64 * -(-dimensions // 64)
        return [
            {"label": f"{bits} bit", "nbits": bits, "clusters": CLUSTERS, "high_accuracy": True}
            for bits in range(1, 9)
            if _row_bytes(padded, bits) <= budget < _row_bytes(padded, bits + 1)
        ]

    def fit(self, train: Floats) -> None:
        """Find the centres."""
        faiss: Any = require("faiss", purpose="the centres of the peer rabitqlib")
        kmeans = faiss.Kmeans(
            train.shape[1], self.settings["clusters"], niter=20, seed=self.seed + 1, spherical=self.metric == "cosine"
        )
        kmeans.train(train)
        self._centres = unit(kmeans.centroids) if self.metric == "cosine" else kmeans.centroids

    def add(self, base: Floats) -> None:
        """Encode the rows."""
        rabitqlib: Any = require("rabitqlib", purpose="the peer rabitqlib")
        clusters, self._threads = len(self._centres), len(os.sched_getaffinity(0))
        distances = (base**2).sum(axis=1)[:, None] - 2 * base @ self._centres.T + (self._centres**2).sum(axis=1)
        metric = "l2" if self.metric == "l2" else "ip"
        self._index = rabitqlib.IvfIndex(base.shape[1], len(base), clusters, self.settings["nbits"], metric)
        nearest = distances.argmin(axis=1).astype(np.uint32)
        self._index.build(base, self._centres, nearest, num_threads=self._threads)
        self.model_bytes = self._centres.nbytes
        padded = 64 * -(-base.shape[1] // 64)
        self.row_bytes = _row_bytes(padded, self.settings["nbits"])

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search all clusters."""
        accurate = self.settings["high_accuracy"]
        rows, distances = self._index.search(queries, k, len(self._centres), accurate, num_threads=self._threads)
        # Of inner products it gives 1 - q . x, smallest first.
        return rows.astype(np.int64), -distances if self.metric == "l2" else 1 - distances

    def save(self, folder: Path) -> bool:
        """Write the index."""
        self._index.save(str(folder / "index.rabitq"))
        return True


def _row_bytes(padded: int, bits: int) -> int:
    """Return the sign bits with three float32 factors, the further bits with two, and the row's number."""
    return padded * bits // 8 + 12 + (8 if bits > 1 else 0) + 4
