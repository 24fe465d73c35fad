"""Copy rows of codes out of mapped tiles."""

from __future__ import annotations

from numba import njit

__all__ = ["gather_tiled"]


@njit(cache=True, nogil=True)
def gather_tiled(data, starts, heights, places, row_bytes, together, out):
    """out[i, :] = the first bytes of rows of `row_bytes` bytes, where `Part.places` says, `together` at a time."""
    width = out.shape[1]
    for i in range(len(starts)):
        for first in range(0, width, together):
            wide = min(together, row_bytes - first)
            at = starts[i] + first * heights[i] + places[i] * wide
            for j in range(first, min(first + wide, width)):
                out[i, j] = data[at + j - first]
