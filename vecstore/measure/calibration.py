"""The threshold map: what a score on the codes was before compression.

Compressed vectors score differently from the originals (mostly lower where they are near). Pairs of held-out queries
and rows, scored both ways, give a monotone map from one to the other, so that a threshold keeps its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import CorruptError
from vecstore.measure.nearest import Nearest, RowSource
from vecstore.measure.recall import GroundTruth
from vecstore.metric import Metric

__all__ = ["Calibration", "calibrate", "identity", "pool_adjacent_violators"]

OTHERS = 100  # rows at random, beside the nearest ones, that each query gives
BINS = 48
FEWEST_PAIRS = 8  # in a bin; fewer are joined with the next
MOST_KNOTS = 1024
LARGEST_SCORES: dict[str, float] = {"cosine": 1.0, "dot": float("inf"), "l2": 0.0}


@dataclass(frozen=True)
class Calibration:
    """A strictly rising, piecewise linear map, continued at both ends with slope one.

    Scores are as a search ranks them, larger being nearer: distances have their sign changed.

    Attributes
    ----------
    metric : {"cosine", "dot", "l2"}
    compressed, original : (k,) float64
        Knots, both strictly rising.
    """

    metric: Metric
    compressed: NDArray[np.float64]
    original: NDArray[np.float64]

    def original_of(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return the original scores to be expected of compressed ones."""
        mapped = _continued(np.asarray(scores, np.float64), self.compressed, self.original)
        return np.minimum(mapped, LARGEST_SCORES[self.metric])

    def compressed_of(self, score: float) -> float:
        """Return the compressed score from which on the original is expected to reach `score`."""
        return float(_continued(np.array([score], np.float64), self.original, self.compressed)[0])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "metric": self.metric,
            "compressed": self.compressed.tolist(),
            "original": self.original.tolist(),
        }

    @classmethod
    def from_dict(cls, given: Any, path: str) -> Calibration:
        """Undo `to_dict`, or raise `CorruptError`."""
        document = given if isinstance(given, dict) else {}
        metric = document.get("metric")
        compressed, original = (_knots(document.get(name)) for name in ("compressed", "original"))
        if isinstance(metric, str) and metric in LARGEST_SCORES and len(compressed) == len(original) > 0:
            return cls(cast(Metric, metric), compressed, original)
        raise CorruptError("member 'calibration' is malformed", path=path, expected="two rising lists of numbers")


def _knots(given: Any) -> NDArray[np.float64]:
    """Return strictly rising finite numbers (k,); none for anything else."""
    none = np.empty(0)
    if (
        not isinstance(given, list)
        or not 1 <= len(given) <= MOST_KNOTS
        or {type(value) for value in given} - {int, float}
    ):
        return none
    try:
        knots = np.array([float(value) for value in given])
    except OverflowError:  # whole numbers of JSON have no limit
        return none
    return knots if np.isfinite(knots).all() and (np.diff(knots) > 0).all() else none


def calibrate(truth: GroundTruth, decoded: RowSource, near: Nearest, *, rows: int, seed: int) -> Calibration | None:
    """Return the map for the first rows of `decoded` (n, d), or None where scores do not tell rows apart.

    Of each query the nearest rows by compressed score are taken, and random ones, the same for some queries. Scores are
    put into bins, since a file should hold few numbers, and violations of the order are pooled: what is left rises
    strictly.

    Parameters
    ----------
    near : Nearest
        The best of these rows for each query.
    rows : int
        How many of them are compared.
    """
    ours, theirs = [truth.final(near.scores).ravel()], [truth.final(truth.exact(near.rows)).ravel()]
    rng = np.random.default_rng(seed)
    for part in truth.parts():
        others = rng.integers(rows, size=OTHERS)
        for found, each in ((ours, decoded[others]), (theirs, truth.base[others])):
            found.append(truth.final(truth.scores(each, part), part).ravel())
    x, y = np.concatenate(ours), np.concatenate(theirs)
    if not len(x) or x.min() == x.max():
        return None
    knots = pool_adjacent_violators(*_binned(x, y))
    compressed, original = (np.array([float(f"{value:.6g}") for value in column]) for column in knots)
    rising = np.concatenate([[True], (np.diff(compressed) > 0) & (np.diff(original) > 0)])
    return Calibration(truth.metric, compressed[rising], original[rising])


def identity(metric: Metric) -> Calibration:
    """Return the map of scores that compression leaves as they are."""
    return Calibration(metric, np.zeros(1), np.zeros(1))


def pool_adjacent_violators(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the isotonic regression of y (n,) on rising x (n,): each block's mean x and y, both strictly rising.

    Neighbours that fall are replaced by their weighted mean until none do (Barlow et al., Statistical inference under
    order restrictions, 1972).
    """
    blocks: list[tuple[float, float, float]] = []  # mean x, mean y, weight
    for one, other, weight in zip(x.tolist(), y.tolist(), weights.tolist(), strict=True):
        block = (one, other, weight)
        while blocks and blocks[-1][1] >= block[1]:
            last = blocks.pop()
            total = last[2] + block[2]
            block = (
                (last[0] * last[2] + block[0] * block[2]) / total,
                (last[1] * last[2] + block[1] * block[2]) / total,
                total,
            )
        blocks.append(block)
    found = np.array(blocks)
    return found[:, 0], found[:, 1]


def _binned(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean x, mean y and count of bins of equal width; those with few pairs are joined with the next."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    edges = np.searchsorted(x, np.linspace(x[0], x[-1], BINS + 1)[1:-1], side="right")
    cuts = [0]
    for edge in edges.tolist():
        if edge - cuts[-1] >= FEWEST_PAIRS:
            cuts.append(edge)
    counts = np.diff([*cuts, len(x)])
    if len(cuts) > 1 and counts[-1] < FEWEST_PAIRS:
        cuts.pop()
        counts = np.diff([*cuts, len(x)])
    return np.add.reduceat(x, cuts) / counts, np.add.reduceat(y, cuts) / counts, counts.astype(np.float64)


def _continued(x: NDArray[np.float64], xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    beyond = np.minimum(x - xs[0], 0) + np.maximum(x - xs[-1], 0)
    return np.asarray(np.interp(x, xs, ys) + beyond, np.float64)
