"""Sums of 256-entry tables picked by bytes of codes.

With AVX-512 VBMI such a table fits four registers, of 8-bit entries, and two permutations look up in it for 64 rows at
once; elsewhere the entries come from the cache, one by one. As in `nibble`, what comes out is one bit a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from vecstore.kernels.simd import (
    I8,
    I16,
    I32,
    I64,
    at,
    call,
    constant,
    load,
    name_of,
    number_of,
    prefetch,
    splat,
    spread,
    static,
    store,
    vector,
)

__all__ = ["LAYOUT", "LEVELS", "byte_masks"]

LEVELS = ("avx512",)  # with code of their own
LAYOUT = (1, 255, 65535)  # as in `nibble.LAYOUTS`, at any level
ONE, FOUR = static(1), static(4)
AHEAD = 24576  # bytes, into the second cache: the first one is full of tables and tiles


def byte_masks(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    """masks[query, tile]: which of the tile's 32 rows have a sum of at least thresholds[query], one bit each.

    The first of `tiles` tiles begins at data[start], the others `stride` bytes apart. Tables are
    tables[query][byte][256]; a query's take `query_bytes`.
    """
    raise NotImplementedError


@overload(byte_masks, jit_options={"nogil": True})
def _byte_masks(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    return _in_registers if name_of(level) == "avx512" else _one_by_one


def _in_registers(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    row = masks.strides[0]
    for q in range(len(thresholds)):
        table, limit = tables.ctypes.data + q * query_bytes, thresholds.ctypes.data + 4 * q
        code, out = data.ctypes.data + start, masks.ctypes.data + q * row
        left = tiles
        while left >= 8:
            pair_masks(code, stride, table, query_bytes, limit, out, FOUR)
            code, out, left = code + 8 * stride, out + 32, left - 8
        while left >= 2:
            pair_masks(code, stride, table, query_bytes, limit, out, ONE)
            code, out, left = code + 2 * stride, out + 8, left - 2
        if left:
            two = np.empty(2, np.uint32)
            pair_masks(code, 0, table, query_bytes, limit, two.ctypes.data, ONE)  # the tile beside itself
            masks[q, tiles - 1] = two[0]


def _one_by_one(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    sums = np.empty(32, np.int32)
    for q in range(len(thresholds)):
        for i in range(tiles):
            sums[:] = 0
            for j in range(query_bytes // 256):
                table = tables[q * query_bytes + 256 * j : q * query_bytes + 256 * j + 256]
                codes = data[start + i * stride + 32 * j : start + i * stride + 32 * j + 32]
                for lane in range(32):
                    sums[lane] += np.int32(table[codes[lane]])
            mask = np.uint32(0)
            for lane in range(32):
                mask |= np.uint32(sums[lane] >= thresholds[q]) << np.uint32(lane)
            masks[q, i] = mask


@intrinsic
def pair_masks(typing, code, stride, tables, query_bytes, thresholds, masks, pairs):
    """Store the masks of one query and twice so many tiles as `pairs` says; all else are addresses and sizes."""
    count = number_of(pairs)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        code, stride, tables, query_bytes, thresholds, masks, _ = arguments
        code, tables, thresholds, masks = (
            b.inttoptr(address, I8.as_pointer()) for address in (code, tables, thresholds, masks)
        )
        bytes64, bytes32, sums = vector(I8, 64), vector(I8, 32), vector(I16, 32)
        mixed = [cgutils.alloca_once(b, sums) for _ in range(count)]
        odd = [cgutils.alloca_once(b, sums) for _ in range(count)]
        for place in mixed + odd:
            b.store(splat(sums, 0), place)
        both = constant(vector(I32, 64), range(64))
        with cgutils.for_range(b, b.udiv(query_bytes, ir.Constant(I64, 256))) as loop:
            table = at(b, tables, b.mul(loop.index, ir.Constant(I64, 256)))
            quarters = [load(b, at(b, table, 64 * i), bytes64, align=64) for i in range(4)]
            place = b.mul(loop.index, ir.Constant(I64, 32))
            for pair in range(count):
                halves = []
                for tile in (2 * pair, 2 * pair + 1):
                    start = at(b, code, b.add(place, b.mul(stride, ir.Constant(I64, tile))))
                    halves.append(load(b, start, bytes32))
                prefetch(
                    b,
                    at(b, code, b.add(b.mul(place, ir.Constant(I64, 2 * count)), ir.Constant(I64, AHEAD + 64 * pair))),
                    near=2,
                )
                index = b.shuffle_vector(*halves, both)
                name = "llvm.x86.avx512.vpermi2var.qi.512"
                lower, upper = (call(b, name, bytes64, quarters[i], index, quarters[i + 1]) for i in (0, 2))
                high = b.icmp_signed("<", index, splat(bytes64, 0))  # codes of 128 and more
                got = b.bitcast(b.select(high, upper, lower), sums)
                b.store(b.add(b.load(mixed[pair]), got), mixed[pair])
                b.store(b.add(b.load(odd[pair]), b.lshr(got, splat(sums, 8))), odd[pair])
        given = load(b, thresholds, I32)
        for bound, beyond in ((0, "<"), (65535, ">")):
            edge = ir.Constant(I32, bound)
            given = b.select(b.icmp_signed(beyond, given, edge), edge, given)
        limit = spread(b, sums, b.trunc(given, I16))
        order = constant(vector(I32, 64), [i // 2 + i % 2 * 32 for i in range(64)])
        for pair in range(count):
            odds = b.load(odd[pair])
            evens = b.sub(b.load(mixed[pair]), b.shl(odds, splat(sums, 8)))
            reached = [b.icmp_unsigned(">=", value, limit) for value in (evens, odds)]
            store(b, b.bitcast(b.shuffle_vector(*reached, order), I64), at(b, masks, 8 * pair))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6, pairs), generate
