"""Copy rows of codes out of mapped tiles."""

from __future__ import annotations

from numba import njit

__all__ = ["gather_tiled"]


@njit(cache=True, nogil=True)
def gather_tiled(data, starts, strides, out):
    """out[i, :] = the first bytes of the code that begins at data[starts[i]], strides[i] apart (see `Part.places`)."""
    for i in range(len(starts)):
        start, stride = starts[i], strides[i]
        for j in range(out.shape[1]):
            out[i, j] = data[start + j * stride]
