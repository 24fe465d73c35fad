"""A search of a snapshot, resolved: what all batches of its queries have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.search.batch import Batch
from vecstore.search.options import SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.resolve import cells_to_probe, resolve
from vecstore.search.sampling import Rest
from vecstore.search.selection import Selection, as_rows
from vecstore.search.strategy import Strategy
from vecstore.search.topk import TopK

__all__ = ["Request"]

FEW = 16  # rows left out, for which so many more are looked for
NONE = np.empty(0, np.int64)


@dataclass(eq=False)  # frozen ones take three times as long to make
class Request:
    """Which rows a search looks at, and how.

    Attributes
    ----------
    prepared : Prepared
    options : SearchOptions
    k : int
        Rows for each query.
    queries : int
        How many there are.
    few : (n,) int64
        The rows that are left out, where they are so few that looking for as many more costs less than a mask.
    wanted : int
        How many rows are looked for.
    """

    prepared: Prepared
    options: SearchOptions
    k: int
    queries: int

    def __post_init__(self) -> None:
        rows, exclude = self.options.rows, self.options.exclude
        self.few = NONE if exclude is None or rows is not None else _few(self.prepared.rows, exclude)
        self.wanted = min(self.k + len(self.few), self.prepared.rows)

    @cached_property
    def nprobe(self) -> int | None:
        """Into how many cells is looked; None for all."""
        return cells_to_probe(self.options, self.prepared)

    @cached_property
    def strategy(self) -> Strategy:
        """How they are looked for."""
        return resolve(self.options, self.prepared, self.wanted, self.queries if self.nprobe is None else 1)

    @cached_property
    def selection(self) -> Selection:
        """The rows that may be found, or be left out afterwards."""
        options = self.options
        return self.prepared.selection(options.rows, None if len(self.few) else options.exclude, options.where)

    def batch(self, queries: Floats, scope: tuple[int, int] | None = None, rest: Rest | None = None) -> Batch:
        """Return some of the queries, ready for all rows, or for those from one position to another."""
        metric, selection = self.options.metric, self.selection
        return Batch(self.prepared, queries, metric, selection, self.nprobe, self.wanted, scope, rest)

    def left(self, found: TopK) -> TopK:
        """Return what is left of sorted numbers of rows, of which there may be more than are wanted."""
        return found.without(self.few).cut(self.k) if len(self.few) else found


def _few(total: int, exclude: ArrayLike) -> NDArray[np.int64]:
    if np.size(exclude) > FEW:
        return NONE
    found = as_rows(total, exclude, "exclude")
    return NONE if found.dtype == bool else found
