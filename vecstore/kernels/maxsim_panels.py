"""Score items of several vectors whose codes are numbers, or bytes that stand for a few dimensions each.

Rows become panels of numbers side by side, as `panels` multiplies them: numbers as they lie, and of other codes what
each byte stands for, up to eight dimensions at once, in whole numbers of 8 bits:

    code bytes of 32 rows, one after the other      what byte 0 stands for    byte 1
    byte 0 [ r0 r1 r2 ... ]                         row 0 [ z0 z1 z2 z3       z4 z5 ...
    byte 1 [ r0 r1 r2 ... ]                         row 1 [ ...

A panel is read once for all query vectors, and nothing but a number an item leaves the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from vecstore.kernels.arguments import UNIT, Centroids, NumberQueries, Pieces, Tiles
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.centroids import raise_lanes_in_cells, read_cells
from vecstore.kernels.dense import F32
from vecstore.kernels.gather import tile_of
from vecstore.kernels.maxsim import run_end
from vecstore.kernels.maxsim_whole import close
from vecstore.kernels.number_batch import Batch, Panel, multiply, numbers_of
from vecstore.kernels.number_scan import OVERRUN, square_of
from vecstore.kernels.numbers import SHAPES, NumberKind
from vecstore.kernels.panels import DEPTH, PANEL_ROWS
from vecstore.kernels.simd import I8, I32, I64, at, load, name_of, number_of, spread, store, vector

__all__ = ["maxsim_panels"]

WORD = 8  # bytes that are written at once
LEAST_SQUARE = 2.0**-100  # of a length that is divided by


@njit(cache=True, nogil=True)
def maxsim_panels(number_kind, how, level, shape, where, pieces, asked, cells, starts, items, most, out):
    """out[i] = the score of item items[i], which has rows starts[item] to starts[item + 1], of which the first `most`.

    Items rise. One without rows scores -inf.
    """
    kind, tiles, own, queries = NumberKind(*number_kind), Tiles(*where), Pieces(*pieces), NumberQueries(*asked)
    centroids, own_cells = Centroids(*cells), np.zeros(PANEL_ROWS, np.uint16)
    lanes, tile_rows = shape
    count, d = queries.weights.shape
    groups, stride = (count + 2 * lanes - 1) // (2 * lanes), (d + 2 * WORD) // WORD * WORD
    sums, lines = np.empty((groups, PANEL_ROWS, 2 * lanes), np.float32), np.zeros((1, 2 * lanes * groups), np.float32)
    batch = Batch(lanes, tile_rows, (d + 3) >> 2 if len(how) > 1 else d, sums, lines)
    factors, shifts, best = queries.bounds[:, 1].copy(), lines[0], np.full(2 * lanes * groups, -np.inf, np.float32)
    for q in range(count):
        shifts[q] = queries.biases[q] / factors[q]
    spare = np.zeros(PANEL_ROWS * max(tiles.row_bytes, stride) + OVERRUN, np.uint8)
    floats, over = np.empty((PANEL_ROWS, DEPTH), np.float32), np.ones(PANEL_ROWS, np.float32)
    at = 0
    while at < len(items):
        stop_at = run_end(items, at)
        row, last = starts[items[at]], starts[items[stop_at - 1] + 1]
        at = close(at, stop_at, row, starts, items, factors, best, out)
        while row < last:
            first, stop = row, min(last, (row // tiles.block_rows + 1) * tiles.block_rows, (row | 31) + 1)
            if len(own.owners):
                address, size = lay_pieces(tiles, own, row, stop - row, spare, stride), stride
            else:
                address, size = numbers_of(kind, tiles, row, stop - row, d, spare)
            panel = Panel(row, stop - row, address, size, np.uint32(0))
            ahead = np.int64(tiles.data.ctypes.data)
            multiply(kind.tag, how, level, panel, batch, queries.packed, floats, ahead)
            if queries.kind == UNIT:
                for i in range(panel.rows):
                    square = square_of(kind.tag, panel.address + i * panel.stride, queries)
                    over[i] = 1 / np.sqrt(max(square, LEAST_SQUARE))
            if len(centroids.ids):
                read_cells(centroids, first, stop, own_cells)
            while row < stop:
                end, begin = min(starts[items[at] + 1], stop), starts[items[at]]
                some = min(end, begin + most) - row
                if some > 0 and len(centroids.ids):
                    raise_in_cells(how, level, sums, row - first, some, own_cells, centroids.products, best)
                elif some > 0:
                    raise_to(how, level, sums, row - first, some, over, shifts, best)
                row = end
                at = close(at, stop_at, row, starts, items, factors, best, out)


@borrowing
def lay_pieces(tiles, pieces, row, rows, spare, stride):
    """Write what codes of a tile stand for into `spare`, a row every `stride` bytes; return where that begins.

    A piece is written as a whole word, and its last bytes are overwritten by the next one.
    """
    tile, held, start = tile_of(tiles, row)
    into = np.int64(spare.ctypes.data)
    for piece in range(len(pieces.owners)):
        codes, table = start + pieces.owners[piece] * held + row - tile, pieces.words[pieces.tables[piece]]
        to = into + pieces.places[piece]
        for i in range(rows):
            store_word(to + i * stride, table[tiles.data[codes + i]])
    return into


@borrowing
def raise_to(how, level, sums, first, count, over, shifts, best):
    """Raise what is best of each query vector to its best of some rows."""
    over_at = np.int64(over.ctypes.data) + 4 * first
    for group in range(len(sums)):
        sums_at = np.int64(sums.ctypes.data) + group * sums.strides[0] + first * sums.strides[1]
        start = group * sums.strides[1]
        raise_lanes(
            how,
            level,
            sums_at,
            over_at,
            count,
            np.int64(shifts.ctypes.data) + start,
            np.int64(best.ctypes.data) + start,
        )


@borrowing
def raise_in_cells(how, level, sums, first, count, cells, products, best):
    """Do what `raise_to` does where rows are in cells, which add products[cell]."""
    cells_at, stride = np.int64(cells.ctypes.data) + 2 * first, np.int64(products.strides[0])
    for group in range(len(sums)):
        sums_at = np.int64(sums.ctypes.data) + group * sums.strides[0] + first * sums.strides[1]
        start = group * sums.strides[1]
        best_at = np.int64(best.ctypes.data) + start
        raise_lanes_in_cells(
            how, level, sums_at, cells_at, count, np.int64(products.ctypes.data) + start, stride, best_at
        )


@intrinsic
def store_word(typing, address, word):
    """Write 8 bytes to an address."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        address, word = arguments
        store(b, word, b.inttoptr(address, I8.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), generate


@intrinsic
def raise_lanes(typing, how, level, sums_at, over_at, count, shifts_at, best_at):
    """best = max(best, (sums[row] + shifts) * over[row]) of `count` rows, in two vectors; all else are addresses."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, _, sums_at, over_at, count, shifts_at, best_at = arguments
        lanes = 2 * SHAPES[name_of(level)].lanes
        floats, whole = vector(F32, lanes), number_of(how)
        sums, over, shifts, best = (
            b.inttoptr(address, I8.as_pointer()) for address in (sums_at, over_at, shifts_at, best_at)
        )
        shift, found = load(b, shifts, floats), cgutils.alloca_once(b, floats)
        b.store(load(b, best, floats), found)
        with cgutils.for_range(b, count) as loop:
            place = at(b, sums, b.mul(loop.index, ir.Constant(I64, 4 * lanes)))
            value = b.sitofp(load(b, place, vector(I32, lanes)), floats) if whole else load(b, place, floats)
            factor = load(b, at(b, over, b.mul(loop.index, ir.Constant(I64, 4))), F32)
            value, old = b.fmul(b.fadd(value, shift), spread(b, floats, factor)), b.load(found)
            b.store(b.select(b.fcmp_ordered(">", value, old), value, old), found)
        store(b, b.load(found), best)
        return context.get_dummy_value()

    return types.void(how, level, *[types.int64] * 5), generate
