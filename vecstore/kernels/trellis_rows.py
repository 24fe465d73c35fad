"""Sums of table entries for rows of trellis codes as they lie: turned into planes, and looked up, strip by strip."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vecstore.kernels.layout import LANES
from vecstore.kernels.trellis_planes import CHUNK, lined_up, planes_of, to_planes
from vecstore.kernels.trellis_sums import add_passes, strip_rows

__all__ = ["Lying", "Room", "lay", "room_of", "sum_rows", "sums_of"]


class Room(NamedTuple):
    """What codes are turned into.

    Attributes
    ----------
    planes : (planes, rows of a strip) uint8
    indices : (lookups, rows of a strip) uint8
    """

    planes: NDArray[np.uint8]
    indices: NDArray[np.uint8]


class Lying(NamedTuple):
    """A tile of `held` rows of `row_bytes` bytes at data[start]: CHUNK bytes of all rows, then the next ones."""

    data: NDArray[np.uint8]
    start: int
    held: int
    row_bytes: int


@njit(cache=True, nogil=True)
def room_of(level, size_bytes, lookups, rows):
    """Return `Room` for so many rows at once."""
    strip, planes = strip_rows(level, rows), planes_of(level) * (-(-size_bytes // CHUNK) * CHUNK)
    return Room(lined_up(planes, strip), lined_up(lookups, strip))


@njit(cache=True, nogil=True)
def sums_of(level, queries, rows):
    """Return sums (q, rows up to a multiple of a strip) uint16."""
    strip = strip_rows(level, rows)
    return lined_up(queries, 2 * strip * -(-rows // strip)).view(np.uint16)


@njit(cache=True, nogil=True)
def sum_rows(level, codes, row, vectors, stage, tables, room, sums, ahead, ahead_bytes):
    """sums[query, i] = the table entries of row `row` + i of a tile, by the bytes of a stage.

    Of `vectors` * LANES rows; what is behind them in their strip is written too. Codes that come next begin `ahead`
    bytes further and take `ahead_bytes`: they are fetched meanwhile.
    """
    strip = strip_rows(level, vectors * LANES) // LANES
    for first in range(0, vectors, strip):
        some = min(strip, vectors - first)
        lay(level, codes, row + first * LANES, some, stage.size_bytes, room.planes, ahead)
        done, share = ahead_bytes * first // vectors, ahead_bytes * some // vectors
        then = codes.data.ctypes.data + codes.start + ahead + done
        looks = stage.lookups
        add_passes(level, room.planes, room.indices, some, looks, tables, sums, first * LANES, then, share)


@njit(cache=True, nogil=True)
def lay(level, codes, row, vectors, size_bytes, planes, ahead):
    """Turn `vectors` * LANES rows of a tile, from one on, into planes; half of what begins `ahead` further is fetched.

    Look-ups fetch what is ahead from its front on and have no time for all of it.
    """
    for byte in range(0, size_bytes, CHUNK):
        wide = min(CHUNK, codes.row_bytes - byte)
        own = codes.start + byte * codes.held + row * wide
        to_planes(level, codes.data, own, wide, vectors, planes, byte, ahead if byte >= size_bytes // 2 else 0)
