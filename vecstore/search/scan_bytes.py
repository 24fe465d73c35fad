"""How many first bytes of `tcq` codes a search scans, by what conversion measured and wrote into the store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from vecstore.codecs.trellis.lookups import COARSE_BITS
from vecstore.errors import OptionError
from vecstore.search.plan import Plan
from vecstore.shard.certificate import certificate_in

__all__ = ["DEFAULT_RECALL", "LEAST_ROWS", "NEIGHBORS", "RECALLS", "SAMPLE_ROWS", "plan_of"]

# Shares of the neighbours that a scan of all bytes finds, for which was measured.
RECALLS = (0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.998, 0.999)
DEFAULT_RECALL = 0.998
LEAST_ROWS = 1 << 17  # for a few bytes to be scanned unless asked for: among fewer rows a scan of all is as fast
SAMPLE_ROWS, NEIGHBORS = 20_000, 10  # among so many rows was measured, and of how many neighbours


def plan_of(
    descriptions: Sequence[Mapping[str, Any]],
    size_bytes: int,
    recall: float | None,
    scan_bytes: int | Literal["auto"],
    *,
    rows: int,
) -> Plan:
    """Return how a search looks at codes.

    Parameters
    ----------
    descriptions : of the shards
    size_bytes : int
        Of a code.
    recall : float or None
        Share of what all bytes find that is to be found; None for DEFAULT_RECALL where fewer bytes are scanned.
    scan_bytes : int or "auto"
        Bytes that are scanned; "auto" for all, unless a recall is given for so many rows that fewer are faster.
    rows : int

    Raises
    ------
    OptionError
        Not what was measured.
    """
    if scan_bytes == "auto" and (recall is None or rows < LEAST_ROWS):
        return Plan()
    wanted = str(min(known for known in RECALLS if known >= (recall or DEFAULT_RECALL)))
    measured = [Measured.of(description, wanted) for description in descriptions]
    reachable = sorted(size for size in set.intersection(*(set(own.stages) for own in measured)) if size < size_bytes)
    size = measured[0].fastest if scan_bytes == "auto" else scan_bytes
    if scan_bytes not in ("auto", size_bytes, *reachable):
        choices = ", ".join(map(str, [*reachable, size_bytes]))
        raise OptionError(f"scan_bytes is a number of bytes that was measured, or all: {choices}; found {scan_bytes!r}")
    if size not in reachable:
        return Plan()
    sizes = (int(size), *(other for other in reachable if other >= 2 * int(size)))[:2]
    threshold = min(own.stages[sizes[0]][0] for own in measured)
    margins = tuple(max(own.stages[each][1] for own in measured) for each in sizes)
    return Plan(sizes, threshold, margins, min(own.share for own in measured))


@dataclass(frozen=True)
class Measured:
    """What a description tells for one recall.

    Attributes
    ----------
    stages : dict
        Threshold and margin of a `Plan`, by number of bytes.
    fastest : object
        How many bytes are expected to be the fastest to scan; as untrusted as the file.
    share : float
        That of a `Plan`.
    """

    stages: dict[int, tuple[float, float]] = field(default_factory=dict)
    fastest: Any = None
    share: float = 0.0

    @classmethod
    def of(cls, description: Mapping[str, Any], recall: str) -> Measured:
        """Read a description; what is missing or malformed there was not measured."""
        about = certificate_in(description).prefixes
        if not isinstance(about, Mapping) or about.get("bits") != COARSE_BITS:
            return cls()  # measured for other look-ups, or not at all
        limits, margins = about.get("limits"), about.get("margins")
        if not isinstance(limits, Mapping) or not isinstance(margins, Mapping):
            return cls()
        stages: dict[int, tuple[float, float]] = {}
        for size, thresholds in limits.items():
            pair = [of.get(recall) if isinstance(of, Mapping) else None for of in (thresholds, margins.get(size))]
            threshold, margin = (float(n) if isinstance(n, (int, float)) else np.nan for n in pair)
            if (
                isinstance(size, str)
                and re.fullmatch("[0-9]{1,9}", size)
                and np.isfinite(threshold)
                and np.isfinite(margin)
            ):
                stages[int(size)] = threshold, margin
        fastest, rows = about.get("swept"), about.get("rows", SAMPLE_ROWS)
        share = NEIGHBORS / rows if isinstance(rows, int) and rows > 0 else 0.0
        return cls(stages, fastest.get(recall) if isinstance(fastest, Mapping) else None, share)
