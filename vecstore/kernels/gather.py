"""Copy rows of codes out of mapped tiles."""

from __future__ import annotations

from numba import njit

__all__ = ["gather_tiled"]


@njit(cache=True, nogil=True)
def gather_tiled(data, offsets, block_rows, tile_rows, row_bytes, rows, out):
    """out[i, :] = the first bytes of the code of rows[i].

    Blocks of `block_rows` rows begin at data[offsets[block]]; each is tiles of `tile_rows` rows stored transposed:
    tile[byte, row].
    """
    for i in range(len(rows)):
        block, row = rows[i] // block_rows, rows[i] % block_rows
        start = offsets[block] + row // tile_rows * tile_rows * row_bytes + row % tile_rows
        for j in range(out.shape[1]):
            out[i, j] = data[start + j * tile_rows]
