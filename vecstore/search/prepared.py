"""What a search works on: the shards of a snapshot, and what is prepared of them once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vecstore.search.options import SearchMetric
from vecstore.search.plan import Plan
from vecstore.search.scan_bytes import plan_of
from vecstore.search.trellis import Trellis
from vecstore.shard.shard import Shard

__all__ = ["Prepared"]


class Prepared:
    """The shards of a snapshot, one behind the other, and what is prepared of them once for all searches.

    Attributes
    ----------
    shards : sequence of Shard
    edges : list of int
        Rows edges[i] to edges[i + 1] are in shard i.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards
        self.edges = [0, *np.cumsum([shard.rows for shard in shards]).tolist()]
        self._trellises: dict[tuple[int, int], Trellis | None] = {}
        self._plans: dict[tuple[float | None, int | str], Plan] = {}

    @property
    def rows(self) -> int:
        """How many there are in all shards."""
        return int(self.edges[-1])

    def trellis(self, number: int, layer: int, metric: SearchMetric) -> Trellis | None:
        """Return what scans a layer of a shard by its trellis; None where codes are others, or a metric not served.

        Rows whose lengths are kept apart are scanned for cosines only.
        """
        shard = self.shards[number]
        key = number, layer % len(shard.layers)
        if key not in self._trellises:
            codes = shard.layers[layer]
            self._trellises[key] = Trellis.of(codes) if codes.layer.quantizer.code_kind == "trellis" else None
        found = self._trellises[key]
        if found is None or (shard.fixes_lengths and metric != "cosine"):
            return None
        return found if found.serves(metric) else None

    def by_trellis(self, layer: int, metric: SearchMetric) -> bool:
        """Return whether the layer of any shard is scanned by its trellis, whose scores are approximate."""
        return any(self.trellis(number, layer, metric) is not None for number in range(len(self.shards)))

    def plan(self, recall: float | None, scan_bytes: int | Literal["auto"]) -> Plan:
        """Return how first bytes of trellis codes are scanned; see `plan_of`."""
        key = recall, scan_bytes
        if key not in self._plans:
            descriptions = [shard.description for shard in self.shards]
            size_bytes = self.shards[0].codec.code_bytes
            self._plans[key] = plan_of(descriptions, size_bytes, recall, scan_bytes, rows=self.rows)
        return self._plans[key]
