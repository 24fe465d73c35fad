"""Which rows of a store its certificate speaks of: those of the conversion. What came since was not measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vecstore.store.snapshot import Snapshot

__all__ = ["Coverage", "coverage_of"]

STALE_SHARE = 0.1  # of the rows, from which on those that were not measured count


@dataclass(frozen=True)
class Coverage:
    """How much of a store its certificate speaks of.

    Attributes
    ----------
    generation : int or None
        That of the store; None for one file.
    measured, added, deleted : int
        Rows that the certificate speaks of, that came since, and, of either, that were deleted since.
    drift : dict or None
        Of the added rows, as far as it was measured: `Drift` of the shard that loses most by the codec.
    """

    generation: int | None
    measured: int
    added: int
    deleted: int
    drift: dict[str, Any] | None

    @property
    def stale(self) -> bool:
        """Whether so many rows came since that what was measured may not hold."""
        return self.added > STALE_SHARE * (self.measured + self.added)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "stale": self.stale}


def coverage_of(snapshot: Snapshot) -> Coverage:
    """Return how much of a snapshot its certificate speaks of, by what shards say; malformed members say nothing."""
    added = dropped = 0
    worst: dict[str, Any] | None = None
    for shard in snapshot.shards:
        told = shard.description.get("appended")
        told = told if isinstance(told, dict) else {}
        added += min(_count(told.get("rows")), shard.rows)
        dropped += _count(shard.description.get("dropped"))
        worst = max((each for each in (worst, _drift(told)) if each is not None), key=_lost, default=None)
    generation = None if snapshot.manifest is None else snapshot.manifest.generation
    measured = max(snapshot.rows + dropped - added, 0)
    return Coverage(generation, measured, added, len(snapshot.dead) + dropped, worst)


def _count(found: Any) -> int:
    return found if type(found) is int and found > 0 else 0


def _drift(told: dict[str, Any]) -> dict[str, Any] | None:
    found = told.get("drift")
    if not isinstance(found, dict) or not all(type(found.get(name)) in (int, float) for name in ("r2", "own_r2")):
        return None
    return found


def _lost(drift: dict[str, Any]) -> float:
    return float(drift["own_r2"] - drift["r2"])
