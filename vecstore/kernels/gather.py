"""Copy rows of codes out of mapped blocks."""

from __future__ import annotations

from numba import njit

__all__ = ["gather_rows"]


@njit(cache=True, nogil=True)
def gather_rows(data, offsets, block_rows, tile_rows, row_bytes, rows, out):
    """out[i, :] = the first bytes of the code of rows[i]; blocks of `block_rows` rows begin at data[offsets[block]].

    With tile_rows T > 1 a block is tiles of T rows stored transposed: tile[byte, row].
    """
    width = out.shape[1]
    for i in range(len(rows)):
        block, row = rows[i] // block_rows, rows[i] % block_rows
        if tile_rows == 1:
            start = offsets[block] + row * row_bytes
            for j in range(width):
                out[i, j] = data[start + j]
        else:
            start = offsets[block] + row // tile_rows * tile_rows * row_bytes + row % tile_rows
            for j in range(width):
                out[i, j] = data[start + j * tile_rows]
