"""Panels of whole numbers: coefficients of trellis codes as bytes, and their products with whole weights.

A panel holds a group of 32 rows, and four coefficients of each row side by side, a step:

              row 0        row 1        row 2
    step 0    y0 y1 y2 y3  y0 y1 y2 y3  ...
    step 1    y4 y5 y6 y7  y4 y5 y6 y7  ...

So a register multiplies four coefficients of eight rows with a query's four weights, and adds them up by row. Numbers
are 0 to 127, and ZERO stands for 0; weights are -64 to 64, so two steps of products add up in 16 bits. In registers
rows are zipped within 128 bits, and sums put in order again.

Most coefficients depend on four bits of their index, next to each other, and are looked up in 16 entries. The others,
*wide*, come first, in whole steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from vecstore.kernels.dense import F32
from vecstore.kernels.layout import ENTRIES
from vecstore.kernels.simd import (
    I8,
    I16,
    I32,
    I64,
    at,
    call,
    constant,
    load,
    load_table,
    lookup16,
    name_of,
    splat,
    spread,
    static,
    store,
    vector,
)
from vecstore.kernels.trellis_shuffles import STRIP, lookup64

__all__ = ["GROUP", "ZERO", "decode", "greatest", "invert", "multiply", "reduced", "square"]

GROUP, ZERO = 32, 64
NARROW = 16  # entries
ROW_BYTES, STEP_BYTES = 4, 4 * GROUP
LANES = 8  # rows of a register
LEAST_SQUARE = 2.0**-100  # of a length that is divided by


def reduced(level):
    """Return the level whose code is taken: there are that of AVX2, and plain loops."""
    raise NotImplementedError


def decode(level, indices, numbers, group, panel):
    """panel[step, row, i] = coefficient j = 4 step + i of the rows of a group.

    Numbers are owners, shifts, wide tables, and narrow ones: wide[j, index] or narrow[j - len(wide), index >> shift],
    of the index of look-up owners[j].
    """
    raise NotImplementedError


def multiply(level, panel, weights, sums):
    """sums[q, row] = sum of panel[step, row, i] * weights[q, 4 step + i]; weights are int8."""
    raise NotImplementedError


def square(level, panel, sums):
    """sums[row] = sum of (panel[step, row, i] - ZERO)**2."""
    raise NotImplementedError


@overload(reduced, jit_options={"nogil": True})
def _reduced(level):
    found = static(2) if name_of(level) == "avx2" else static(0)
    return lambda level: found


@overload(decode, jit_options={"nogil": True})
def _decode(level, indices, numbers, group, panel):
    return _decode_registers if name_of(level) == "avx2" else _decode_loops


@overload(multiply, jit_options={"nogil": True})
def _multiply(level, panel, weights, sums):
    return _multiply_registers if name_of(level) == "avx2" else _multiply_loops


@overload(square, jit_options={"nogil": True})
def _square(level, panel, sums):
    return _square_registers if name_of(level) == "avx2" else _square_loops


def _decode_registers(level, indices, numbers, group, panel):
    owners, shifts, wide, narrow = numbers
    index, into = indices.ctypes.data + GROUP * group, panel.ctypes.data
    store_wide(level, index, owners.ctypes.data, 0, wide.ctypes.data, len(wide) >> 2, into)
    owner, shift = owners.ctypes.data + 8 * len(wide), shifts.ctypes.data + 4 * len(wide)
    steps = len(narrow) >> 2
    store_narrow(level, index, owner, shift, narrow.ctypes.data, steps, into + STEP_BYTES * (len(wide) >> 2))


def _multiply_registers(level, panel, weights, sums):
    rows, into = panel.ctypes.data, sums.ctypes.data
    own, weight_bytes, sum_bytes, q = weights.ctypes.data, weights.strides[0], sums.strides[0], 0
    while q + 1 < len(weights):
        two_products(level, rows, own, weight_bytes, len(panel), into, sum_bytes)
        own, into, q = own + 2 * weight_bytes, into + 2 * sum_bytes, q + 2
    if q < len(weights):
        one_product(level, rows, own, weight_bytes, len(panel), into, sum_bytes)


def _square_registers(level, panel, sums):
    own_squares(level, panel.ctypes.data, len(panel), sums.ctypes.data)


def _decode_loops(level, indices, numbers, group, panel):
    owners, shifts, wide, narrow = numbers
    for j in range(len(owners)):
        own, into, first = indices[owners[j]], panel[j >> 2], GROUP * group
        if j < len(wide):
            for row in range(GROUP):
                into[ROW_BYTES * row + (j & 3)] = wide[j, own[first + row] & np.uint8(ENTRIES - 1)]
        else:
            table, shift = narrow[j - len(wide)], np.uint8(shifts[j])
            for row in range(GROUP):
                into[ROW_BYTES * row + (j & 3)] = table[own[first + row] >> shift & np.uint8(NARROW - 1)]


def _multiply_loops(level, panel, weights, sums):
    for q in range(len(weights)):
        into = sums[q]
        into[:] = 0
        for j in range(weights.shape[1]):
            own, weight = panel[j >> 2], np.int32(np.int8(weights[q, j]))
            for row in range(GROUP):
                into[row] += weight * np.int32(own[ROW_BYTES * row + (j & 3)])


def _square_loops(level, panel, sums):
    for row in range(GROUP):
        total = np.int32(0)
        for step in range(len(panel)):
            for i in range(ROW_BYTES * row, ROW_BYTES * row + ROW_BYTES):
                own = np.int32(panel[step, i]) - np.int32(ZERO)
                total += own * own
        sums[row] = total


def _stores(entries: int) -> Any:
    """Return what does what `decode` does by tables of so many entries; addresses, and the number of steps."""

    def stores(typing, level, indices, owners, shifts, tables, steps, panel):
        def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
            _, indices, owners, shifts, tables, steps, panel = arguments
            indices, owners, shifts, tables, panel = _addresses(b, indices, owners, shifts, tables, panel)
            bytes_of, words = vector(I8, GROUP), vector(I16, GROUP // 2)
            with cgutils.for_range(b, steps) as loop:
                found = []
                for i in range(4):
                    j = b.add(b.mul(loop.index, _number(4)), _number(i))
                    owner = load(b, at(b, owners, b.mul(j, _number(8))), I64)
                    table = at(b, tables, b.mul(j, _number(entries)))
                    index = load(b, at(b, indices, b.mul(owner, _number(STRIP))), bytes_of)
                    if entries == ENTRIES:
                        quarters = [load_table(b, at(b, table, 16 * part), GROUP) for part in range(4)]
                        found.append(lookup64(b, quarters, index))
                        continue
                    shift = b.zext(load(b, at(b, shifts, b.mul(j, _number(4))), I32), I64)
                    count = b.insert_element(splat(vector(I64, 2), 0), shift, ir.Constant(I32, 0))
                    count = b.bitcast(count, vector(I16, 8))
                    index = call(b, "llvm.x86.avx2.psrl.w", words, b.bitcast(index, words), count)
                    index = b.and_(b.bitcast(index, bytes_of), splat(bytes_of, NARROW - 1))
                    found.append(lookup16(b, load_table(b, table, GROUP), index))
                pairs = [_zipped(b, found[i], found[i + 1], half) for half in (0, 1) for i in (0, 2)]
                pairs = [b.bitcast(pair, words) for pair in pairs]
                into = at(b, panel, b.mul(loop.index, _number(STEP_BYTES)))
                fours = [_zipped(b, pairs[i], pairs[i + 1], half) for i in (0, 2) for half in (0, 1)]
                for i, four in enumerate(fours):
                    store(b, four, at(b, into, 32 * i))
            return context.get_dummy_value()

        return types.void(level, *[types.intp] * 6), generate

    return intrinsic(stores)


store_narrow, store_wide = _stores(NARROW), _stores(ENTRIES)


def _zipped(b, one, other, half):
    """Return the items of two registers in turns, of a half of each 128 bits."""
    lanes = one.type.count
    part = lanes // 4  # in half of 128 bits
    starts = [start + half * part + i for start in (0, 2 * part) for i in range(part)]
    return b.shuffle_vector(one, other, constant(vector(I32, lanes), [p for i in starts for p in (i, lanes + i)]))


def _products(queries: int) -> Any:
    def products(typing, level, panel, weights, weight_bytes, steps, sums, sum_bytes):
        def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
            _, panel, weights, weight_bytes, steps, sums, sum_bytes = arguments
            panel, weights, sums = _addresses(b, panel, weights, sums)
            own = [at(b, weights, b.mul(weight_bytes, _number(q))) for q in range(queries)]
            into = [at(b, sums, b.mul(sum_bytes, _number(q))) for q in range(queries)]
            totals = [_totals(b) for _ in range(queries)]
            with cgutils.for_range(b, b.lshr(steps, _number(1))) as loop:
                here = at(b, panel, b.mul(loop.index, _number(2 * STEP_BYTES)))
                weight = b.mul(loop.index, _number(8))
                factors = [[_four(b, at(b, at(b, q, weight), 4 * s)) for s in (0, 1)] for q in own]
                for i in range(GROUP // LANES):
                    values = [load(b, at(b, here, STEP_BYTES * s + 32 * i), vector(I8, 32)) for s in (0, 1)]
                    for q in range(queries):
                        _add(b, totals[q][i], values, factors[q])
            for places, home in zip(totals, into, strict=True):
                _store_in_order(b, places, home)
            return context.get_dummy_value()

        return types.void(level, *[types.intp] * 6), generate

    return intrinsic(products)


one_product, two_products = _products(1), _products(2)


@intrinsic
def own_squares(typing, level, panel, steps, sums):
    """Do what `square` does; addresses, and the number of steps."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, panel, steps, sums = arguments
        panel, sums = _addresses(b, panel, sums)
        totals = _totals(b)
        with cgutils.for_range(b, b.lshr(steps, _number(1))) as loop:
            here = at(b, panel, b.mul(loop.index, _number(2 * STEP_BYTES)))
            for i in range(GROUP // LANES):
                values = []
                for s in (0, 1):
                    given = load(b, at(b, here, STEP_BYTES * s + 32 * i), vector(I8, 32))
                    away = b.sub(given, splat(given.type, ZERO))
                    values.append(call(b, "llvm.abs.v32i8", given.type, away, ir.Constant(ir.IntType(1), 0)))
                _add(b, totals[i], values, values)
        _store_in_order(b, totals, sums)
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 3), generate


def _store_in_order(b, places, home):
    """Store the sums of four registers, each of four rows and, 16 rows behind them, four more."""
    given = [b.load(place) for place in places]
    for i, (one, half) in enumerate(((0, 0), (2, 0), (0, 1), (2, 1))):
        order = [start + 4 * half + lane for start in (0, LANES) for lane in range(4)]
        found = b.shuffle_vector(given[one], given[one + 1], constant(vector(I32, LANES), order))
        store(b, found, at(b, home, 32 * i))


def _add(b, place, values, factors):
    """Add the products of two steps to the sums of eight rows."""
    words = vector(I16, 16)
    pairs = [call(b, "llvm.x86.avx2.pmadd.ub.sw", words, *both) for both in zip(values, factors, strict=True)]
    rows = call(b, "llvm.x86.avx2.pmadd.wd", vector(I32, LANES), b.add(*pairs), splat(words, 1))
    b.store(b.add(b.load(place), rows), place)


def _four(b, address):
    """Return four weights, of all eight rows."""
    return b.bitcast(spread(b, vector(I32, LANES), load(b, address, I32)), vector(I8, 32))


def _totals(b):
    return [cgutils.alloca_once_value(b, splat(vector(I32, LANES), 0)) for _ in range(GROUP // LANES)]


@intrinsic
def invert(typing, squares, products, scale, linear, bias, over):
    """over[row] = 1 / sqrt(scale * squares[row] + linear * products[row] + bias), of the rows of a group; addresses."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        squares, products, *factors, over = arguments
        squares, products, over = _addresses(b, squares, products, over)
        floats, whole = vector(F32, LANES), vector(I32, LANES)
        scale, linear, bias = (spread(b, floats, factor) for factor in factors)
        for row in range(0, GROUP, LANES):
            one, other = (b.sitofp(load(b, at(b, of, 4 * row), whole), floats) for of in (squares, products))
            found = b.fadd(b.fadd(b.fmul(scale, one), b.fmul(linear, other)), bias)
            found = _larger(b, found, splat(floats, LEAST_SQUARE))
            root = call(b, "llvm.sqrt.v8f32", floats, found)
            store(b, b.fdiv(splat(floats, 1.0), root), at(b, over, 4 * row))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, *[types.float32] * 3, types.intp), generate


@intrinsic
def greatest(typing, sums, shift, over, count):
    """Return the greatest of (sums[i] + shift) * over[i], of `count` numbers at two addresses, float32.

    Whole registers are read, of eight numbers.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        sums, shift, over, count = arguments
        sums, over = _addresses(b, sums, over)
        floats, whole = vector(F32, LANES), vector(I32, LANES)
        nothing = splat(floats, float("-inf"))
        best, shifts = cgutils.alloca_once_value(b, nothing), spread(b, floats, shift)
        rounds = b.lshr(b.add(count, _number(LANES - 1)), _number(3))
        with cgutils.for_range(b, rounds) as loop:
            place, first = b.mul(loop.index, _number(4 * LANES)), b.mul(loop.index, _number(LANES))
            found = b.sitofp(load(b, at(b, sums, place), whole), floats)
            found = b.fmul(b.fadd(found, shifts), load(b, at(b, over, place), floats))
            left = spread(b, whole, b.trunc(b.sub(count, first), I32))
            found = b.select(b.icmp_signed("<", constant(whole, range(LANES)), left), found, nothing)
            b.store(_larger(b, found, b.load(best)), best)
        found, lanes = b.load(best), LANES
        while lanes > 1:
            lanes //= 2
            halves = [constant(vector(I32, lanes), range(start, start + lanes)) for start in (0, lanes)]
            found = _larger(b, *(b.shuffle_vector(found, found, half) for half in halves))
        return b.extract_element(found, ir.Constant(I32, 0))

    return types.float32(types.intp, types.float32, types.intp, types.intp), generate


def _larger(b, one, other):
    return b.select(b.fcmp_ordered(">", one, other), one, other)


def _addresses(b, *given):
    return [b.inttoptr(address, I8.as_pointer()) for address in given]


def _number(value):
    return ir.Constant(I64, value)
