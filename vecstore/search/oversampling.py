"""How many rows of the coarse layer are rescored, by what conversion measured and wrote into the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecstore.shard.certificate import certificate_in

__all__ = ["DEFAULT_RECALL", "RECALLS", "oversampling"]

RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.999)  # shares of the ten nearest that the coarse layer must not hide
DEFAULT_RECALL = 0.99
OVERSAMPLE = 32  # where nothing was measured


def oversampling(descriptions: Sequence[Mapping[str, Any]], recall: float | None) -> int:
    """Return the oversampling that shards need to reach a recall, as measured when they were made.

    Parameters
    ----------
    descriptions : of the shards
    recall : float or None
        Of what the fine layer finds; up to `MOST_RECALL`; None for DEFAULT_RECALL.
    """
    wanted = str(min(known for known in RECALLS if known >= (recall or DEFAULT_RECALL)))
    found = []
    for description in descriptions:
        certificate = certificate_in(description)
        measured = certificate.oversampling
        factor = certificate.oversample if measured is None else measured.get(wanted)
        found += [factor] if factor else []
    return max(found, default=OVERSAMPLE)
