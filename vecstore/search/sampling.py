"""A sample of the rows, by which a scan that looks for the best of all learns what they score."""

from __future__ import annotations

from vecstore.container.ranges import Ranges, length_of, spread

__all__ = ["LONG", "ONE_IN", "SHORT", "sample"]

SHORT, LONG = 64, 512  # rows of a run: many see all kinds of rows, long ones are scanned and checked in less time
# One row in so many is looked at, in all at least and at most; what is taken is the score of the row that so many
# standard deviations more than expected reach.
ONE_IN, LEAST, MOST, SURPLUS = 32, 1024, 16384, 3.0


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
