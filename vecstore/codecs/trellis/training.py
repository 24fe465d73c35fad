"""Training of `tcq`: how bits are weighted, and the levels of its coefficients."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.axes import Axes
from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.evaluation import neighbours, overlap
from vecstore.codecs.transforms.pca import principal_axes
from vecstore.codecs.trellis.layout import CodeLayout
from vecstore.codecs.trellis.quantizer import TrainedTCQ
from vecstore.codecs.trellis.waterfilling import allocate_bits, expected_distortion

__all__ = ["EXPONENTS", "best_exponent", "level_numbers", "train"]

EXPONENTS = (0.0, 0.15, 0.3)
QUICK_STATES, QUICK_ROUNDS = 8, 4  # most rounds go through a small trellis: its levels are nearly those of a large one
ROUNDS = 2
LEVEL_ROWS = 1 << 13
NEIGHBORS = 10
SEARCHED_ROWS, QUERIES = 1 << 13, 1000
FEWEST = 500  # rows to search, below which a comparison of exponents is an accident
LEEWAY = 0.01  # share of the neighbours missed that a smaller exponent may miss more: its squared error is smaller

Components = tuple[Floats, Floats, NDArray[np.float64]]  # mean (d,), axes (d, d), variances (d,)


def train(sample: Floats, size_bytes: int, states: int, exponent: float | None = None, *, seed: int) -> TrainedTCQ:
    """Return the quantizer trained on (n, d) rows, with coefficients weighted by variance ** (2 * exponent).

    Without an exponent, `best_exponent` finds one.
    """
    n, d = sample.shape
    # A code has at most sixteen coefficients a byte; rows have no variance along more axes than there are rows.
    mean, exact, variances = components = principal_axes(sample, d if n >= d else min(max(n, 16 * size_bytes), d))
    if exponent is None:
        exponent = best_exponent(sample, components, size_bytes, seed=seed)
    layout = _layout(variances, exponent, size_bytes)
    axes = Axes.principal(exact, variances, layout.coefficients)
    rows = np.random.default_rng(seed).permutation(len(sample))[:LEVEL_ROWS]
    levels = _first_levels(layout, np.sqrt(variances))
    trained = TrainedTCQ(layout, min(states, QUICK_STATES), mean, axes, levels)
    z = trained.project(sample[rows]).astype(np.float64)
    for number in range(QUICK_ROUNDS + ROUNDS):
        if number == QUICK_ROUNDS:
            trained = TrainedTCQ(layout, states, mean, axes, trained.levels)
        numbers = level_numbers(trained, trained.encode(sample[rows]))
        count = np.bincount(numbers.ravel(), minlength=len(levels))
        total = np.bincount(numbers.ravel(), z.ravel(), minlength=len(levels))
        levels = ((total + trained.levels) / (count + 1)).astype("<f4")  # a level that nothing uses stays
        trained = TrainedTCQ(layout, trained.states, mean, axes, levels)
    stretch = _stretch(z, levels[numbers])
    levels = levels * stretch.repeat(np.diff(layout.starts))
    scale = np.maximum(np.abs(levels).max(keepdims=True), np.float32(1e-30))
    return TrainedTCQ(layout, states, mean, axes, (levels / scale).astype("<f2"), stretch, scale)


def level_numbers(trained: TrainedTCQ, codes: Codes) -> NDArray[np.int64]:
    """Return which of all levels each coefficient of codes has: (n, coefficients) int64."""
    numbers = np.arange(len(trained.levels), dtype="<f4")  # far fewer than float32 counts to
    return trained.with_levels(numbers).coefficients(codes).astype(np.int64)


def _layout(variances: NDArray[np.float64], exponent: float, size_bytes: int) -> CodeLayout:
    shares = variances / variances[0] if variances[0] > 0 else np.ones(len(variances))
    return CodeLayout(*allocate_bits(shares ** (1 + 2 * exponent), size_bytes))


def _first_levels(layout: CodeLayout, deviations: NDArray[np.float64]) -> Floats:
    """Return levels as dense as the cube root of a Gaussian, which is best for many levels (Panter & Dite 1951).

    That is a Gaussian of sqrt(3) times the deviation. A trellis wants less the fewer the levels are, as measured; and
    it matters, since a few rounds of training move many levels little.
    """
    inverse = NormalDist().inv_cdf
    grids = {
        bits: (1.3 + 0.07 * max(bits - 3, 0)) * np.array([inverse((i + 0.5) / (2 << bits)) for i in range(2 << bits)])
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


def _stretch(z: NDArray[np.float64], quantized: Floats) -> NDArray[np.float16]:
    """Return what lengthens quantized coefficients (n, coefficients) to the variance of those before, 1 to 2 each."""
    before, after = (z**2).sum(axis=0), (quantized.astype(np.float64) ** 2).sum(axis=0)
    ratio = np.divide(before, after, out=np.ones_like(before), where=after > 0)
    return np.sqrt(np.clip(ratio, 1, 4)).astype("<f2")


def best_exponent(sample: Floats, components: Components, size_bytes: int, *, seed: int) -> float:
    """Return the exponent that keeps most nearest neighbours, by cosine, within a sample (n, d).

    Nothing is trained for that: each exponent's allocation tells how much error every coefficient will have, and
    that much Gaussian noise, the same for all exponents, takes its place. One part of the rows queries the others. With
    few rows it is 0.
    """
    mean, axes, variances = components
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(sample))[: SEARCHED_ROWS + QUERIES]
    queries, searched = np.split(sample[rows], [min(QUERIES, len(rows) // 2)])
    if len(searched) < FEWEST:
        return 0.0
    queries = queries @ axes.T
    wanted = neighbours(queries, searched @ axes.T, NEIGHBORS)
    z, center = (searched - mean) @ axes.T, axes @ mean
    noise = rng.standard_normal(z.shape, np.float32) * np.sqrt(variances).astype(np.float32)
    recalls = []
    for exponent in EXPONENTS:
        left = expected_distortion(_layout(variances, exponent, size_bytes)).astype(np.float32)
        k = len(left)
        quantized = np.broadcast_to(center, z.shape).copy()
        quantized[:, :k] += np.sqrt(1 - left) * z[:, :k] + np.sqrt(left) * noise[:, :k]
        recalls.append(overlap(neighbours(queries, quantized, NEIGHBORS), wanted))
    enough = max(recalls) - LEEWAY * (1 - max(recalls))
    return next(exponent for exponent, recall in zip(EXPONENTS, recalls, strict=True) if recall >= enough)
