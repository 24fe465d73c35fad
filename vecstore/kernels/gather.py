"""Copy rows of codes out of mapped tiles."""

from __future__ import annotations

from numba import njit

from vecstore.kernels.layout import LANES

__all__ = ["gather_tiled", "place"]


@njit(cache=True, nogil=True)
def gather_tiled(data, offsets, block_rows, tile_rows, row_bytes, together, rows, wanted, out):
    """out[i, :] = the first bytes of row wanted[i] of a part of `rows` rows, `together` at a time."""
    width = out.shape[1]
    for i in range(len(wanted)):
        tile, height, start = place(wanted[i], offsets, block_rows, tile_rows, row_bytes, rows)
        for first in range(0, width, together):
            wide = min(together, row_bytes - first)
            at = start + first * height + (wanted[i] - tile) * wide
            for j in range(first, min(first + wide, width)):
                out[i, j] = data[at + j - first]


@njit(inline="always")
def place(row, offsets, block_rows, tile_rows, row_bytes, rows):
    """Return the first row of the tile that a row is in, for how many rows it has room, and where it begins."""
    block, tile, unit = row // block_rows, row // tile_rows * tile_rows, min(tile_rows, LANES)
    left = min((block + 1) * block_rows, rows) - tile
    height = min(tile_rows, (left + unit - 1) // unit * unit)
    return tile, height, offsets[block] + (tile - block * block_rows) * row_bytes
