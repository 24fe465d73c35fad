"""Which rows of each section a batch of queries looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.container.ranges import Ranges, rows_in
from vecstore.search.prepared import Prepared
from vecstore.search.ranking import Ranking
from vecstore.search.sampling import Rest
from vecstore.search.scanner import Scanner
from vecstore.search.selection import Selection, worth_picking

__all__ = ["Region"]


class Region:
    """The rows that are looked at: scanned, or picked out and scored one by one where that takes less.

    Parameters
    ----------
    prepared : Prepared
    ranking : Ranking
        Of one query, where `nprobe` says into how many cells it looks.
    selection : Selection
        The rows that may be found.
    nprobe : int or None
        Look into so many cells, the nearest ones; None for all. Where rows are selected, into as many more as hold as
        many of these.
    least : int
        Of these look at so many at least, as long as there are some.
    scope : (int, int), optional
        Look only at the rows from one position to another. All else, such as what scores are to be expected, is that
        of the whole store, so that what parts of it find is what one search of all finds.
    rest : Rest, optional
        What is left of the scope once somebody looked at a sample of the whole store, and the scores of the scan that
        enough of its rows reach, as it seems: others are passed over.
    """

    def __init__(
        self,
        prepared: Prepared,
        ranking: Ranking,
        selection: Selection,
        nprobe: int | None,
        least: int = 0,
        scope: tuple[int, int] | None = None,
        rest: Rest | None = None,
    ) -> None:
        self.selection, self.nprobe, self.least, self.scope, self.rest = selection, nprobe, least, scope, rest
        self._prepared, self._ranking = prepared, ranking
        self._picked = [self._picked_of(number) for number in range(len(prepared.sections))]

    def picked(self, number: int) -> NDArray[np.int64] | None:
        """Return the positions of a section that are scored one by one, sorted; None where it is scanned."""
        return self._picked[number]

    def probed(self, number: int) -> Ranges:
        """Return the positions of a section that are looked at: in the cells nearest to the query, or all."""
        section, selection = self._prepared.sections[number], self.selection
        if section.cells is None or self.nprobe is None:
            return np.array([self._scope_in(number)])
        nearest = section.cells.nearest(
            self._ranking.queries[0],
            self.nprobe,
            by_product=self._ranking.raw == "product",
            selected=selection.counts(number, section.cells.ranges) if selection.narrowed else None,
            least=self.least,
        )
        if self.scope is None:
            return nearest
        nearest = nearest.clip(*self._scope_in(number))
        return nearest[nearest[:, 0] < nearest[:, 1]]

    def of(self, scanner: Scanner, number: int) -> Ranges:
        """Return which slots of a section a scanner scans; or which of the rows that are picked out, all."""
        picked = self._picked[number]
        if picked is not None:
            return np.array([[0, len(picked)]])
        if self.rest is not None:
            return self.rest.ranges
        return scanner.arranged(scanner.codes.part.ranges_of(self.probed(number)))

    def _picked_of(self, number: int) -> NDArray[np.int64] | None:
        section, selection = self._prepared.sections[number], self.selection
        if selection.listed is None:
            return None
        if self.nprobe is not None:
            return selection.among(number, rows_in(self.probed(number)))
        picked, codes = selection.in_section(number), section.layers[0]
        if not worth_picking(codes.part, picked, codes.layer.code_bytes):
            return None
        low, high = np.searchsorted(picked, self._scope_in(number))
        return picked[low:high]

    def _scope_in(self, number: int) -> tuple[int, int]:
        """Return the positions of a section from which to which rows are looked at."""
        first, end = self._prepared.edges[number], self._prepared.edges[number + 1]
        if self.scope is None:
            return 0, end - first
        low, high = (min(max(edge - first, 0), end - first) for edge in self.scope)
        return low, high
