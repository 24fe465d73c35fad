"""turbovec: TurboQuant, a random rotation and a Lloyd-Max quantizer for each coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import require

__all__ = ["Turbovec"]

Floats = NDArray[np.float32]
OVERHEAD = 4  # the length of a row
BITS = (2, 3, 4)


class Turbovec(Peer):
    """``TurboQuantIndex``, calibrated on training rows as its documentation advises; all rows are scanned."""

    name = "turbovec"
    package, module = "turbovec", "turbovec"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the bit widths that fit and come nearest."""
        return [
            {"label": f"{bits} bit", "bit_width": bits, "calibrated": True}
            for bits in BITS
            if dimensions * bits // 8 + OVERHEAD <= budget < 2 * (dimensions * bits // 8 + OVERHEAD)
        ]

    def fit(self, train: Floats) -> None:
        """Calibrate."""
        turbovec: Any = require("turbovec", purpose="the peer turbovec")
        self._index = turbovec.TurboQuantIndex(train.shape[1], self.settings["bit_width"])
        self._index.calibrate(np.ascontiguousarray(train))
        self.model_bytes = len(self._index.to_bytes())

    def add(self, base: Floats) -> None:
        """Encode the rows."""
        self._index.add(np.ascontiguousarray(base))
        self.row_bytes = (len(self._index.to_bytes()) - self.model_bytes) / len(base)
        self._index.prepare()

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search all rows, by inner product."""
        scores, rows = self._index.search(np.ascontiguousarray(queries), k)
        return np.asarray(rows).astype(np.int64), np.asarray(scores, np.float32)

    def save(self, folder: Path) -> bool:
        """Write the index."""
        self._index.write(str(folder / "index.tv"))
        return True
