"""Product quantization: nearest centroids, and codes back to vectors."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["decode_rows", "nearest"]


# fastmath: distances are compared, not returned; a different order of four to thirty-two additions is harmless.
@njit(cache=True, nogil=True, fastmath=True)
def nearest(z, edges, centroids, out):
    """out[n, m]: the centroid nearest to z[n, edges[m] : edges[m + 1]]; centroids[m, dimension, centroid]."""
    k = centroids.shape[2]
    distance = np.empty(k, np.float32)
    for n in range(z.shape[0]):
        for m in range(len(edges) - 1):
            distance[:] = 0
            for i in range(edges[m + 1] - edges[m]):
                value = z[n, edges[m] + i]
                for j in range(k):
                    gap = value - centroids[m, i, j]
                    distance[j] += gap * gap
            # The first of equal minima, in a form that vectorises: the least value, then its first place.
            least = distance[0]
            for j in range(1, k):
                least = min(least, distance[j])
            best = 0
            while distance[best] > least:
                best += 1
            out[n, m] = best


@njit(cache=True, nogil=True)
def decode_rows(codes, edges, codebooks, out):
    """out[n, edges[m] : edges[m + 1]] = codebooks[m, codes[n, m]]; codebooks[m, centroid, dimension]."""
    groups, widest = codebooks.shape[0], codebooks.shape[2]
    if widest == 8 and edges[groups] == 8 * groups:  # the usual width: a constant compiles to one load and one store
        for n in range(codes.shape[0]):
            for m in range(groups):
                code = codes[n, m]
                for i in range(8):
                    out[n, 8 * m + i] = codebooks[m, code, i]
        return
    for n in range(codes.shape[0]):
        for m in range(groups):
            start, code = edges[m], codes[n, m]
            for i in range(edges[m + 1] - start):
                out[n, start + i] = codebooks[m, code, i]
