"""Intel Scalable Vector Search: LVQ searched exhaustively, and LeanVec in the graph that it is made for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import require

__all__ = ["Svs"]

Floats = NDArray[np.float32]
LVQ = {"LVQ4": (4, 0), "LVQ8": (8, 0), "LVQ4x4": (4, 4), "LVQ4x8": (4, 8)}  # bits of the first and second level
OVERHEAD = 4  # scale and offset of a row, float16 each (Aguerrebere et al. 2023, section 3)
DEGREE, WINDOW = 32, 400


class Svs(Peer):
    """LVQ with a flat index; LeanVec halves the dimensions, codes both levels in LVQ8 and searches a Vamana graph.

    The graph's bytes are counted as model. Compression happens as the rows are loaded, trained on themselves (a mean,
    and for LeanVec a projection).
    """

    name = "svs"
    package, module = "scalable-vs", "svs"
    trains_on_base = True

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the levels that fit and come nearest to the budget."""
        found: list[dict[str, Any]] = []
        for name, levels in LVQ.items():
            size = dimensions * sum(levels) // 8 + OVERHEAD
            if size <= budget < 2 * size:
                found.append({"label": f"{name}, flat", "primary": levels[0], "residual": levels[1]})
        size = dimensions // 2 + dimensions + 2 * OVERHEAD
        if size <= budget < 2 * size:
            found.append({"label": f"LeanVec{dimensions // 2} 8x8, graph", "leanvec": dimensions // 2})
        return found

    def fit(self, train: Floats) -> None:
        """Do nothing: it trains on what it searches."""

    def add(self, base: Floats) -> None:
        """Load the rows through a file, which is how it compresses them."""
        svs: Any = require("svs", purpose="the peer svs")
        distance = svs.DistanceType.L2 if self.metric == "l2" else svs.DistanceType.MIP
        threads, d = len(os.sched_getaffinity(0)), base.shape[1]
        with tempfile.TemporaryDirectory() as scratch:
            path = str(Path(scratch) / "rows.fvecs")
            svs.write_vecs(base, path)
            loader = svs.VectorDataLoader(path, svs.DataType.float32, dims=d)
            if width := self.settings.get("leanvec"):
                loader = svs.LeanVecLoader(loader, width, svs.LeanVecKind.lvq8, svs.LeanVecKind.lvq8)
                alpha = 1.2 if self.metric == "l2" else 0.95  # its documentation's for the two kinds of distance
                build = svs.VamanaBuildParameters(graph_max_degree=DEGREE, window_size=128, alpha=alpha)
                self._index = svs.Vamana.build(build, loader, distance, num_threads=threads)
                self._index.search_window_size = WINDOW
                self.row_bytes, self.model_bytes = width + d + 2 * OVERHEAD, 4 * (DEGREE + 1) * len(base)
            else:
                primary, residual = self.settings["primary"], self.settings["residual"]
                loader = svs.LVQLoader(loader, primary, residual)
                self._index = svs.Flat(loader, distance, num_threads=threads)
                self.row_bytes, self.model_bytes = d * (primary + residual) / 8 + OVERHEAD, 4 * d

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search the rows, or the graph."""
        rows, scores = self._index.search(queries, k)
        return np.asarray(rows).astype(np.int64), -scores if self.metric == "l2" else scores
