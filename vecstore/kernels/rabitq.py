"""RaBitQ: the grid point of a direction."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["nearest_directions"]

TRIES = 16  # scales of the grid tried for each row
ROUNDS = 6  # of single steps afterwards, at most; most rows need two or three


# fastmath: sums are compared, not returned; their order is free.
@njit(cache=True, nogil=True, fastmath=True)
def nearest_directions(z, bits, out):
    """out[n, i] = levels whose grid point y = out + 1/2 - 2**(bits - 1) has nearly the largest cosine to z[n].

    Several scales are tried, then single levels are moved by one as long as the cosine grows.
    """
    d, half = z.shape[1], 1 << (bits - 1)
    tried = np.empty(d, np.int64)
    for n in range(z.shape[0]):
        largest, size = np.float32(0), 0.0
        for i in range(d):
            largest = max(largest, abs(z[n, i]))
            size += z[n, i] * z[n, i]
        best = -1.0
        for attempt in range(TRIES if bits > 1 and largest > 0 else 1):
            # From the grid that just reaches the largest number to one that clips most of the tail.
            scale = np.float32(half) / max(largest, np.float32(1e-30)) * np.float32(1 + attempt * 0.1)
            along, square = 0.0, 0.0  # wide: at 8 bits the cosines of two scales differ in the sixth digit
            for i in range(d):
                level = min(max(np.int64(np.floor(z[n, i] * scale)), -half), half - 1)
                tried[i] = level
                y = level + 0.5
                along += y * z[n, i]
                square += y * y
            cosine = along / np.sqrt(square)
            if cosine > best:
                best = cosine
                for i in range(d):
                    out[n, i] = tried[i] + half
        if bits > 1 and size > 0:
            _climb(z[n], half, out[n])


@njit(cache=True, nogil=True, fastmath=True)
def _climb(z, half, levels):
    """Move single levels by one while that brings the grid point's direction nearer to z."""
    along, square = 0.0, 0.0
    for i in range(len(z)):
        y = np.float64(levels[i]) - half + 0.5
        along += y * z[i]
        square += y * y
    for _ in range(ROUNDS):
        moved = False
        for i in range(len(z)):
            y = np.float64(levels[i]) - half + 0.5
            # The cosine falls where y is too long for its share of the direction, and grows where it is too short.
            step = 1 if z[i] * square > y * along else -1
            level = np.int64(levels[i]) + step
            if level < 0 or level >= 2 * half:
                continue
            new_along, new_square = along + step * z[i], square + 2 * step * y + 1
            if new_along > 0 and new_along * new_along * square > along * along * new_square * (1 + 1e-12):
                levels[i] = level
                along, square, moved = new_along, new_square, True
        if not moved:
            break
