"""The options of a search, validated once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vecstore.errors import OptionError
from vecstore.metric import METRICS, Metric

__all__ = ["DISTANCES", "SEARCH_METRICS", "SearchMetric", "SearchOptions"]

SearchMetric: TypeAlias = Metric | Literal["hamming"]
SEARCH_METRICS: tuple[SearchMetric, ...] = (*METRICS, "hamming")
DISTANCES = ("l2", "hamming")  # whose scores are better when smaller
MOST_RECALL = 0.999  # for which conversion measures


@dataclass(eq=False, kw_only=True)  # frozen ones take three times as long to make
class SearchOptions:
    """What `Store.search` and `Store.range_search` take beside the queries; see there for what each means.

    What depends on the store is checked by `vecstore.search.resolve.resolve`.

    Attributes
    ----------
    least : float
        Rows that score less (a distance has its sign changed) do not count; -inf for no such limit. It follows from
        `min_score` or `max_distance`.

    Raises
    ------
    OptionError
        A value that no store takes.
    """

    metric: SearchMetric
    rows: ArrayLike | None = None
    exclude: ArrayLike | None = None
    where: Any = None
    min_score: float | None = None
    max_distance: float | None = None
    rescore: int | Literal["auto"] = "auto"
    recall: float | None = None
    scan_bytes: int | Literal["auto"] = "auto"
    exact: bool = False
    nprobe: int | None = None
    calibrated: bool = False
    least: float = field(init=False, default=-np.inf)

    def __post_init__(self) -> None:
        if self.metric not in SEARCH_METRICS:
            raise OptionError(f"unknown metric {self.metric!r}; choose one of {', '.join(SEARCH_METRICS)}")
        if self.rescore != "auto" and (not _whole(self.rescore) or self.rescore < 0):
            raise OptionError(f'rescore is "auto", or 0 or a positive oversampling factor; found {self.rescore!r}')
        if self.nprobe is not None and (not _whole(self.nprobe) or self.nprobe < 1):
            raise OptionError(f"nprobe is a positive number of cells, found {self.nprobe!r}")
        if self.recall is not None and not (_finite(self.recall) and 0 < self.recall <= MOST_RECALL):
            raise OptionError(
                f"recall is a share up to {MOST_RECALL}, found {self.recall!r}; exact=True misses nothing"
            )
        if self.scan_bytes != "auto" and not _whole(self.scan_bytes):
            raise OptionError(f'scan_bytes is "auto", or a number of bytes; found {self.scan_bytes!r}')
        self.least = self._least()

    @property
    def distance(self) -> bool:
        """Whether scores are distances: better when smaller."""
        return self.metric in DISTANCES

    def _least(self) -> float:
        if self.min_score is not None and self.distance:
            raise OptionError(f"scores of {self.metric} are distances: give max_distance= instead of min_score=")
        if self.max_distance is not None and not self.distance:
            raise OptionError(f"scores of {self.metric} are no distances: give min_score= instead of max_distance=")
        limit = self.max_distance if self.distance else self.min_score
        if limit is None:
            return -np.inf
        if not _finite(limit):
            raise OptionError(f"a limit of scores is a number, found {limit!r}")
        return -float(limit) if self.distance else float(limit)


def _finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
