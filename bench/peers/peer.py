"""What vecstore is compared with: each library in a file of its own, all behind one small protocol."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, did_you_mean, require
from vecstore.metric import Metric

__all__ = ["PEERS", "Peer", "missing", "peer_class", "peer_names", "remedy"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

PEERS = {
    "faiss": "vecstore.bench.peers.faiss:Faiss",
    "usearch": "vecstore.bench.peers.usearch:Usearch",
    "scann": "vecstore.bench.peers.scann:Scann",
    "svs": "vecstore.bench.peers.svs:Svs",
    "rabitqlib": "vecstore.bench.peers.rabitqlib:Rabitqlib",
    "turbovec": "vecstore.bench.peers.turbovec:Turbovec",
    "lancedb": "vecstore.bench.peers.lancedb:Lancedb",
    "sqlite-vec": "vecstore.bench.peers.sqlite_vec:SqliteVec",
    "gensim": "vecstore.bench.peers.gensim:Gensim",
    "numpy": "vecstore.bench.peers.numpy:Numpy",
}


class Peer(ABC):
    """A library that searches compressed vectors.

    A subclass is made with the settings that one of its `configurations` names, fitted, filled, and asked.

    Attributes
    ----------
    name : str
    package, module : str
        What pip installs, and what is imported.
    trains_on_base : bool
        Whether the library can only be trained on the rows that it then searches, which flatters it.
    row_bytes : float
        What a scan reads of a row; known after `add`.
    model_bytes : int
        Codebooks, rotations and the like; known after `add`.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    module: ClassVar[str]
    trains_on_base: ClassVar[bool] = False
    row_bytes: float = 0.0
    model_bytes: int = 0

    def __init__(self, settings: Mapping[str, Any], *, metric: Metric, seed: int) -> None:
        self.settings, self.metric, self.seed = dict(settings), metric, seed

    @classmethod
    @abstractmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return settings that take at most `budget` bytes a row; each has a ``label`` that tells it from others."""

    @classmethod
    def quick(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return those of them that take seconds, for a quick bench."""
        return cls.configurations(budget, dimensions)

    @abstractmethod
    def fit(self, train: Floats) -> None:
        """Train on rows that are not searched; does nothing where `trains_on_base`."""

    @abstractmethod
    def add(self, base: Floats) -> None:
        """Take the rows to search."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Return rows and scores, best first, larger being better; row -1 where there is none."""

    def decode(self) -> Floats | None:
        """Return the rows as they are kept, (n, d), or None where the library does not show them."""
        return None

    def save(self, folder: Path) -> bool:
        """Write what a later process would open into `folder`; False where the library cannot."""
        return False


def peer_names(text: str) -> list[str]:
    """Return the peers of a list such as ``faiss,usearch``, or of ``all`` or ``none``.

    Raises
    ------
    OptionError
        There is no adapter of that name.
    """
    if text in ("", "none"):
        return []
    names = list(PEERS) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PEERS:
            raise OptionError(f"no peer {name!r}{did_you_mean(name, PEERS)}; known: {', '.join(PEERS)}")
    return names


def remedy(absent: Mapping[str, str]) -> str:
    """Return in a sentence which peers are left out, and what installs them; `absent` as in a `Plan`."""
    packages = " ".join(peer_class(name).package for name in absent)
    return f"not installed, and so not measured: {', '.join(absent)}; to add them: pip install {packages}"


def peer_class(name: str) -> type[Peer]:
    """Return the adapter of a peer; the library itself is not imported."""
    module, _, attribute = PEERS[name].partition(":")
    found: type[Peer] = getattr(importlib.import_module(module), attribute)
    return found


def missing(name: str) -> str | None:
    """Return what to install where a peer's library is not there or does not load, else None."""
    peer = peer_class(name)
    try:
        require(peer.module, purpose=f"the peer {name}")
    except ImportError as error:
        cause = f"; it says: {error.__cause__}" if type(error.__cause__) is ImportError else ""
        return f"{error} (package {peer.package}){cause}"
    return None
