"""Copy rows of codes out of mapped tiles, and mark rows by their numbers."""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import Tiles
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.layout import LANES

__all__ = ["gather_tiled", "mark_rows", "tile_of"]


@njit(cache=True, nogil=True)
def gather_tiled(where, rows, out):
    """out[i, :] = the first bytes of row rows[i]."""
    tiles, width = Tiles(*where), out.shape[1]
    data, row_bytes, together = tiles.data, tiles.row_bytes, tiles.together
    for i in range(len(rows)):
        tile, held, start = tile_of(tiles, rows[i])
        for first in range(0, width, together):
            wide = min(together, row_bytes - first)
            at = start + first * held + (rows[i] - tile) * wide
            for j in range(first, min(first + wide, width)):
                out[i, j] = data[at + j - first]


@njit(cache=True, nogil=True)
def mark_rows(rows, value, mask):
    """Write a value at row numbers of a mask, up to the first that is not in it; return how many that were."""
    total = np.uint64(len(mask))
    for i in range(len(rows)):
        row = np.uint64(rows[i])  # a negative number is past any end
        if row >= total:
            return i
        mask[row] = value
    return len(rows)


@borrowing
def tile_of(tiles, row):
    """Return the first row of the tile that a row is in, for how many rows it has room, and where it begins."""
    block, tile, unit = row // tiles.block_rows, row // tiles.tile_rows * tiles.tile_rows, min(tiles.tile_rows, LANES)
    left = tiles.counts[block] - (tile - block * tiles.block_rows)
    held = min(tiles.tile_rows, (left + unit - 1) // unit * unit)
    return tile, held, tiles.offsets[block] + (tile - block * tiles.block_rows) * tiles.row_bytes
