"""usearch: one number type for the whole vector, searched exhaustively."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import require

__all__ = ["Usearch"]

Floats = NDArray[np.float32]
WIDTHS = {"f32": 32, "f16": 16, "bf16": 16, "i8": 8, "b1": 1}  # bits a dimension


class Usearch(Peer):
    """``Index.search(exact=True)``: what its codes keep, without what its graph might miss.

    The kinds of number that its documentation recommends, with cosine for the numbers and Hamming distance of the
    signs, packed as it says, for ``b1``.
    """

    name = "usearch"
    package, module = "usearch", "usearch"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the kinds of number that fit the budget and would not fit half of it."""
        return [
            {"label": kind, "dtype": kind}
            for kind, bits in WIDTHS.items()
            if dimensions * bits // 8 <= budget < 2 * dimensions * bits // 8
        ]

    def fit(self, train: Floats) -> None:
        """Do nothing: there is nothing to train."""

    def add(self, base: Floats) -> None:
        """Add the rows."""
        module: Any = require("usearch.index", purpose="the peer usearch")
        dtype, d = self.settings["dtype"], base.shape[1]
        metric = {"cosine": "cos", "dot": "ip", "l2": "l2sq"}[self.metric]
        self._binary = dtype == "b1"
        self._index = module.Index(ndim=d, metric="hamming" if self._binary else metric, dtype=dtype)
        self._index.add(np.arange(len(base)), self._given(base))
        self.row_bytes = d * WIDTHS[dtype] / 8

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search all rows."""
        found = self._index.search(self._given(queries), k, exact=True)
        rows = np.asarray(found.keys).astype(np.int64).reshape(len(queries), -1)
        distances = np.asarray(found.distances, np.float32).reshape(rows.shape)
        return rows, (1 - distances) if self.metric == "cosine" and not self._binary else -distances

    def decode(self) -> Floats | None:
        """Return the rows as the index gives them back; signs are no vectors that a score could be taken of."""
        if self._binary:
            return None
        return np.asarray(self._index.get(np.arange(len(self._index)), dtype=np.float32), np.float32)

    def save(self, folder: Path) -> bool:
        """Write the index, which has its graph in it."""
        self._index.save(str(folder / "index.usearch"))
        return True

    def _given(self, x: Floats) -> Any:
        return np.packbits(x > 0, axis=1) if self._binary else x
