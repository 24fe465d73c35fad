"""What a search of a store does by default, for people to read: what is scanned, how, and what is scored again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vecstore.search.batch import Batch
from vecstore.search.cascade import Cascade
from vecstore.search.decoded_scanner import DecodedScanner
from vecstore.search.options import SearchMetric, SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.rescore import Rescore
from vecstore.search.resolve import resolve
from vecstore.search.scan import Scan

__all__ = ["Explanation", "explain"]

WANTED = 10


@dataclass(frozen=True)
class Explanation:
    """What a search for ten rows with default options does.

    Attributes
    ----------
    scans : str
        The layer, as a specification.
    row_bytes : float
        What its code takes.
    decodes : bool
        Whether its rows are decoded, since codes like these cannot be scanned where they lie: slow.
    rescores : int
        Rows that are then scored exactly; 0 where the scan is exact.
    by : str
        The layer that scores them.
    """

    scans: str
    row_bytes: float
    decodes: bool
    rescores: int
    by: str

    def to_dict(self) -> dict[str, Any]:
        """Return the members, ready for JSON."""
        return dict(vars(self))

    def __str__(self) -> str:
        text = f"scans the codes of {self.scans}, {self.row_bytes:g} B a row"
        if self.decodes:
            text = f"slow: decodes every row of {self.scans}, whose codes cannot be scanned where they lie"
        if self.rescores:
            text += f"; scores the best {self.rescores:,} rows"
            text += f" by {self.by}" if self.by != self.scans else " exactly"
        return text


def explain(prepared: Prepared, metric: SearchMetric) -> Explanation:
    """Return what a search of these shards does, found out once; the first section speaks for all."""
    if metric not in prepared.explained:  # two threads may both do it
        prepared.explained[metric] = _explanation(prepared, metric)
    found: Explanation = prepared.explained[metric]
    return found


def _explanation(prepared: Prepared, metric: SearchMetric) -> Explanation:
    first = prepared.sections[0]
    strategy = resolve(SearchOptions(metric=metric), prepared, WANTED)
    dimensions = prepared.shards[0].dimensions
    query = np.full((1, dimensions), dimensions**-0.5, np.float32)
    batch = Batch(prepared, query, metric, prepared.selection(None, None), None)
    number = strategy.layer
    exact = isinstance(strategy, Scan) and not strategy.approximate
    scanners = batch.exact_scanners(number) if exact else batch.fast_scanners(wanted=WANTED)
    rescored = 0
    if isinstance(strategy, (Rescore, Cascade)):
        rescored = min(max(WANTED * strategy.factor, strategy.least), prepared.rows)
    layers = first.codec.layers
    scanned, fine = layers[number], layers[strategy.fine if isinstance(strategy, Rescore) else 0]
    return Explanation(
        scans=str(scanned.spec),
        row_bytes=scanned.code_bytes,
        decodes=isinstance(scanners[0], DecodedScanner),
        rescores=rescored,
        by=str(fine.spec),
    )
