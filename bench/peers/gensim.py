"""gensim: float32 vectors under words, searched by a matrix product. A baseline: it does not compress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import OptionError, require

__all__ = ["Gensim"]

Floats = NDArray[np.float32]


class Gensim(Peer):
    """``KeyedVectors.similar_by_vector``, one query at a time."""

    name = "gensim"
    package, module = "gensim", "gensim"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the one thing it does, whatever the budget: a baseline."""
        return [{"label": "KeyedVectors, float32"}]

    def fit(self, train: Floats) -> None:
        """Do nothing: there is nothing to train."""

    def add(self, base: Floats) -> None:
        """Keep the rows under their numbers."""
        if self.metric != "cosine":
            raise OptionError(f"gensim searches by cosine only, not by {self.metric}")
        models: Any = require("gensim.models", purpose="the peer gensim")
        self._vectors = models.KeyedVectors(base.shape[1])
        self._vectors.add_vectors([str(row) for row in range(len(base))], base)
        self._vectors.fill_norms()
        self.row_bytes = 4 * base.shape[1]

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search all rows."""
        found = [self._vectors.similar_by_vector(query, topn=k) for query in queries]
        rows = np.array([[int(word) for word, _ in own] for own in found], np.int64)
        return rows, np.array([[score for _, score in own] for own in found], np.float32)

    def decode(self) -> Floats:
        """Return the rows themselves."""
        return np.asarray(self._vectors.vectors, np.float32)

    def save(self, folder: Path) -> bool:
        """Write them."""
        self._vectors.save(str(folder / "vectors.kv"))
        return True
