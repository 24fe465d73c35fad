"""Reverse water-filling: how many bits each coefficient of a transform code gets."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.trellis.layout import MOST_BITS, STEPS, CodeLayout

__all__ = ["allocate_bits", "expected_distortion"]

# Mean squared error of trellis-coded quantization of a Gaussian of variance one at 0, 1, ... bits (64 states, measured;
# Marcellin & Fischer 1990 report the same of the first), and of two Gaussians that share one bit.
DISTORTION = np.array([1, 0.292, 0.0823, 0.0225, 0.00593, 1.54e-3, 3.96e-4, 1.00e-4, 2.57e-5])
GAINS = np.append(-np.diff(DISTORTION), 0)  # of one more bit
PAIR_DISTORTION = 0.542


def allocate_bits(weights: NDArray[np.float64], size_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return how many bits each step of a code takes, and how many coefficients it codes.

    Coefficients are dealt to steps in order: one to each step, then, where that is better, two to each of the last
    steps. Bits go where they lower the weighted distortion most, under two constraints of the layout: every eight steps
    take whole bytes together, and each of them one bit or more.

    Parameters
    ----------
    weights : (d,) float64
        What a coefficient's whole loss would cost, largest first: its variance times its importance.
    size_bytes : int
        From 1 to d.

    Returns
    -------
    bits, widths : (steps,) uint8
        The bits sum to ``8 * size_bytes``, the widths to at most d; the other coefficients are lost.
    """
    d = len(weights)
    groups = [_group_choices(weights[start : start + STEPS]) for start in range(0, d, STEPS)]
    left = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])  # left[k]: cost of losing all from k on
    best: tuple[float, int, int] | None = None
    for single in range(min(len(groups), size_bytes) + 1):
        for spent, distortion in _spending(groups[:single], size_bytes):
            pairs, coded = size_bytes - spent, min(STEPS * single, d)
            paired = coded + 2 * STEPS * pairs
            if paired > d:
                continue
            total = distortion + PAIR_DISTORTION * (left[coded] - left[paired]) + left[paired]
            if best is None or total < best[0]:
                best = total, single, pairs
    assert best is not None  # all groups with single coefficients can take up to d bytes
    _, single, pairs = best
    sizes = _sizes(groups[:single], size_bytes - pairs)
    chosen = [group[size - 1][1] for group, size in zip(groups, sizes, strict=False)]
    bits = np.concatenate([*chosen, np.ones(STEPS * pairs)])
    widths = np.ones(len(bits), np.uint8)
    widths[len(bits) - STEPS * pairs :] = 2
    return bits.astype(np.uint8), widths


def expected_distortion(layout: CodeLayout) -> NDArray[np.float64]:
    """Return the share of its variance that each coefficient of a layout is expected to lose: (coefficients,)."""
    single = DISTORTION[layout.bits]
    return np.where(layout.widths == 2, PAIR_DISTORTION, single).repeat(layout.widths)


Choices = list[tuple[float, NDArray[np.int64]]]


def _group_choices(weights: NDArray[np.float64]) -> Choices:
    """Return the distortion and the bits of one group of steps for each number of bytes, from one on."""
    steps = len(weights)
    bits = np.ones(steps, np.int64)
    choices = []
    for size in range(1, steps + 1):
        for _ in range(8 * size - int(bits.sum())):
            bits[np.where(bits < MOST_BITS, weights * GAINS[bits], -1).argmax()] += 1
        choices.append((float((weights * DISTORTION[bits]).sum()), bits.copy()))
    return choices


def _spending(groups: list[Choices], most: int) -> list[tuple[int, float]]:
    """Return pairs (bytes, distortion): a byte for each group, then one after the other where it helps most."""
    spent, distortion = len(groups), sum(choices[0][0] for choices in groups)
    curve = [(spent, distortion)]
    for _, gain in _greedy(groups, most - spent):
        spent, distortion = spent + 1, distortion - gain
        curve.append((spent, distortion))
    return curve


def _sizes(groups: list[Choices], size_bytes: int) -> list[int]:
    """Return the bytes of each group when all take `size_bytes` together."""
    sizes = [1] * len(groups)
    for g, _ in _greedy(groups, size_bytes - len(groups)):
        sizes[g] += 1
    return sizes


def _greedy(groups: list[Choices], extra: int) -> list[tuple[int, float]]:
    """Return the groups that get one more byte, in order, and what each of these bytes gains."""
    queue = [(choices[1][0] - choices[0][0], g, 1) for g, choices in enumerate(groups) if len(choices) > 1]
    heapq.heapify(queue)
    given: list[tuple[int, float]] = []
    while queue and len(given) < extra:
        loss, g, size = heapq.heappop(queue)
        given.append((g, -loss))
        if size + 1 < len(groups[g]):
            heapq.heappush(queue, (groups[g][size + 1][0] - groups[g][size][0], g, size + 1))
    return given
