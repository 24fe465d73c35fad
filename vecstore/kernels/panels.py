"""Inner products of panels of rows with many queries, blocked in registers.

A panel is up to 32 rows. A few of its rows times two vectors of queries are added up together, as many accumulators as
there are registers for:

              16 queries      16 more          the weights of one step
    row 0    [ sums      ]   [ sums      ]     += a number of row 0, in all lanes, times those
    row 1    [ sums      ]   [ sums      ]
    ...

A step is one dimension where numbers are float32, and four where they are bytes: one instruction multiplies four bytes
and adds them up. Every sum is taken in the same order, wherever its row lies.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vecstore.kernels.dense import F32, reader
from vecstore.kernels.numbers import SHAPES
from vecstore.kernels.simd import (
    I8,
    I16,
    I32,
    I64,
    at,
    call,
    load,
    name_of,
    number_of,
    prefetch,
    splat,
    spread,
    store,
    vector,
)

__all__ = [
    "DEPTH",
    "PANEL_ROWS",
    "narrow_products",
    "reached",
    "to_floats",
    "wide_products",
]

PANEL_ROWS = 32
DEPTH = 64  # steps at a time: their weights, and the numbers of a panel as float32, stay in the first cache


def _products(vectors: int) -> Any:
    """Return what adds to the sums of some rows and so many vectors of queries, over some steps.

    The address of the first row's numbers and the bytes from row to row, the address of the weights, the number of
    steps, and the address of the first row's sums, which are two vectors a row.
    """

    def products(typing, how, level, rows_at, stride, weights_at, steps, sums_at, ahead_at):
        def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
            _, _, rows_at, stride, weights_at, steps, sums_at, ahead_at = arguments
            lanes, rows = SHAPES[name_of(level)]
            item, add = (I32, WHOLE_PRODUCTS[name_of(level)]) if number_of(how) else (F32, _by_floats)
            kind, width = vector(item, lanes), 4 * lanes
            count = rows * 2 // vectors
            places = [b.inttoptr(b.add(rows_at, b.mul(stride, _number(i))), I8.as_pointer()) for i in range(count)]
            weights, sums = (b.inttoptr(address, I8.as_pointer()) for address in (weights_at, sums_at))
            homes = [[at(b, sums, width * (2 * i + j)) for j in range(vectors)] for i in range(count)]
            totals = [[cgutils.alloca_once_value(b, splat(kind, 0)) for _ in own] for own in homes]
            with cgutils.for_range(b, steps) as loop:
                prefetch(b, b.inttoptr(b.add(ahead_at, b.mul(loop.index, _number(64))), I8.as_pointer()), near=2)
                here = at(b, weights, b.mul(loop.index, _number(width * vectors)))
                factors = [load(b, at(b, here, width * j), kind) for j in range(vectors)]
                for place, own in zip(places, totals, strict=True):
                    number = spread(b, kind, load(b, at(b, place, b.mul(loop.index, _number(4))), item))
                    for factor, total in zip(factors, own, strict=True):
                        b.store(add(b, b.load(total), number, factor), total)
            plus = b.add if number_of(how) else b.fadd
            for own, into in zip(totals, homes, strict=True):
                for total, home in zip(own, into, strict=True):
                    store(b, plus(load(b, home, kind), b.load(total)), home)
            return context.get_dummy_value()

        return types.void(how, level, *[types.intp] * 6), generate

    return intrinsic(products)


def _number(value: int) -> Any:
    return ir.Constant(I64, value)


def _by_floats(b: Any, total: Any, number: Any, weights: Any) -> Any:
    fused = ("contract",)
    return b.fadd(total, b.fmul(number, weights, flags=fused), flags=fused)


def _by_fours(b: Any, total: Any, codes: Any, weights: Any) -> Any:
    return call(b, "llvm.x86.avx512.vpdpbusd.512", total.type, total, codes, weights)


def _by_pairs(b: Any, total: Any, codes: Any, weights: Any) -> Any:
    bytes_of, words = vector(I8, 32), vector(I16, 16)
    pairs = call(b, "llvm.x86.avx2.pmadd.ub.sw", words, b.bitcast(codes, bytes_of), b.bitcast(weights, bytes_of))
    return b.add(total, call(b, "llvm.x86.avx2.pmadd.wd", total.type, pairs, splat(words, 1)))


WHOLE_PRODUCTS = {"avx2": _by_pairs, "avx512": _by_fours}

narrow_products, wide_products = _products(1), _products(2)


@intrinsic
def reached(typing, how, level, sums_at, slopes_at, shifts_at, u):
    """Return which sums of two vectors are at least slopes * u + shifts, one bit each."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, _, *addresses, u = arguments
        lanes = 2 * SHAPES[name_of(level)].lanes
        floats = vector(F32, lanes)
        sums_at, slopes_at, shifts_at = (b.inttoptr(address, I8.as_pointer()) for address in addresses)
        slopes, shifts = load(b, slopes_at, floats), load(b, shifts_at, floats)
        sums = b.sitofp(load(b, sums_at, vector(I32, lanes)), floats) if number_of(how) else load(b, sums_at, floats)
        least = b.fadd(b.fmul(slopes, spread(b, floats, u)), shifts)
        return b.zext(b.bitcast(b.fcmp_ordered(">=", sums, least), ir.IntType(lanes)), I32)

    return types.uint32(how, level, types.intp, types.intp, types.intp, types.float32), generate


@intrinsic
def to_floats(typing, kind, numbers_at, first, count, out_at):
    """Write `count` numbers, from one on of those at an address, as float32 to another address."""
    size, read = reader(number_of(kind))

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, numbers_at, first, count, out_at = arguments
        numbers_at = b.add(numbers_at, b.mul(first, _number(size)))
        done = cgutils.alloca_once_value(b, _number(0))
        for lanes in (32, 1):
            start = b.load(done)
            rounds = b.sdiv(b.sub(count, start), _number(lanes))
            with cgutils.for_range(b, rounds) as loop:
                index = b.add(start, b.mul(loop.index, _number(lanes)))
                number, out = (
                    b.inttoptr(b.add(address, b.mul(index, _number(width))), I8.as_pointer())
                    for address, width in ((numbers_at, size), (out_at, 4))
                )
                store(b, read(b, number, lanes), out)
            b.store(b.add(start, b.mul(rounds, _number(lanes))), done)
        return context.get_dummy_value()

    return types.void(kind, types.intp, types.intp, types.intp, types.intp), generate
