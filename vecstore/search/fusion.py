"""Several scores of a row become one: reciprocal ranks, or a weighted sum; and whether better rows were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import OptionError, did_you_mean

__all__ = ["Found", "Fuse", "Fused", "Rrf", "Weighted", "fusion_of"]

RRF = 60  # Cormack, Clarke and Buettcher, Reciprocal rank fusion outperforms Condorcet, SIGIR 2009

Fuse: TypeAlias = Literal["rrf"] | Mapping[str, float] | None


class Found(NamedTuple):
    """The best rows of one field for a query.

    Attributes
    ----------
    rows : (n,) int64
        Best first.
    scores : (n,) float64
        Larger is better.
    exact : bool
        Whether no row that is not there scores more than the last one that is.
    complete : bool
        Whether all rows are there that the field scores at all.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    exact: bool
    complete: bool


class Fused(NamedTuple):
    """The best rows by all fields.

    Attributes
    ----------
    places : (k,) int64
        Among the candidates, best first.
    scores : (k,) float64
    certain : bool
        Whether these are the best of all rows, not only of the candidates.
    """

    places: NDArray[np.int64]
    scores: NDArray[np.float64]
    certain: bool


class Weighted:
    """A weighted sum of the scores. What a field does not score (NaN) adds nothing."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = np.asarray(weights, np.float64)

    def best(self, lists: Sequence[Found], rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Fused:
        """Return the k best candidates.

        Parameters
        ----------
        lists : sequence of f Found
        rows : (c,) int64
            The candidates: all rows of all lists.
        scores : (f, c) float64
            Of the candidates in each field.

        Notes
        -----
        A row in none of the lists scores in each field no more than the last of its list; where the k-th best candidate
        reaches the sum of these, no row was missed (Fagin, Lotem and Naor, Optimal aggregation algorithms for
        middleware, 2001, section 4: the threshold algorithm).
        """
        known = np.where(np.isnan(scores), 0, scores)
        total = self._weights @ known
        order = np.lexsort((rows, -total))[:k]
        most = sum(self._most(found, weight) for found, weight in zip(lists, self._weights, strict=True))
        certain = all(found.complete for found in lists) or (len(order) == k and bool(total[order[-1]] >= most))
        return Fused(order, total[order], certain)

    def _most(self, found: Found, weight: float) -> float:
        """Return the most that a row which is not in a list has of its field."""
        if not found.exact or (weight < 0 and not found.complete):
            return 0.0 if weight == 0 else float("inf")
        if found.complete or not len(found.scores):
            return 0.0 if found.complete else float("inf")
        return float(weight * found.scores[-1])


class Rrf:
    """The sum of 1 / (60 + rank) over the fields. A field adds nothing for rows that it does not score (NaN)."""

    def best(self, lists: Sequence[Found], rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Fused:
        """Return the k best candidates; the arguments are those of `Weighted.best`.

        Ranks of candidates that are not in a field's list are those among the candidates: they may be worse.
        """
        total, sure = np.zeros(len(rows)), np.zeros(len(rows))
        most, unseen = np.zeros(len(rows)), 0.0
        for found, own in zip(lists, scores, strict=True):
            rank = np.empty(len(rows))
            rank[np.lexsort((rows, -own))] = np.arange(1, len(rows) + 1)  # NaN last
            part = np.where(np.isnan(own), 0, 1 / (RRF + rank))
            listed = np.isin(rows, found.rows) & found.exact
            cap = 0.0 if found.complete and found.exact else 1 / (RRF + 1 + len(found.rows) * found.exact)
            total += part
            sure += np.where(listed, part, 0)
            most += np.where(listed, part, np.where(np.isnan(own), 0, cap))
            unseen += cap
        order = np.lexsort((rows, -total))[:k]
        others = np.ones(len(rows), bool)
        others[order] = False
        rest = max(float(most[others].max(initial=0)), unseen)
        return Fused(order, total[order], len(order) > 0 and bool(sure[order].min() >= rest))


def fusion_of(fuse: Any, names: Sequence[str]) -> Weighted | Rrf:
    """Return what fuses the scores of fields with these names.

    Raises
    ------
    OptionError
        Neither "rrf" nor a number for every field.
    """
    if fuse is None and len(names) == 1:
        return Weighted([1.0])
    if isinstance(fuse, str) and fuse == "rrf":
        return Rrf()
    if not isinstance(fuse, Mapping):
        given = ", ".join(f'"{name}": 1' for name in names)
        raise OptionError(f'fuse is "rrf" or a weight for each field, {{{given}}}; found {fuse!r:.60}')
    for name in fuse:
        if name not in names:
            raise OptionError(f"fuse: no query for {name!r}{did_you_mean(str(name), names)}")
    weights = [fuse.get(name) for name in names]
    for name, weight in zip(names, weights, strict=True):
        if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)) or not np.isfinite(weight):
            raise OptionError(f"fuse: {name!r} needs a weight that is a finite number, found {weight!r}")
    return Weighted([float(weight) for weight in weights if weight is not None])
