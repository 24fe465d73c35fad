"""Sums of 64-entry tables at indices that are linear functions of code bytes: how codes of a trellis are scanned.

Codes are given as planes[byte, rows], see `trellis_planes`. `vecstore.codecs.trellis.lookups.Lookups` says what the
indices are and which look-ups make up a pass. With AVX-512 a pass goes over all rows of the planes with its matrices
and tables in registers: GFNI multiplies 64 bytes by a matrix of bits, VBMI looks up in 64 entries.
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

__all__ = ["BLOCK_QUERIES", "LANES", "LEVELS", "add_passes", "at_least", "lowest_bit"]

LEVELS = ("avx512",)  # with code of their own
LINE = 64  # bytes of a cache line
MOST_LINES = 2  # fetched for every LANES rows of a pass: more keep the next sums waiting
BLOCK_QUERIES = 4  # so many share the computation of indices
ONE, FOUR = static(1), static(BLOCK_QUERIES)


def add_passes(level, planes, vectors, lookups, tables, sums, ahead, ahead_bytes):
    """sums[query, row] += the entries of all look-ups, for `vectors` * LANES rows of planes (bytes, rows).

    lookups is (passes, planes, matrices, images) as `vecstore.codecs.trellis.lookups.Lookups` has them, tables
    (q, lookups, ENTRIES) uint8; entries of a pass add up to at most 255. The `ahead_bytes` bytes at address `ahead`
    are fetched meanwhile.
    """
    raise NotImplementedError


def at_least(level, sums, start, threshold):
    """Return which of sums[start : start + LANES] are at least the threshold, one bit each (uint64)."""
    raise NotImplementedError


@overload(add_passes, jit_options={"nogil": True})
def _add_passes(level, planes, vectors, lookups, tables, sums, ahead, ahead_bytes):
    return _in_registers if name_of(level) == "avx512" else _one_by_one


def _in_registers(level, planes, vectors, lookups, tables, sums, ahead, ahead_bytes):
    passes, bytes_of, matrices, _ = lookups
    code, stride = planes.ctypes.data, planes.strides[0]
    plane, matrix = bytes_of.ctypes.data, matrices.ctypes.data
    # Every pass fetches its share of what is ahead, so that the memory is not idle; `to_planes` fetches the rest.
    lines = min(-(-ahead_bytes // max(len(passes) * vectors * LINE, 1)), MOST_LINES)
    for i in range(len(passes)):
        first, count, sources = passes[i]
        soon = ahead + i * vectors * lines * LINE
        which = (count - 1) * SOURCES + sources - 1
        of, own = plane + 8 * SOURCES * first, matrix + 8 * SOURCES * first
        q, query_bytes, sums_bytes = 0, tables.strides[0], sums.strides[0]
        while q < len(tables):
            table, into = tables[q].ctypes.data + ENTRIES * first, sums[q].ctypes.data
            if len(tables) - q >= BLOCK_QUERIES:
                add_pass(which, code, stride, vectors, of, own, table, query_bytes, into, sums_bytes, soon, lines, FOUR)
                q += BLOCK_QUERIES
            else:
                add_pass(which, code, stride, vectors, of, own, table, query_bytes, into, sums_bytes, soon, lines, ONE)
                q += 1


def _one_by_one(level, planes, vectors, lookups, tables, sums, ahead, ahead_bytes):
    passes, bytes_of, _, images = lookups
    index = np.empty(vectors * LANES, np.uint8)
    for i in range(len(passes)):
        first, count, sources = passes[i]
        for lookup in range(first, first + count):
            index[:] = 0
            for source in range(sources):
                image, plane = images[lookup, source], planes[bytes_of[lookup, source]]
                for row in range(len(index)):
                    index[row] ^= image[plane[row]]
            for q in range(len(tables)):
                table, into = tables[q, lookup], sums[q]
                for row in range(len(index)):
                    into[row] += table[index[row]]


@overload(at_least, jit_options={"nogil": True})
def _at_least(level, sums, start, threshold):
    return _at_least_at_once if name_of(level) == "avx512" else _at_least_one_by_one


def _at_least_at_once(level, sums, start, threshold):
    return compare(sums.ctypes.data + 2 * start, threshold)


def _at_least_one_by_one(level, sums, start, threshold):
    mask = np.uint64(0)
    for lane in range(LANES):
        mask |= np.uint64(sums[start + lane] >= threshold) << np.uint64(lane)
    return mask


@intrinsic
def lowest_bit(typing, mask):
    """Return the place of the lowest bit that is set in a uint64 other than 0."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        return call(b, "llvm.cttz.i64", I64, arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), generate


@intrinsic
def compare(typing, sums, threshold):
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
