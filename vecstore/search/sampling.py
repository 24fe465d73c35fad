"""A sample of the rows, by which a scan that looks for the best of all learns what they score."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.container.ranges import Ranges, length_of, spread
from vecstore.search.topk import TopK

__all__ = ["LONG", "ONE_IN", "SHORT", "Rest", "Sampled", "Share", "from_likely", "sample"]

SHORT, LONG = 64, 512  # rows of a run: many see all kinds of rows, long ones are scanned and checked in less time
# One row in so many is looked at, in all at least and at most; what is taken is the score of the row that so many
# standard deviations more than expected reach.
ONE_IN, LEAST, MOST, SURPLUS = 32, 1024, 16384, 3.0


class Sampled(NamedTuple):
    """A sample of the rows that was looked at.

    Attributes
    ----------
    ranges : (n, 2) int64
        Their slots.
    thresholds : (q,) float64
        Raw scores of the scan that enough rows of all are likely to reach.
    best : TopK
        The rows of the sample that reach them, by their positions.
    """

    ranges: Ranges
    thresholds: NDArray[np.float64]
    best: TopK

    @classmethod
    def of(cls, ranges: Ranges, held: TopK, k: int) -> Self:
        """Return what the best rows that were held say of the best k of all.

        Thresholds lie above the last of them, since some rows that score the same were not held.
        """
        held.sort()
        thresholds = np.nextafter(held.scores[:, -1], np.inf)
        return cls(ranges, thresholds, held.least(thresholds).cut(min(k, held.k)))


class Rest(NamedTuple):
    """What is left to look at of a part of the rows: slots (n, 2), and the raw scores (q,) that rows have to reach."""

    ranges: Ranges
    thresholds: NDArray[np.float64]

    def of(self, queries: slice) -> Rest:
        """Return the same for some of the queries."""
        return self._replace(thresholds=self.thresholds[queries])


class Share(NamedTuple):
    """Which rows one of several looks at, and how.

    Attributes
    ----------
    scope : (int, int)
        The rows from one position to another.
    rest : Rest, optional
        What is left of them: others are passed over, and enough rows have to be left in all shares.
    whole : bool
        All bytes of the codes are scanned, whatever the options say of first ones.
    decide : bool
        Candidates are decided among; otherwise whoever merges them does that.
    """

    scope: tuple[int, int]
    rest: Rest | None = None
    whole: bool = False
    decide: bool = True


def sample(ranges: Ranges, k: int, run: int) -> tuple[Ranges, int] | None:
    """Return runs of rows spread over some ranges, and a rank: what ranks so in them, k of all are likely to beat.

    None where the rows are so few that this is not worth it.
    """
    rows = length_of(ranges)
    runs = min(rows // ONE_IN, MOST) // run
    if runs * run < LEAST:
        return None
    expected = k * runs * run / rows
    rank = int(expected + SURPLUS * (expected**0.5 + 1)) + 1
    return None if rank > runs * run // 2 else (spread(ranges, runs, run), rank)


def from_likely(
    scan: Callable[[NDArray[np.float64]], TopK], floors: NDArray[np.float64], likely: NDArray[np.float64] | None
) -> TopK:
    """Return the best rows that reach the floors (q,), by a scan from the scores on that enough are likely to reach."""
    if likely is not None:
        best = scan(np.maximum(floors, likely))
        if min(best.sizes.tolist()) == best.k:
            return best  # otherwise the sample was better than the other rows are
    return scan(floors)
