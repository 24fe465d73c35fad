"""Score codes by tables of 256 entries a byte (asymmetric distance: Jégou, Douze & Schmid, PAMI 2011)."""

from __future__ import annotations

from numba import njit

__all__ = ["sum_tables"]


@njit(cache=True, nogil=True)
def sum_tables(codes, tables, out):
    """out[q, n] = sum over j of tables[q, j, codes[n, j]]."""
    for n in range(codes.shape[0]):
        for q in range(tables.shape[0]):
            total = tables[q, 0, codes[n, 0]]
            for j in range(1, codes.shape[1]):
                total += tables[q, j, codes[n, j]]
            out[q, n] = total
