"""Sums of 16-entry tables picked by 4-bit codes, by byte shuffles.

André, Kermarrec & Le Scouarnec, Cache locality is not enough: high-performance nearest neighbor search with product
quantization fast scan, VLDB 2015, keep such tables in registers. Codes lie in tiles[byte, 32 rows]; a row's sum is
only compared with a threshold, so what leaves the registers is one bit a row.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
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

__all__ = ["BLOCK_QUERIES", "LAYOUTS", "first_table", "mask_of", "nibble_masks", "nibble_sums"]

BLOCK_QUERIES = 4  # so many share each load of codes; more would not fit the registers
ONE, TWO, FOUR = static(1), static(2), static(4)
AHEAD = 6144  # bytes; the processor does not prefetch far enough when tiles are read side by side

# By level: bytes of a code whose tables lie together, the largest table entry, the largest sum.
LAYOUTS = {"plain": (1, 255, 1 << 30), "neon": (1, 127, 65535), "avx2": (1, 127, 65535), "avx512": (4, 255, 1 << 30)}


def nibble_masks(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    """masks[query, tile]: which of the tile's 32 rows have a sum of at least thresholds[query], one bit each.

    The first of `tiles` tiles begins at data[start], the others `stride` bytes apart. Tables are
    tables[group][query][low, high][byte of the group][16] for each four queries, and one such for each query that is
    left; a query's take `query_bytes`.
    """
    raise NotImplementedError


def nibble_sums(level, data, start, tables, first, query_bytes, together, sums):
    """sums[32]: of the tile at data[start], for the query whose tables begin at tables[first].

    `together` queries (`BLOCK_QUERIES`, or one) take turns in their tables.
    """
    raise NotImplementedError


@overload(nibble_sums, jit_options={"nogil": True})
def _nibble_sums(level, data, start, tables, first, query_bytes, together, sums):
    return _plain_sums if name_of(level) == "plain" else _register_sums


def _register_sums(level, data, start, tables, first, query_bytes, together, sums):
    code, table = data.ctypes.data + start, tables.ctypes.data + first
    store_sums(level, code, table, query_bytes, together, sums.ctypes.data)


def _plain_sums(level, data, start, tables, first, query_bytes, together, sums):
    for lane in range(32):
        sums[lane] = 0
    for j in range(query_bytes // 32):
        low = first + j * 32 * together
        codes, table = data[start + 32 * j : start + 32 * j + 32], tables[low : low + 32]
        for lane in range(32):
            value = codes[lane]
            sums[lane] += np.int32(table[value & np.uint8(15)]) + np.int32(table[np.uint8(16) + (value >> np.uint8(4))])


@njit(inline="always")
def first_table(q, queries, group, query_bytes):
    """Return where the tables of a query begin, and how many queries take turns there."""
    together = BLOCK_QUERIES if q < queries - queries % BLOCK_QUERIES else 1
    block = q - q % together
    return block * query_bytes + (q - block) * 32 * group, together


@overload(nibble_masks, jit_options={"nogil": True})
def _nibble_masks(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    return _one_by_one if name_of(level) == "plain" else _in_registers


def _in_registers(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    code, table, limits, out = data.ctypes.data + start, tables.ctypes.data, thresholds.ctypes.data, masks.ctypes.data
    row = masks.strides[0]
    queries = len(thresholds)
    blocked = queries - queries % BLOCK_QUERIES
    for q in range(0, blocked, BLOCK_QUERIES):
        for i in range(tiles):
            tile_masks(
                level,
                code + i * stride,
                stride,
                table,
                query_bytes,
                limits + 4 * q,
                out + q * row + 4 * i,
                row,
                FOUR,
                ONE,
            )
        table += BLOCK_QUERIES * query_bytes
    for q in range(blocked, queries):
        for i in range(0, tiles - 1, 2):
            tile_masks(
                level,
                code + i * stride,
                stride,
                table,
                query_bytes,
                limits + 4 * q,
                out + q * row + 4 * i,
                row,
                ONE,
                TWO,
            )
        if tiles % 2:
            i = tiles - 1
            tile_masks(
                level,
                code + i * stride,
                stride,
                table,
                query_bytes,
                limits + 4 * q,
                out + q * row + 4 * i,
                row,
                ONE,
                ONE,
            )
        table += query_bytes


def _one_by_one(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
    sums = np.empty(32, np.int32)
    for q in range(len(thresholds)):
        first, together = first_table(q, len(thresholds), 1, query_bytes)
        for i in range(tiles):
            nibble_sums(level, data, start + i * stride, tables, first, query_bytes, together, sums)
            mask = np.uint32(0)
            for lane in range(32):
                mask |= np.uint32(sums[lane] >= thresholds[q]) << np.uint32(lane)
            masks[q, i] = mask


@intrinsic
def tile_masks(typing, level, code, stride, tables, query_bytes, thresholds, masks, mask_stride, queries, tiles):
    """Store the masks of a number of queries and tiles that are known when this is compiled; all else are addresses."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, code, stride, tables, query_bytes, thresholds, masks, mask_stride, _, _ = arguments
        code, tables, thresholds, masks = _addresses(b, code, tables, thresholds, masks)
        together = ir.Constant(I64, number_of(queries))
        shape = number_of(queries), number_of(tiles)
        for (q, i), sums in _sums(level)(b, code, stride, tables, query_bytes, together, shape).items():
            mask = mask_of(b, sums, load(b, at(b, thresholds, 4 * q), I32))
            place = b.add(b.mul(mask_stride, ir.Constant(I64, q)), ir.Constant(I64, 4 * i))
            store(b, mask, at(b, masks, place))
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 7, queries, tiles), generate


@intrinsic
def store_sums(typing, level, code, tables, query_bytes, together, out):
    """Store the 32 sums of a tile for one query, of which `together` share their tables' turns; all are addresses."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, code, tables, query_bytes, together, out = arguments
        code, tables, out = _addresses(b, code, tables, out)
        stride = ir.Constant(I64, 0)
        sums = _sums(level)(b, code, stride, tables, query_bytes, together, (1, 1))[0, 0]
        for part, rows in enumerate(sums):
            store(b, rows, at(b, out, 4 * rows.type.count * part))
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 5), generate


def mask_of(b, sums, limit):
    """Return which of the 32 sums in some vectors are at least the limit, one bit each."""
    mask = ir.Constant(I32, 0)
    for part, rows in enumerate(sums):
        lanes = rows.type.count
        bits = b.bitcast(b.icmp_signed(">=", rows, spread(b, rows.type, limit)), ir.IntType(lanes))
        wide = bits if lanes == 32 else b.zext(bits, I32)
        mask = b.or_(mask, b.shl(wide, ir.Constant(I32, lanes * part)) if part else wide)
    return mask


def _addresses(b, *given):
    return [b.inttoptr(address, I8.as_pointer()) for address in given]


def _sums(level):
    """Return what emits the sums of each query and tile, as vectors of 32-bit numbers."""
    if name_of(level) == "avx512":
        return _permuted
    return partial(_shuffled, lanes=register_bytes(level))


def _permuted(b, code, stride, tables, query_bytes, together, shape):
    """AVX-512: four bytes of sixteen rows at a time; one permutation looks up in four tables at once, one dot product
    with ones adds the four entries to each row's sum.
    """
    queries, tiles = shape
    bytes64, sums = vector(I8, 64), vector(I32, 16)
    ones, tables_of = splat(sums, 0x01010101), splat(sums, 0x30201000)  # byte i of a row looks up in table i
    # Byte 4r + i of the result is byte i of row r, from two registers that hold 32 rows of two bytes each.
    rows = [constant(bytes64, [i % 4 * 32 + 16 * half + i // 4 for i in range(64)]) for half in range(2)]
    total = _zeros(b, sums, [(q, i, half) for q in range(queries) for i in range(tiles) for half in range(2)])
    groups = b.udiv(query_bytes, ir.Constant(I64, 128))
    with cgutils.for_range(b, groups) as loop:
        place = b.mul(loop.index, ir.Constant(I64, 128))
        table = at(b, tables, b.mul(place, together))
        _prefetch(b, code, b.mul(place, ir.Constant(I64, tiles)), 2 * tiles)
        for i in range(tiles):
            start = at(b, code, b.add(place, b.mul(stride, ir.Constant(I64, i))))
            pair = load(b, start, bytes64), load(b, at(b, start, 64), bytes64)
            for half in range(2):
                name = "llvm.x86.avx512.vpermi2var.qi.512"
                four = b.bitcast(call(b, name, bytes64, pair[0], rows[half], pair[1]), sums)
                low = b.or_(b.and_(four, splat(sums, 0x0F0F0F0F)), tables_of)
                high = b.or_(b.and_(b.lshr(four, splat(sums, 4)), splat(sums, 0x0F0F0F0F)), tables_of)
                for q in range(queries):
                    for side, index in enumerate((low, high)):
                        entries = load(b, at(b, table, 128 * q + 64 * side), bytes64, align=64)
                        got = call(b, "llvm.x86.avx512.permvar.qi.512", bytes64, entries, b.bitcast(index, bytes64))
                        place_of = total[q, i, half]
                        added = call(
                            b, "llvm.x86.avx512.vpdpbusd.512", sums, b.load(place_of), b.bitcast(got, sums), ones
                        )
                        b.store(added, place_of)
    return {(q, i): [b.load(total[q, i, half]) for half in range(2)] for q in range(queries) for i in range(tiles)}


def _shuffled(b, code, stride, tables, query_bytes, together, shape, *, lanes):
    """AVX2 and NEON: one byte of `lanes` rows at a time; sums of even and odd rows apart, in 16 bits.

    The sums of even rows are added up together with what belongs to the odd rows, which is taken away at the end.
    """
    queries, tiles = shape
    entries, sums = vector(I8, lanes), vector(I16, lanes // 2)
    parts = 32 // lanes
    keys = [(q, i, part) for q in range(queries) for i in range(tiles) for part in range(parts)]
    mixed, odd = _zeros(b, sums, keys), _zeros(b, sums, keys)
    with cgutils.for_range(b, b.udiv(query_bytes, ir.Constant(I64, 32))) as loop:
        place = b.mul(loop.index, ir.Constant(I64, 32))
        table = at(b, tables, b.mul(place, together))
        _prefetch(b, code, b.mul(place, ir.Constant(I64, tiles)), tiles)
        for i in range(tiles):
            start = at(b, code, b.add(place, b.mul(stride, ir.Constant(I64, i))))
            for part in range(parts):
                codes = load(b, at(b, start, lanes * part), entries)
                low, high = b.and_(codes, splat(entries, 15)), b.lshr(codes, splat(entries, 4))
                for q in range(queries):
                    got = []
                    for side, index in enumerate((low, high)):
                        own = load_table(b, at(b, table, 32 * q + 16 * side), lanes)
                        got.append(lookup16(b, own, index))
                    two = b.bitcast(b.add(*got), sums)
                    for places, more in ((mixed, two), (odd, b.lshr(two, splat(sums, 8)))):
                        b.store(b.add(b.load(places[q, i, part]), more), places[q, i, part])
    found: dict[tuple[int, int], list[Any]] = {}
    for q, i, part in keys:
        rows = row_sums(b, b.load(mixed[q, i, part]), b.load(odd[q, i, part]))
        found.setdefault((q, i), []).append(b.zext(rows, vector(I32, lanes)))
    return found


def _zeros(b, kind, keys):
    """Return a variable for each key, which LLVM keeps in a register."""
    places = {key: cgutils.alloca_once(b, kind) for key in keys}
    for place in places.values():
        b.store(splat(kind, 0), place)
    return places


def _prefetch(b, code, place, lines):
    for line in range(lines):
        prefetch(b, at(b, code, b.add(place, ir.Constant(I64, AHEAD + 64 * line))))
