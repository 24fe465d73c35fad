"""Training of `tcq`: the levels of its coefficients, and how bits are weighted."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.normalize import unit
from vecstore.codecs.pca import principal_axes
from vecstore.codecs.tcq import TrainedTCQ
from vecstore.codecs.trellis import CodeLayout
from vecstore.codecs.waterfilling import allocate_bits

__all__ = ["EXPONENTS", "best_exponent", "train"]

EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4)
ROUNDS = 8
LEVEL_ROWS = 1 << 14
NEIGHBORS = 10
HELD_OUT_ROWS = 1 << 13
QUERIES = 3000
QUICK_ROWS, QUICK_STATES, QUICK_ROUNDS = 1 << 13, 8, 3
FEWEST = 500  # held-out rows below which a comparison of exponents is an accident
LEEWAY = 0.01  # share of the neighbours missed that a smaller exponent may miss more: its squared error is smaller


def train(sample: Floats, size_bytes: int, states: int, exponent: float, *, seed: int) -> TrainedTCQ:
    """Return the quantizer trained on (n, d) rows, with coefficients weighted by variance ** (2 * exponent)."""
    components = principal_axes(sample, sample.shape[1])
    return _train(sample, components, size_bytes, states, exponent, seed=seed, rounds=ROUNDS)


def _train(
    sample: Floats,
    components: tuple[Floats, Floats, NDArray[np.float64]],
    size_bytes: int,
    states: int,
    exponent: float,
    *,
    seed: int,
    rounds: int,
) -> TrainedTCQ:
    mean, axes, variances = components
    shares = variances / variances[0] if variances[0] > 0 else np.ones(len(variances))
    layout = CodeLayout(*allocate_bits(shares ** (1 + 2 * exponent), size_bytes))
    axes = np.ascontiguousarray(axes[: layout.coefficients])
    rows = np.random.default_rng(seed).permutation(len(sample))[:LEVEL_ROWS]
    levels = _first_levels(layout, np.sqrt(variances))
    trained = TrainedTCQ(layout, states, mean, axes, levels)
    z = trained.project(sample[rows]).astype(np.float64)
    for _ in range(rounds):
        numbers = level_numbers(trained, trained.encode(sample[rows]))
        count = np.bincount(numbers.ravel(), minlength=len(levels))
        total = np.bincount(numbers.ravel(), z.ravel(), minlength=len(levels))
        levels = ((total + trained.levels) / (count + 1)).astype("<f4")  # a level that nothing uses stays
        trained = TrainedTCQ(layout, states, mean, axes, levels)
    return trained


def level_numbers(trained: TrainedTCQ, codes: Codes) -> NDArray[np.int64]:
    """Return which of all levels each coefficient of codes has: (n, coefficients) int64."""
    numbers = np.arange(len(trained.levels), dtype="<f4")  # far fewer than float32 counts to
    counting = TrainedTCQ(trained.layout, trained.states, trained.mean, trained.axes, numbers)
    return counting.coefficients(codes).astype(np.int64)


def _first_levels(layout: CodeLayout, deviations: NDArray[np.float64]) -> Floats:
    """Return levels as dense as the cube root of a Gaussian, which is best for many levels (Panter & Dite 1951)."""
    spread = 1.3  # a Gaussian's cube root is one with sqrt(3) times its deviation; measured, a trellis wants less
    inverse = NormalDist().inv_cdf
    grids = {
        bits: spread * np.array([inverse((i + 0.5) / (2 << bits)) for i in range(2 << bits)])
        for bits in set(layout.bits.tolist())
    }
    # Two coefficients that share a step have the four signs for levels, opposite signs in subsets 0 and 2, 1 and 3.
    signs = 0.74 * np.array([[-1, -1, 1, 1], [-1, 1, 1, -1]])
    levels = []
    for i, (bits, width) in enumerate(zip(layout.bits.tolist(), layout.widths.tolist(), strict=True)):
        for place in range(width):
            grid = grids[bits] if width == 1 else signs[place]
            levels.append(grid * deviations[layout.firsts[i] + place])
    return np.concatenate(levels).astype("<f4")


def best_exponent(sample: Floats, size_bytes: int, *, seed: int) -> float:
    """Return the exponent that keeps most nearest neighbours among rows that training does not see.

    Half of the sample trains a quick version for each exponent and gives the queries, the other half is searched by
    cosine. With few rows it is 0.
    """
    half = np.random.default_rng(seed).permutation(len(sample))
    held_out = unit(sample[half[: len(sample) // 2][:HELD_OUT_ROWS]])
    seen = sample[half[len(sample) // 2 :]]
    if len(held_out) < FEWEST:
        return 0.0
    queries = unit(seen[:QUERIES])
    wanted = _nearest(queries, held_out)
    seen = seen[:QUICK_ROWS]
    components = principal_axes(seen, seen.shape[1])
    recalls = []
    for exponent in EXPONENTS:
        quick = _train(seen, components, size_bytes, QUICK_STATES, exponent, seed=seed, rounds=QUICK_ROUNDS)
        found = _nearest(queries, unit(quick.decode(quick.encode(held_out))))
        recalls.append(float((wanted[:, :, None] == found[:, None, :]).any(axis=2).mean()))
    enough = max(recalls) - LEEWAY * (1 - max(recalls))
    return next(exponent for exponent, recall in zip(EXPONENTS, recalls, strict=True) if recall >= enough)


def _nearest(queries: Floats, x: Floats) -> NDArray[np.int64]:
    return np.argpartition(queries @ x.T, -NEIGHBORS, axis=1)[:, -NEIGHBORS:]
