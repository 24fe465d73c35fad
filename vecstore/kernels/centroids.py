"""Score rows that are in cells, whose codes say what is left of their centroids: q . x = q . centroid + q . rest.

A query's products with all centroids are made once. What a kernel sums up of a row's code is raised by that of its
cell, before the largest of an item is taken. By these products alone items are scored by `maxsim_cells`: the first
stage of PLAID (Santhanam et al., 2022, section 4.2), with a number a vector instead of a list an item.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from vecstore.kernels.arguments import Centroids
from vecstore.kernels.borrowing import OPTIONS, borrowing
from vecstore.kernels.dense import F32
from vecstore.kernels.numbers import SHAPES
from vecstore.kernels.simd import I8, I16, I32, I64, at, load, name_of, number_of, store, vector

__all__ = ["maxsim_cells", "raise_by_cell", "raise_lanes_in_cells", "read_cells"]

READ = 64  # rows whose cells are read at once


@njit(cache=True, nogil=True)
def maxsim_cells(level, shape, cells, starts, items, most, out):
    """out[i] = the sum over queries of the largest product with a centroid of item items[i]; as in `maxsim_trellis`."""
    centroids, lanes = Centroids(*cells), shape[0]
    products = centroids.products
    own_cells, best = np.zeros(READ, np.uint16), np.empty(products.shape[1], np.float32)
    for i in range(len(items)):
        first = starts[items[i]]
        end = min(starts[items[i] + 1], first + most)
        best[:] = -np.inf
        for row in range(first, end, READ):
            stop = min(row + READ, end)
            read_cells(centroids, row, stop, own_cells)
            raise_to_centroids(level, lanes, own_cells, stop - row, products, best)
        total = 0.0
        for lane in range(len(best)):
            total += best[lane]
        out[i] = total if first < end else -np.inf


@borrowing
def raise_to_centroids(level, lanes, cells, count, products, best):
    """Raise what is best of each query to its best product with the centroids of some cells."""
    cells_at, stride = np.int64(cells.ctypes.data), np.int64(products.strides[0])
    for group in range(len(best) // lanes):
        start = 4 * lanes * group
        from_at, best_at = np.int64(products.ctypes.data) + start, np.int64(best.ctypes.data) + start
        raise_lanes(level, cells_at, count, from_at, stride, best_at)


@borrowing
def read_cells(centroids, first, stop, out):
    """out[i] = the cell of row first + i."""
    if centroids.id_bytes == 1:
        for row in range(first, stop):
            out[row - first] = centroids.ids[row]
    else:
        for row in range(first, stop):
            out[row - first] = np.uint16(centroids.ids[2 * row]) | np.uint16(centroids.ids[2 * row + 1]) << np.uint16(8)


# Numbers are finite, and a largest one is looked for several rows at a time.
@njit(fastmath={"nnan", "nsz"}, **OPTIONS)
def raise_by_cell(sums, first, end, factors, shifts, cells, products, best):
    """Raise best[q] to the largest (sums[q, row] + shifts[q]) * factors[q] + products[q, cell] of some rows."""
    for q in range(len(best)):
        own, by_cell, factor, shift, most = sums[q], products[q], factors[q], shifts[q], best[q]
        for row in range(first, end):
            most = max(most, (np.float32(own[row]) + shift) * factor + by_cell[cells[row]])
        best[q] = most


def _raise(whole_sums: bool) -> Any:
    """Return what raises best to the largest products[cell] of some rows, plus their sums; lanes side by side."""

    def raises(typing, *given):
        level = given[1] if whole_sums else given[0]

        def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
            lanes = SHAPES[name_of(level)].lanes
            if whole_sums:
                _, _, sums_at, cells_at, count, products_at, stride, best_at = arguments
                lanes, sums = 2 * lanes, b.inttoptr(sums_at, I8.as_pointer())
            else:
                _, cells_at, count, products_at, stride, best_at = arguments
            floats, found = vector(F32, lanes), cgutils.alloca_once(b, vector(F32, lanes))
            cells, products, best = (b.inttoptr(own, I8.as_pointer()) for own in (cells_at, products_at, best_at))
            b.store(load(b, best, floats), found)
            with cgutils.for_range(b, count) as loop:
                cell = b.zext(load(b, at(b, cells, b.mul(loop.index, ir.Constant(I64, 2))), I16), I64)
                value = load(b, at(b, products, b.mul(cell, stride)), floats)
                if whole_sums:
                    place = at(b, sums, b.mul(loop.index, ir.Constant(I64, 4 * lanes)))
                    kind = vector(I32, lanes) if number_of(given[0]) else floats
                    own = load(b, place, kind)
                    value = b.fadd(value, b.sitofp(own, floats) if number_of(given[0]) else own)
                old = b.load(found)
                b.store(b.select(b.fcmp_ordered(">", value, old), value, old), found)
            store(b, b.load(found), best)
            return context.get_dummy_value()

        return types.void(*given[:2] if whole_sums else given[:1], *[types.int64] * (6 if whole_sums else 5)), generate

    return raises


@intrinsic
def raise_lanes_in_cells(typing, how, level, sums_at, cells_at, count, products_at, stride, best_at):
    """best = max(best, sums[row] + products[cell]) of `count` rows, in two vectors; all else are addresses."""
    return _raise(True)(typing, how, level, sums_at, cells_at, count, products_at, stride, best_at)


@intrinsic
def raise_lanes(typing, level, cells_at, count, products_at, stride, best_at):
    """best = max(best, products[cell]) of `count` rows, in one vector; all else are addresses."""
    return _raise(False)(typing, level, cells_at, count, products_at, stride, best_at)
