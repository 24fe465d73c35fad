"""Queries of a new model on a store of an old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError
from vecstore.search.result import SearchResult
from vecstore.spaces.alignment import fitted
from vecstore.spaces.map import Map
from vecstore.store.store import Store

__all__ = ["Adaptation", "adapt"]

MOST_PAIRS = 10_000
FEWEST_PAIRS = 20
HELD_OUT = 500  # at most, and a fifth of the pairs
NEAREST = 10


@dataclass(frozen=True)
class Adaptation:
    """How to ask an old store with a new model's vectors.

    Attributes
    ----------
    map : Map
        From the new model's space to the old one.
    recall : float
        Recall@10 on pairs held out: how many of the ten rows that the old model's vector of a key finds the new one's,
        mapped, finds too.
    held_out, pairs : int
        Pairs that recall was measured on, and that the map was made of.
    """

    map: Map
    recall: float
    held_out: int
    pairs: int
    _store: Store = field(repr=False)

    def search(self, queries: ArrayLike, k: int = 10, **options: Any) -> SearchResult:
        """Search the old store with vectors of the new model; options are those of `Store.search`."""
        return self._store.search(self.map.map(queries), k, **options)

    def __str__(self) -> str:
        return (
            f"recall@{NEAREST} {self.recall:.3f} of what the old model finds, on {self.held_out:,} pairs held out; "
            f"a map of {self.pairs:,} pairs"
        )


def adapt(store: Store, keys: Sequence[Any], vectors: ArrayLike, *, seed: int = 0) -> Adaptation:
    """Learn to ask a store of an old model with queries of a new one, whose vectors of some of its keys are given.

    An orthogonal and a linear map are tried; what finds more on pairs held out is made of all pairs.

    Parameters
    ----------
    store : Store
    keys : n keys of the store, 20 at least
        A random 10,000 of more.
    vectors : (n, d) array
        The new model's, of any width.
    seed : int
    """
    y = as_vectors(vectors, np.shape(vectors)[-1])
    if len(keys) != len(y) or len(y) < FEWEST_PAIRS:
        raise OptionError(f"{FEWEST_PAIRS} keys at least, and a vector of each; found {len(keys)} and {len(y)}")
    chosen = np.random.default_rng(seed).permutation(len(y))[:MOST_PAIRS]
    new, old = unit(y[chosen]), store[[keys[at] for at in chosen.tolist()]]
    held_out = min(HELD_OUT, len(chosen) // 5)
    truth = np.asarray(store.search(old[:held_out], NEAREST).rows)
    measured = []
    for how in ("orthogonal", "linear"):
        trial = fitted(new[held_out:], unit(old[held_out:]), how)
        measured.append((_recall(store, trial.map(new[:held_out]), truth), how))
    recall, how = max(measured)
    return Adaptation(fitted(new, unit(old), how), recall, held_out, len(chosen), store)


def _recall(store: Store, queries: Floats, truth: Any) -> float:
    found = np.asarray(store.search(queries, NEAREST).rows)
    return float(np.mean([len(np.intersect1d(*pair)) / len(pair[1]) for pair in zip(found, truth, strict=True)]))
