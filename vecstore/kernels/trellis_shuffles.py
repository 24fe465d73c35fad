"""Look-ups in tables of 64 entries by byte shuffles, which know 16 at once: how AVX2 and NEON scan codes of a trellis.

Rows are looked up in strips that stay in the first cache, in two steps: the indices of all look-ups, then, for each
query, the entries. A linear function of a byte's bits is the exclusive-or of what two tables say of its halves.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vecstore.kernels.layout import ENTRIES, LANES, SOURCES
from vecstore.kernels.simd import (
    I8,
    I16,
    I32,
    I64,
    at,
    call,
    load,
    load_table,
    lookup16,
    prefetch,
    register_bytes,
    row_sums,
    splat,
    store,
    vector,
)

__all__ = ["STRIP", "lookup64", "store_indices", "store_sums"]

STRIP = 2 * LANES  # rows
HALVES = 2 * SOURCES
LINE = 64  # bytes of a cache line


@intrinsic
def store_indices(typing, level, planes, stride, counts, halves, maps, indices, ahead, lines):
    """indices[lookup, row] = the exclusive-or, over a look-up's halves, of maps[half][plane of the half].

    All arguments are addresses and sizes. For each look-up `lines` cache lines are fetched from `ahead` on.
    """
    lanes = register_bytes(level)
    kind = vector(I8, lanes)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, planes, stride, counts, *rest, lines = arguments
        planes, counts, halves, maps, indices, ahead = _addresses(b, planes, counts, *rest)
        # Look-ups from equally many halves follow each other, so that no branch is hard to predict.
        for count in range(1, HALVES + 1):
            own_size, maps_size, soon_size = 4 * (1 + count), 16 * count, b.mul(lines, ir.Constant(I64, LINE))
            total = load(b, at(b, counts, 8 * (count - 1)), I64)
            with cgutils.for_range(b, total) as loop:
                soon = at(b, ahead, b.mul(loop.index, soon_size))
                with cgutils.for_range(b, lines) as some:
                    prefetch(b, at(b, soon, b.mul(some.index, ir.Constant(I64, LINE))), near=2)
                own = at(b, halves, b.mul(loop.index, ir.Constant(I64, own_size)))
                own_maps = at(b, maps, b.mul(loop.index, ir.Constant(I64, maps_size)))
                number, *which = (b.zext(load(b, at(b, own, 4 * i), I32), I64) for i in range(1 + count))
                sources = [at(b, planes, b.mul(half, stride)) for half in which]
                tables = [load_table(b, at(b, own_maps, 16 * i), lanes) for i in range(count)]
                out = at(b, indices, b.mul(number, ir.Constant(I64, STRIP)))
                for row in range(0, STRIP, lanes):
                    parts = [
                        lookup16(b, table, load(b, at(b, source, row), kind))
                        for table, source in zip(tables, sources, strict=True)
                    ]
                    store(b, reduce(b.xor, parts), at(b, out, row))
            halves, maps, ahead = (
                at(b, address, b.mul(total, ir.Constant(I64, size)) if isinstance(size, int) else b.mul(total, size))
                for address, size in ((halves, own_size), (maps, maps_size), (ahead, soon_size))
            )
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 8), generate


@intrinsic
def store_sums(typing, level, passes, count, tables, indices, sums):
    """sums[row] = the entries of all look-ups of `count` passes, for one query; all else are addresses."""
    lanes = register_bytes(level)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, passes, count, tables, indices, sums = arguments
        passes, tables, indices, sums = _addresses(b, passes, tables, indices, sums)
        parts, entries, wide = STRIP // lanes, vector(I8, lanes), vector(I16, lanes // 2)
        together = _zeros(b, entries, parts)
        mixed, odd = _zeros(b, wide, parts), _zeros(b, wide, parts)
        with cgutils.for_range(b, count) as loop:
            own = at(b, passes, b.mul(loop.index, ir.Constant(I64, 24)))
            first, members = load(b, own, I64), load(b, at(b, own, 8), I64)
            for place in together:
                b.store(splat(entries, 0), place)
            with cgutils.for_range(b, members) as some:
                lookup = b.add(first, some.index)
                table = at(b, tables, b.mul(lookup, ir.Constant(I64, ENTRIES)))
                quarters = [load_table(b, at(b, table, 16 * i), lanes) for i in range(4)]
                index = at(b, indices, b.mul(lookup, ir.Constant(I64, STRIP)))
                for i, place in enumerate(together):
                    got = lookup64(b, quarters, load(b, at(b, index, lanes * i), entries))
                    b.store(b.add(b.load(place), got), place)
            for i, place in enumerate(together):
                two = b.bitcast(b.load(place), wide)
                b.store(b.add(b.load(mixed[i]), two), mixed[i])
                b.store(b.add(b.load(odd[i]), b.lshr(two, splat(wide, 8))), odd[i])
        for i in range(parts):
            store(b, row_sums(b, b.load(mixed[i]), b.load(odd[i])), at(b, sums, 2 * lanes * i))
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 5), generate


def lookup64(b, quarters, index):
    """Look up in four tables of 16: bits 6 and 7 of an index, which repeat bits 4 and 5, say in which."""
    kind = index.type
    if kind.count == 16:
        name = "llvm.aarch64.neon.tbl4.v16i8"
        return call(b, name, kind, *quarters, b.and_(index, splat(kind, ENTRIES - 1)))
    other = b.xor(index, splat(kind, -128))  # bit 7: nothing from this table
    evens, odds = (b.or_(lookup16(b, quarters[i], index), lookup16(b, quarters[i + 2], other)) for i in (0, 1))
    return b.select(b.icmp_signed("<", b.add(index, index), splat(kind, 0)), odds, evens)


def _addresses(b, *given):
    return [b.inttoptr(address, I8.as_pointer()) for address in given]


def _zeros(b, kind, count):
    """Return variables, which LLVM keeps in registers."""
    places = [cgutils.alloca_once(b, kind) for _ in range(count)]
    for place in places:
        b.store(splat(kind, 0), place)
    return places
