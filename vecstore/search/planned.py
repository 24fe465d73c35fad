"""What a search does with its filter, for people to read: rows picked out, or scanned in groups that hold some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.container.ranges import length_of
from vecstore.search.options import SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.region import Region
from vecstore.search.resolve import cells_to_probe

__all__ = ["Planned", "planned"]


@dataclass(frozen=True)
class Planned:
    """How a search goes through the rows that it may find. Of a batch with `nprobe`, how its first query does.

    Attributes
    ----------
    rows, selected : int
        Of the store; those that may be found.
    picked : int
        Scored one by one, where they lie.
    scanned : int
        In groups of rows that hold a selected one, or in the cells that are looked into.
    probed : bool
        Whether only some cells are looked into.
    """

    rows: int
    selected: int
    picked: int
    scanned: int
    probed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the members, ready for JSON."""
        return dict(vars(self))

    def __str__(self) -> str:
        share = f" ({self.selected / max(self.rows, 1):.2%})" if self.selected < self.rows else ""
        where = " of the nearest cells" if self.probed else " in groups that hold some" if share else ""
        done = [f"{self.picked:,} scored one by one"] if self.picked or not self.scanned else []
        done += [f"{self.scanned:,} scanned{where}"] if self.scanned else []
        return f"{self.selected:,} of {self.rows:,} rows selected{share}; {', '.join(done)}"


def planned(prepared: Prepared, queries: Floats, k: int, options: SearchOptions) -> Planned:
    """Return what `find` does with these; the first query speaks for all."""
    selection = prepared.selection(options.rows, options.exclude, options.where)
    nprobe = cells_to_probe(options, prepared)
    region = Region(prepared, prepared.ranking(options.metric, queries[:1]), selection, nprobe, k)
    picked, scanned = 0, 0
    for number, section in enumerate(prepared.sections):
        own, part = region.picked(number), section.layers[0].part
        if own is not None:
            picked += len(own)
        elif nprobe is not None or selection.count == prepared.rows:
            scanned += length_of(region.probed(number))
        else:
            words = selection.bits(number, part)
            together = max(part.tile_rows, 32)
            firsts = np.arange(0, len(words), together // 32)
            scanned += min(together * int(np.count_nonzero(np.bitwise_or.reduceat(words, firsts))), section.rows)
    return Planned(prepared.rows, selection.count, picked, scanned, nprobe is not None)
