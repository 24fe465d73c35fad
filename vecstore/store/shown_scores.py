"""Scores as users see them: a distance with its own sign, and calibrated where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError
from vecstore.search.options import SearchOptions
from vecstore.store.snapshot import Snapshot

if TYPE_CHECKING:
    from vecstore.measure.calibration import Calibration

__all__ = ["ShownScores"]


@dataclass(frozen=True)
class ShownScores:
    """From what a search ranks by, larger being better, to what its result shows.

    Attributes
    ----------
    distance : bool
        Scores are shown with their sign changed.
    calibration : Calibration or None
    least : float
        What a row has to score in the search.
    """

    distance: bool
    calibration: Calibration | None
    least: float

    @classmethod
    def of(cls, options: SearchOptions, snapshot: Snapshot) -> ShownScores:
        """Return how the results of a search are shown; raises `OptionError` where they cannot be calibrated."""
        if not options.calibrated:
            return cls(options.distance, None, options.least)
        from vecstore.measure.calibration import Calibration

        first = snapshot.shards[0]
        found, *others = map(_calibration, snapshot.stores or [snapshot])
        if found is None:
            message = f"{snapshot.path} holds no map to the original scores; convert the dump again for one"
            raise OptionError(message)
        if any(other != found for other in others):
            raise OptionError(
                f"{snapshot.path} have each a map of their own to the original scores; search one of them"
            )
        calibration = Calibration.from_dict(found, first.path)
        coarse = len(first.layers) > 1 and options.rescore == 0 and not options.exact
        if options.metric != calibration.metric or snapshot.truncated or coarse:
            raise OptionError(
                f"calibrated scores are those of all stored bytes by {calibration.metric}: no other metric, no "
                "truncated store, no rescore=0"
            )
        return cls(options.distance, calibration, calibration.compressed_of(options.least))

    def shown(self, scores: NDArray[np.float64]) -> Floats:
        """Return scores, of any shape, as they are shown."""
        found = scores if self.calibration is None else self.calibration.original_of(scores)
        return np.asarray(-found if self.distance else found, np.float32)


def _calibration(snapshot: Snapshot) -> Any:
    """Return what a store tells of the original scores."""
    return (snapshot.shards[0].description | snapshot.measured).get("calibration")
