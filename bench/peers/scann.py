"""ScaNN: anisotropic product quantization, 4 bits a block of dimensions, searched exhaustively."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import require

__all__ = ["Scann"]

Floats = NDArray[np.float32]
BLOCKS = (1, 2, 4, 8, 16)  # dimensions a 4-bit block


class Scann(Peer):
    """``score_ah`` over all rows, without a tree and without reordering, which would keep the floats.

    Threshold .2 for the anisotropic loss and blocks of 2 dimensions are its documentation's; more dimensions a block
    reach the smaller budgets. It trains on the rows that it searches.
    """

    name = "scann"
    package, module = "scann", "scann"
    trains_on_base = True

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the largest code that fits."""
        sizes = {block: -(-dimensions // block) / 2 for block in BLOCKS}
        return [
            {"label": f"AH, {block} a block", "dimensions_per_block": block, "anisotropic_quantization_threshold": 0.2}
            for block, size in sizes.items()
            if size <= budget < 2 * size
        ]

    def fit(self, train: Floats) -> None:
        """Do nothing: it trains on what it searches."""

    def add(self, base: Floats) -> None:
        """Train on the rows, and encode them."""
        scann: Any = require("scann", purpose="the peer scann")
        block = self.settings["dimensions_per_block"]
        measure = "squared_l2" if self.metric == "l2" else "dot_product"
        builder = scann.scann_ops_pybind.builder(base, 10, measure)
        threshold = self.settings["anisotropic_quantization_threshold"]
        self._searcher = builder.score_ah(block, anisotropic_quantization_threshold=threshold).build()
        self.row_bytes = -(-base.shape[1] // block) / 2
        self.model_bytes = 4 * 16 * base.shape[1]

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search all rows; a batch in all threads."""
        search = self._searcher.search_batched if len(queries) < 8 else self._searcher.search_batched_parallel
        rows, scores = search(queries, final_num_neighbors=k)
        return np.asarray(rows).astype(np.int64), -scores if self.metric == "l2" else scores

    def save(self, folder: Path) -> bool:
        """Write the searcher."""
        self._searcher.serialize(str(folder))
        return True
