"""Sums of 64-entry tables at indices that are linear functions of code bytes: how codes of a trellis are scanned.

Codes are given as planes, see `trellis_planes`. `vecstore.codecs.trellis.lookups.Lookups` says what the indices are and
which look-ups make up a pass. With AVX-512 a pass goes over all rows of a tile with its matrices and tables in
registers: GFNI multiplies 64 bytes by a matrix of bits, VBMI looks up in 64 entries. With AVX2 and NEON all passes go
over a strip of rows: see `trellis_shuffles`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from vecstore.kernels.layout import ENTRIES, LANES, SOURCES, TOGETHER
from vecstore.kernels.simd import (
    I8,
    I16,
    I64,
    at,
    call,
    load,
    name_of,
    number_of,
    prefetch,
    spread,
    static,
    store,
    vector,
)
from vecstore.kernels.trellis_shuffles import STRIP, store_indices, store_sums

__all__ = ["BLOCK_QUERIES", "LANES", "add_passes", "at_least", "fill_indices", "lowest_bit", "strip_rows"]

LINE = 64  # bytes of a cache line
MOST_LINES = 2  # fetched for every LANES rows of a pass: more keep the next sums waiting
BLOCK_QUERIES = 4  # so many share the computation of indices
ONE, FOUR = static(1), static(BLOCK_QUERIES)


def strip_rows(level, rows):
    """Return how many rows are looked up at once, where there are `rows` of them: a multiple of LANES."""
    raise NotImplementedError


def add_passes(level, planes, indices, vectors, lookups, tables, sums, first, ahead, ahead_bytes):
    """sums[query, first + row] = the entries of all look-ups, for `vectors` * LANES rows of planes.

    lookups are the items of a `vecstore.codecs.trellis.lookups.Kernel`, tables (q, lookups, ENTRIES) uint8;
    entries of a pass add up to at most 255. Planes are as `trellis_planes.to_planes` makes them, of as many rows as
    `strip_rows` says; indices (lookups, strip) uint8 are room. So many sums may be written, whatever `vectors` is. The
    `ahead_bytes` bytes at address `ahead` are fetched meanwhile.
    """
    raise NotImplementedError


def fill_indices(level, planes, indices, vectors, lookups, ahead, lines):
    """indices[lookup, row] = where to look up, for `vectors` * LANES rows of planes that are halves of bytes.

    Of each look-up `lines` cache lines are fetched from the address `ahead` on. There is no code of AVX-512 for it.
    """
    raise NotImplementedError


@overload(fill_indices, jit_options={"nogil": True})
def _fill_indices(level, planes, indices, vectors, lookups, ahead, lines):
    return _indices_one_by_one if name_of(level) == "plain" else _indices_shuffled


@overload(strip_rows, jit_options={"nogil": True})
def _strip_rows(level, rows):
    if name_of(level) == "avx512":
        return lambda level, rows: rows
    return lambda level, rows: STRIP


@overload(add_passes, jit_options={"nogil": True})
def _add_passes(level, planes, indices, vectors, lookups, tables, sums, first, ahead, ahead_bytes):
    return {"avx512": _in_registers, "plain": _one_by_one}.get(name_of(level), _shuffled)


def _in_registers(level, planes, indices, vectors, lookups, tables, sums, first, ahead, ahead_bytes):
    passes, bytes_of, matrices, _, _, _ = lookups
    code, stride = planes.ctypes.data, planes.strides[0]
    plane, matrix = bytes_of.ctypes.data, matrices.ctypes.data
    sums[:, first : first + vectors * LANES] = 0
    # Every pass fetches its share of what is ahead, so that the memory is not idle; `to_planes` fetches the rest.
    lines = min(-(-ahead_bytes // max(len(passes) * vectors * LINE, 1)), MOST_LINES)
    for i in range(len(passes)):
        lookup, count, sources = passes[i]
        soon = ahead + i * vectors * lines * LINE
        which = (count - 1) * SOURCES + sources - 1
        of, own = plane + 8 * SOURCES * lookup, matrix + 8 * SOURCES * lookup
        q, query_bytes, sums_bytes = 0, tables.strides[0], sums.strides[0]
        while q < len(tables):
            table, into = tables[q].ctypes.data + ENTRIES * lookup, sums[q].ctypes.data + 2 * first
            if len(tables) - q >= BLOCK_QUERIES:
                add_pass(which, code, stride, vectors, of, own, table, query_bytes, into, sums_bytes, soon, lines, FOUR)
                q += BLOCK_QUERIES
            else:
                add_pass(which, code, stride, vectors, of, own, table, query_bytes, into, sums_bytes, soon, lines, ONE)
                q += 1


def _shuffled(level, planes, indices, vectors, lookups, tables, sums, first, ahead, ahead_bytes):
    passes, _, matrices, _, _, _ = lookups
    index = indices.ctypes.data
    fill_indices(
        level,
        planes,
        indices,
        vectors,
        lookups,
        ahead,
        min(-(-ahead_bytes // max(len(matrices) * LINE, 1)), MOST_LINES),
    )
    for q in range(len(tables)):
        into = sums[q].ctypes.data + 2 * first
        store_sums(level, passes.ctypes.data, len(passes), tables[q].ctypes.data, index, into)


def _one_by_one(level, planes, indices, vectors, lookups, tables, sums, first, ahead, ahead_bytes):
    _, _, matrices, _, _, _ = lookups
    rows = vectors * LANES
    fill_indices(level, planes, indices, vectors, lookups, ahead, 0)
    for q in range(len(tables)):
        into = sums[q]
        for row in range(rows):
            into[first + row] = 0
        for lookup in range(len(matrices)):
            table, index = tables[q, lookup], indices[lookup]
            for row in range(rows):
                into[first + row] += table[index[row] & np.uint8(ENTRIES - 1)]


def _indices_shuffled(level, planes, indices, vectors, lookups, ahead, lines):
    _, _, _, counts, halves, maps = lookups
    code, stride, index = planes.ctypes.data, planes.strides[0], indices.ctypes.data
    half, own = halves.ctypes.data, maps.ctypes.data
    store_indices(level, code, stride, counts.ctypes.data, half, own, index, ahead, lines)


def _indices_one_by_one(level, planes, indices, vectors, lookups, ahead, lines):
    _, _, _, counts, halves, maps = lookups
    rows, at, own = vectors * LANES, 0, 0
    for count in range(1, len(counts) + 1):
        for _ in range(counts[count - 1]):
            index = indices[halves[at]]
            index[:] = 0
            for half in range(count):
                image, plane = maps[own + half], planes[halves[at + 1 + half]]
                for row in range(rows):
                    index[row] ^= image[plane[row]]
            at, own = at + 1 + count, own + count


@intrinsic
def lowest_bit(typing, mask):
    """Return the place of the lowest bit that is set in a uint64 other than 0."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        return call(b, "llvm.cttz.i64", I64, arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), generate


@intrinsic
def at_least(typing, sums, threshold):
    """Return which of the LANES uint16 at an address are at least the threshold."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        address, threshold = arguments
        given = load(b, b.inttoptr(address, I8.as_pointer()), vector(I16, LANES))
        return b.bitcast(b.icmp_unsigned(">=", given, spread(b, given.type, threshold)), I64)

    return types.uint64(types.intp, types.uint16), generate


@intrinsic
def add_pass(
    typing, which, code, stride, vectors, planes, matrices, tables, query_bytes, sums, sums_bytes, soon, lines, queries
):
    """Do one pass of (which // SOURCES + 1) look-ups from (which % SOURCES + 1) sources; all else are addresses."""
    together = number_of(queries)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        which, code, stride, vectors, planes, matrices, tables, query_bytes, sums, sums_bytes = arguments[:10]
        soon, lines, _ = arguments[10:]
        code, planes, matrices, tables, sums, soon = (
            b.inttoptr(address, I8.as_pointer()) for address in (code, planes, matrices, tables, sums, soon)
        )
        done = b.append_basic_block("done")
        kinds = b.switch(which, done)
        for kind in range(TOGETHER * SOURCES):
            block = b.append_basic_block(f"pass{kind}")
            kinds.add_case(ir.Constant(I64, kind), block)
            b.position_at_end(block)
            shape = kind // SOURCES + 1, kind % SOURCES + 1, together
            ahead = soon, lines
            _emit_pass(b, code, stride, vectors, planes, matrices, tables, query_bytes, sums, sums_bytes, ahead, shape)
            b.branch(done)
        b.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 12, queries), generate


def _emit_pass(b, code, stride, vectors, planes, matrices, tables, query_bytes, sums, sums_bytes, ahead, shape):
    count, sources, queries = shape
    soon, lines = ahead
    bytes64, wide = vector(I8, LANES), vector(I16, LANES)
    pairs = [(i, source) for i in range(count) for source in range(sources)]
    places, factors = {}, {}
    for i, source in pairs:
        number = 8 * (SOURCES * i + source)
        places[i, source] = at(b, code, b.mul(load(b, at(b, planes, number), I64), stride))
        factors[i, source] = b.bitcast(spread(b, vector(I64, 8), load(b, at(b, matrices, number), I64)), bytes64)
    by_query = [b.mul(query_bytes, ir.Constant(I64, q)) for q in range(queries)]
    entries = {
        (q, i): load(b, at(b, at(b, tables, by_query[q]), ENTRIES * i), bytes64)
        for q in range(queries)
        for i in range(count)
    }
    into = [at(b, sums, b.mul(sums_bytes, ir.Constant(I64, q))) for q in range(queries)]
    with cgutils.for_range(b, vectors) as loop:
        lane = b.mul(loop.index, ir.Constant(I64, LANES))
        with cgutils.for_range(b, lines) as some:
            line = b.add(b.mul(loop.index, lines), some.index)
            prefetch(b, at(b, soon, b.mul(line, ir.Constant(I64, LINE))), near=2)
        indices = []
        for i in range(count):
            parts = []
            for source in range(sources):
                codes = load(b, at(b, places[i, source], lane), bytes64)
                name = "llvm.x86.vgf2p8affineqb.512"
                parts.append(call(b, name, bytes64, codes, factors[i, source], ir.Constant(I8, 0)))
            index = parts[0]
            for part in parts[1:]:
                index = b.xor(index, part)
            indices.append(index)
        for q in range(queries):
            name = "llvm.x86.avx512.permvar.qi.512"
            total = call(b, name, bytes64, entries[q, 0], indices[0])
            for i in range(1, count):
                total = b.add(total, call(b, name, bytes64, entries[q, i], indices[i]))
            place = at(b, into[q], b.mul(lane, ir.Constant(I64, 2)))
            store(b, b.add(load(b, place, wide), b.zext(total, wide)), place)
