"""numpy: what one writes without a library. A baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows
from vecstore.bench.split import exact_scores

__all__ = ["Numpy"]

Floats = NDArray[np.float32]


class Numpy(Peer):
    """Rows as float32, float16 or int8 at one scale for all, and a matrix product with argpartition."""

    name = "numpy"
    package, module = "numpy", "numpy"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return float32 as a baseline, and int8 where it fits."""
        found = [{"label": "float32", "dtype": "float32"}]
        if budget >= dimensions:
            found.append({"label": "int8, one scale", "dtype": "int8"})
        return found

    def fit(self, train: Floats) -> None:
        """Find the scale of int8."""
        self._scale = np.float32(np.abs(train).max() / 127) if self.settings["dtype"] == "int8" else np.float32(1)

    def add(self, base: Floats) -> None:
        """Keep the rows."""
        dtype = self.settings["dtype"]
        scaled = np.clip(np.rint(base / self._scale), -127, 127) if dtype == "int8" else base
        self._rows = scaled.astype(dtype)
        self.row_bytes = self._rows.nbytes / len(base)
        self.model_bytes = 4 if dtype == "int8" else 0

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Score all rows and pick the best."""
        scores = exact_scores(queries, self.decode(), self.metric)
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        own = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-own, axis=1)
        return np.take_along_axis(best, order, axis=1), np.take_along_axis(own, order, axis=1)

    def decode(self) -> Floats:
        """Return the rows as float32."""
        return self._rows if self._rows.dtype == np.float32 else self._rows.astype(np.float32) * self._scale

    def save(self, folder: Path) -> bool:
        """Write the array."""
        np.save(folder / "rows.npy", self._rows)
        return True
