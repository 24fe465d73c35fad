"""What a search works on: the shards of a snapshot, and what is prepared of them once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.search.options import SearchMetric
from vecstore.search.oversampling import oversampling
from vecstore.search.plan import Plan
from vecstore.search.ranking import Ranking
from vecstore.search.scan_bytes import plan_of
from vecstore.search.section import sections_of
from vecstore.search.selection import Selection, as_numbers, as_rows
from vecstore.search.trellis import Trellis
from vecstore.search.where import mask_of
from vecstore.shard.certificate import certificate_in, search_facts
from vecstore.shard.shard import Shard

__all__ = ["Prepared"]

KEPT_FILTERS, KEPT_MASK_BYTES = 16, 1 << 27  # selections of conditions that are kept: how many, and bytes of masks
NOBODY = np.empty(0, np.int64)


class Prepared:
    """The shards of a snapshot, one behind the other, and what is prepared of them once for all searches.

    Attributes
    ----------
    shards : sequence of Shard
    sections : list of Section
        The shards, as few as can be searched one by one.
    edges : list of int
        Rows edges[i] to edges[i + 1] are in section i.
    explained : dict
        What a search by a metric does, found out by the first one that asked; see `explain`.
    singles : dict
        What is made once for searches of one vector after another, by kind of search; see `single`.
    dead : (n,) int64
        Numbers of rows that no search finds, rising.
    measured : mapping, optional
        Members of descriptions that were measured of all shards, in the place of what each tells.
    """

    def __init__(
        self, shards: Sequence[Shard], dead: NDArray[np.int64] = NOBODY, measured: Mapping[str, Any] | None = None
    ) -> None:
        self.shards, self.sections = shards, sections_of(shards)
        self.edges: list[int] = np.cumsum([0, *(section.rows for section in self.sections)]).tolist()
        self.dead, self._living = dead, Selection(self.sections, self.edges, None, dead if len(dead) else None)
        self._measured = measured or {}  # members of descriptions that are true of all shards
        self._filtered: dict[str, Selection] = {}
        self._trellises: dict[tuple[int, int], Trellis | None] = {}
        self._served: dict[SearchMetric, bool] = {}
        self._oversampling: dict[float | None, int] = {}
        self.explained: dict[SearchMetric, Any] = {}
        self.singles: dict[Hashable, Any] = {}
        self._plans: dict[tuple[float | None, int | str], Plan] = {}

    @property
    def rows(self) -> int:
        """How many there are in all shards."""
        return int(self.edges[-1])

    def numbered(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the rows at positions, -1 for -1, in the same shape."""
        sections, edges = self.sections, self.edges
        if all(section.in_order for section in sections):
            return positions
        rows = positions.copy()
        for section, first, end in zip(sections, edges, edges[1:], strict=False):
            inside = (positions >= first) & (positions < end)
            rows[inside] = section.numbered(positions[inside] - first) + first
        return rows

    def ranking(self, metric: SearchMetric, queries: Floats) -> Ranking:
        """Return how queries (q, d) rank the rows."""
        return Ranking.of(metric, queries, unit_rows=self.shards[0].prefix is not None)

    def scanned_bytes(self, layer: int) -> int:
        """Return how many bytes the codes of a layer have."""
        return self.rows * self.sections[0].codec.layers[layer].code_bytes

    def selection(self, rows: ArrayLike | None, exclude: ArrayLike | None, where: Any = None) -> Selection:
        """Return the rows that a search may find: some or all, without others and without those that were deleted."""
        if rows is None and exclude is None and where is None:
            return self._living
        if where is not None:
            return self._selected(rows, exclude, where)
        if len(self.dead):
            exclude = self.dead if exclude is None else np.union1d(self.dead, as_numbers(self.rows, exclude, "exclude"))
        return Selection(self.sections, self.edges, rows, exclude)

    def _selected(self, rows: ArrayLike | None, exclude: ArrayLike | None, where: Any) -> Selection:
        """Return those of the rows that a condition selects. What one selects of all is kept for the next search."""
        known = self._filtered.get(where) if rows is None and exclude is None and isinstance(where, str) else None
        if known is None:
            mask = mask_of(where, self.shards)
            if rows is not None:
                chosen = as_rows(self.rows, rows, "rows")
                mask = mask & chosen if chosen.dtype == bool else chosen[mask[chosen]]
            known = self.selection(mask, exclude)
            if rows is None and exclude is None and isinstance(where, str):
                while len(self._filtered) >= max(min(KEPT_FILTERS, KEPT_MASK_BYTES // max(self.rows, 1)), 1):
                    self._filtered.pop(next(iter(self._filtered), where), None)  # two threads may both come here
                self._filtered[where] = known
        return known

    def trellis(self, number: int, layer: int, metric: SearchMetric) -> Trellis | None:
        """Return what scores rows of a layer of a section by their trellis; None where codes are others.

        Rows whose lengths are kept apart are scored so for cosines only.
        """
        section = self.sections[number]
        key = number, layer % len(section.layers)
        if key not in self._trellises:
            codes = section.layers[layer]
            self._trellises[key] = Trellis.of(codes) if codes.layer.quantizer.code_kind == "trellis" else None
        return None if section.fixes_lengths and metric != "cosine" else self._trellises[key]

    def scanned_by_trellis(self, metric: SearchMetric) -> bool:
        """Return whether the first layer of all sections is scanned by its trellis, whose scores are approximate."""
        if metric not in self._served:
            found = (self.trellis(number, 0, metric) for number in range(len(self.sections)))
            coarse = len(self.sections[0].layers) > 1
            self._served[metric] = all(
                trellis is not None and trellis.serves(metric, coarse=coarse) for trellis in found
            )
        return self._served[metric]

    def oversampling(self, recall: float | None) -> int:
        """Return how many rows of a coarse layer are rescored for each one wanted; see `oversampling`."""
        if recall not in self._oversampling:
            self._oversampling[recall] = oversampling(self._descriptions, recall)
        return self._oversampling[recall]

    @property
    def _descriptions(self) -> list[Mapping[str, Any]]:
        """What shards tell of searches, or what was measured of all of them since."""
        own: list[Mapping[str, Any]] = [shard.description for shard in self.shards]
        later = search_facts(certificate_in(self._measured))
        if not later:
            return own
        told = [certificate_in(description) for description in own]
        # A shard that tells nothing has a codec of its own, of which nothing was measured.
        return [{"certificate": each.to_dict() | (later if search_facts(each) else {})} for each in told]

    def plan(self, recall: float | None, scan_bytes: int | Literal["auto"]) -> Plan:
        """Return how first bytes of trellis codes are scanned; see `plan_of`."""
        key = recall, scan_bytes
        if key not in self._plans:
            size_bytes = self.sections[0].codec.layers[0].code_bytes
            self._plans[key] = plan_of(self._descriptions, size_bytes, recall, scan_bytes, rows=self.rows)
        return self._plans[key]
