"""Sums of 256-entry tables picked by bytes of codes.

With AVX-512 VBMI such a table fits four registers, of 8-bit entries, and two permutations look up in it for 64 rows at
once. Byte shuffles of AVX2 know 16 entries, so sixteen of them look up for 32 rows, and the upper bits of a code select
one: half the work of fetching entries one by one. NEON looks up in 64 entries at once. As in `nibble`, what comes out
is one bit a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from vecstore.kernels.nibble import mask_of
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
    number_of,
    prefetch,
    register_bytes,
    row_sums,
    splat,
    spread,
    static,
    store,
    vector,
)

__all__ = ["LAYOUT", "byte_masks"]

LAYOUT = (1, 255, 65535)  # as in `nibble.LAYOUTS`, at any level
ONE, TWO, FOUR = static(1), static(2), static(4)
AHEAD = 24576  # bytes, into the second cache: the first one is full of tables and tiles


def byte_masks(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    """masks[query, tile]: which of the tile's 32 rows have a sum of at least thresholds[query], one bit each.

    The first of `tiles` tiles begins at data[start], the others `stride` bytes apart. Tables are
    tables[query][byte][256]; a query's take `query_bytes`.
    """
    raise NotImplementedError


@overload(byte_masks, jit_options={"nogil": True})
def _byte_masks(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    return {"avx512": _in_registers, "plain": _one_by_one}.get(name_of(level), _shuffled)


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


def _shuffled(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    row = masks.strides[0]
    for q in range(len(thresholds)):
        table, limit = tables.ctypes.data + q * query_bytes, thresholds.ctypes.data + 4 * q
        code, out = data.ctypes.data + start, masks.ctypes.data + q * row
        for i in range(0, tiles - 1, 2):
            shuffled_masks(level, code + i * stride, stride, table, query_bytes, limit, out + 4 * i, TWO)
        if tiles % 2:
            i = tiles - 1
            shuffled_masks(level, code + i * stride, stride, table, query_bytes, limit, out + 4 * i, ONE)


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


@intrinsic
def shuffled_masks(typing, level, code, stride, tables, query_bytes, thresholds, masks, tiles):
    """Store the masks of one query and a number of tiles known when this is compiled; all else are addresses."""
    count, lanes = number_of(tiles), register_bytes(level)
    keys = [(i, part) for i in range(count) for part in range(32 // lanes)]

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, code, stride, tables, query_bytes, thresholds, masks, _ = arguments
        code, tables, thresholds, masks = (
            b.inttoptr(address, I8.as_pointer()) for address in (code, tables, thresholds, masks)
        )
        kind, sums = vector(I8, lanes), vector(I16, lanes // 2)
        mixed, odd = ({key: cgutils.alloca_once(b, sums) for key in keys} for _ in range(2))
        for place in (*mixed.values(), *odd.values()):
            b.store(splat(sums, 0), place)
        with cgutils.for_range(b, b.udiv(query_bytes, ir.Constant(I64, 256))) as loop:
            place = b.mul(loop.index, ir.Constant(I64, 32))
            starts = [at(b, code, b.add(place, b.mul(stride, ir.Constant(I64, i)))) for i in range(count)]
            for start in starts:
                prefetch(b, at(b, start, AHEAD), near=2)
            codes = [load(b, at(b, starts[i], lanes * part), kind) for i, part in keys]
            table = at(b, tables, b.mul(loop.index, ir.Constant(I64, 256)))
            for key, entries in zip(keys, _lookup256(b, table, codes), strict=True):
                two = b.bitcast(entries, sums)
                b.store(b.add(b.load(mixed[key]), two), mixed[key])
                b.store(b.add(b.load(odd[key]), b.lshr(two, splat(sums, 8))), odd[key])
        limit = load(b, thresholds, I32)
        for i in range(count):
            parts = [row_sums(b, b.load(mixed[key]), b.load(odd[key])) for key in keys if key[0] == i]
            wide = [b.zext(rows, vector(I32, lanes)) for rows in parts]
            store(b, mask_of(b, wide, limit), at(b, masks, 4 * i))
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 6, tiles), generate


def _lookup256(b, table, codes):
    """Return the entries of a table at some vectors of codes."""
    kind = codes[0].type
    return _of_quarters(b, table, codes) if kind.count == 16 else _of_sixteenths(b, table, codes)


def _of_quarters(b, table, codes):
    """NEON: a look-up in 64 entries leaves lanes of other codes as they are."""
    kind = codes[0].type
    found = [splat(kind, 0) for _ in codes]
    for quarter in range(4):
        registers = [load(b, at(b, table, 64 * quarter + 16 * i), kind) for i in range(4)]
        indices = [b.sub(code, splat(kind, 64 * quarter)) for code in codes]
        name = "llvm.aarch64.neon.tbx4.v16i8"
        found = [call(b, name, kind, old, *registers, index) for old, index in zip(found, indices, strict=True)]
    return found


def _of_sixteenths(b, table, codes):
    """AVX2: a shuffle gives nothing where bit 7 of a code is set; bits 6 to 4 select among what eight pairs give."""
    kind = codes[0].type
    others = [b.xor(code, splat(kind, -128)) for code in codes]
    words = vector(I16, kind.count // 2)
    # The sign of a byte selects, so bits that come from its neighbour do not matter.
    chosen = [
        [b.bitcast(b.shl(b.bitcast(code, words), splat(words, 3 - bit)), kind) for code in codes] for bit in range(3)
    ]

    def select(bit: int, first: int) -> list[Any]:
        if bit < 0:
            lower, upper = (load_table(b, at(b, table, 16 * (first + half)), kind.count) for half in (0, 8))
            pairs = zip(codes, others, strict=True)
            return [b.or_(lookup16(b, lower, code), lookup16(b, upper, other)) for code, other in pairs]
        unset, is_set = select(bit - 1, first), select(bit - 1, first + (1 << bit))
        three = zip(chosen[bit], is_set, unset, strict=True)
        return [b.select(b.icmp_signed("<", by, splat(kind, 0)), one, other) for by, one, other in three]

    return select(2, 0)
