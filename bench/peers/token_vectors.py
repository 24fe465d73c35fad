"""Other libraries' searches of token vectors: maxsim-cpu (``pip install maxsim-cpu``)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PEERS", "TokenPeer"]


class TokenPeer(NamedTuple):
    """What was built: its bytes, and the best k rows for the vectors (t, d) of a query."""

    size_bytes: int
    search: Callable[[NDArray[np.float32], int], list[int]]


def maxsim_cpu(items: list[NDArray[np.float32]], folder: Path) -> TokenPeer:
    """Return exact scores of all rows, from their float32 vectors."""
    library = import_module("maxsim_cpu")

    held = [np.ascontiguousarray(item) for item in items]

    def search(query: NDArray[np.float32], k: int) -> list[int]:
        scores = np.asarray(library.maxsim_scores_variable(np.ascontiguousarray(query), held))
        best = np.argpartition(-scores, k)[:k]
        return [int(row) for row in best[np.argsort(-scores[best], kind="stable")]]

    return TokenPeer(sum(item.nbytes for item in held), search)


PEERS: dict[str, Callable[[list[NDArray[np.float32]], Path], TokenPeer]] = {"maxsim-cpu, float32": maxsim_cpu}
