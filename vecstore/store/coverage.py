"""Which rows of a store its certificate speaks of: those that were there when it was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vecstore.shard.certificate import certificate_in
from vecstore.store.snapshot import Snapshot

__all__ = ["Coverage", "changed_in", "coverage_of"]

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
    at : int or None
        The generation that was measured again; None where the conversion measured.
    against : {"originals", "codes"} or None
        What it was compared with then; see `Again`.
    drift : dict or None
        Of the added rows, as far as it was measured: `Drift` of the shard that loses most by the codec.
    """

    generation: int | None
    measured: int
    added: int
    deleted: int
    drift: dict[str, Any] | None
    at: int | None = None
    against: str | None = None

    @property
    def stale(self) -> bool:
        """Whether so many rows came since that what was measured may not hold."""
        return self.added > STALE_SHARE * (self.measured + self.added)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "stale": self.stale}


def coverage_of(snapshot: Snapshot) -> Coverage:
    """Return how much of a snapshot its certificate speaks of, by what shards say; malformed members say nothing."""
    generation = None if snapshot.manifest is None else snapshot.manifest.generation
    added, deleted, worst = changed_in(snapshot)
    again = certificate_in(snapshot.measured).again
    if again is None:
        return Coverage(generation, snapshot.living + deleted - added, added, deleted, worst)
    added, deleted = max(added - again.added, 0), max(deleted - again.deleted, 0)
    return Coverage(
        generation, again.rows, added, deleted, worst if added else None, at=again.generation, against=again.against
    )


def changed_in(snapshot: Snapshot) -> tuple[int, int, dict[str, Any] | None]:
    """Return how many rows were added since the conversion, how many deleted, and the worst drift of added ones."""
    added = dropped = 0
    worst: dict[str, Any] | None = None
    for shard in snapshot.shards:
        told = shard.description.get("appended")
        told, gone = told if isinstance(told, dict) else {}, _count(shard.description.get("dropped"))
        added += min(_count(told.get("rows")), shard.rows + gone)
        dropped += gone
        worst = max((each for each in (worst, _drift(told)) if each is not None), key=_lost, default=None)
    return added, len(snapshot.dead) + dropped, worst


def _count(found: Any) -> int:
    return found if type(found) is int and found > 0 else 0


def _drift(told: dict[str, Any]) -> dict[str, Any] | None:
    found = told.get("drift")
    if not isinstance(found, dict) or not all(type(found.get(name)) in (int, float) for name in ("r2", "own_r2")):
        return None
    return found


def _lost(drift: dict[str, Any]) -> float:
    return float(drift["own_r2"] - drift["r2"])
