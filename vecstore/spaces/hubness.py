"""Hubs: rows that are near to far more queries than others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError
from vecstore.store.store import Store

__all__ = ["Hubness", "hubness"]

AT_ONCE = 256
HUB = 2  # times k


@dataclass(frozen=True)
class Hubness:
    """How evenly rows are found.

    Attributes
    ----------
    counts : (n,) int64
        Among the k nearest of how many others each row is, in the order of `Store.living_rows`.
    k : int
    skewness : float
        Of the counts: 0 where rows are found evenly; above 1 there are hubs.
    robin_hood : float
        Share of the places that would have to change hands for all rows to have as many.
    antihubs, hubs : float
        Share of the rows that nobody finds; share of the places that rows have which are found twice as often as on
        the average, or more.
    """

    counts: NDArray[np.int64]
    k: int
    skewness: float
    robin_hood: float
    antihubs: float
    hubs: float


def hubness(store: Store, k: int = 10, *, queries: int | None = None, seed: int = 0) -> Hubness:
    """Measure hubness: how often each row is among the k nearest of the others.

    Measures are those of Radovanović et al. (Hubs in space, JMLR 2010) and Feldbauer et al. (Fast approximate hubness
    reduction for large high-dimensional data, 2018).

    Parameters
    ----------
    store : Store
    k : int
    queries : int, optional
        Ask with so many random rows instead of all.
    seed : int
    """
    rows = len(store)
    if not 1 <= k < rows:
        raise OptionError(f"k is 1 to {rows - 1} in a store of {rows} rows, found {k}")
    living = np.asarray(store.living_rows)
    asking = living
    if queries is not None and queries < rows:
        asking = living[np.sort(np.random.default_rng(seed).choice(rows, queries, replace=False))]
    counts = np.zeros(int(living[-1]) + 1, np.int64)
    for start in range(0, len(asking), AT_ONCE):
        own = asking[start : start + AT_ONCE]
        found = np.asarray(store.search(store.vectors[own], k + 1).rows)
        others = found != own[:, None]
        others &= np.cumsum(others, axis=1) <= k  # a duplicate may stand before the row itself
        counts += np.bincount(found[others], minlength=len(counts))
    return _measured(counts[living], k)


def _measured(counts: NDArray[np.int64], k: int) -> Hubness:
    apart = counts - counts.mean()
    deviation = float(np.sqrt((apart**2).mean()))
    total = max(int(counts.sum()), 1)
    often = HUB * counts.mean()
    return Hubness(
        counts,
        k,
        float((apart**3).mean() / deviation**3) if deviation else 0.0,
        float(np.abs(apart).sum() / 2 / total),
        float((counts == 0).mean()),
        float(counts[counts >= often].sum() / total),
    )
