"""How a search goes through `tcq` codes: how many first bytes of all rows, and which rows go on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """How a search looks at `tcq` codes.

    Attributes
    ----------
    sizes : tuple of int
        How many first bytes of every row are scanned, and how many are read next of rows whose score says so, before
        all are; none to scan all.
    threshold : float
        What the score by the bytes scanned has to be for more to be read: in standard deviations above the mean of the
        store's rows.
    margins : tuple of float
        How far the score by these bytes may be below the last of the rows wanted: in standard deviations of what all
        others add.
    share : float
        Threshold and margins are those of so many of the store's rows, the best ones.
    """

    sizes: tuple[int, ...] = ()
    threshold: float = 0.0
    margins: tuple[float, ...] = ()
    share: float = 1.0

    def finds(self, rank: int, rows: int) -> bool:
        """Return whether it finds the best rows up to a rank, of so many: that is all it was measured for."""
        return rank <= self.share * rows
