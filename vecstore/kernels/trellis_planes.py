"""Codes that lie eight bytes a row turned into planes, a byte of many rows each, as look-ups read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from vecstore.kernels.layout import LANES
from vecstore.kernels.simd import I8, I64, at, call, load, name_of, prefetch, store, vector

__all__ = ["CHUNK", "copy_chunk", "fetch", "lined_up", "to_planes"]

CHUNK = 8  # bytes of a row that lie together, fewer at the end of a code
# _ORDERS[wide, 8 * byte + row]: where a byte of one of eight rows lies, when these are `wide` bytes each
_ORDERS = np.array(
    [[row * wide + min(byte, wide - 1) for byte in range(8) for row in range(8)] for wide in range(1, 9)], np.uint8
)
_ORDERS = np.concatenate([_ORDERS[:1], _ORDERS])
EVEN, ODD = (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15)  # qwords of two registers
EVEN_PAIRS, ODD_PAIRS = (0, 1, 4, 5, 8, 9, 12, 13), (2, 3, 6, 7, 10, 11, 14, 15)


@njit(cache=True, nogil=True)
def lined_up(count, size):
    """Return room for runs of `size` bytes, a multiple of LANES, aligned to cache lines: others take twice the time."""
    room = np.empty(count * size + LANES, np.uint8)
    first = -room.ctypes.data % LANES
    return room[first : first + count * size].reshape(count, size)


def to_planes(level, data, start, wide, vectors, planes, first, ahead):
    """planes[first + byte, row] = data[start + row * wide + byte], for `vectors` * LANES rows of `wide` bytes, 1 to 8.

    There is room for eight planes from `first` on, whatever `wide` is. What lies `ahead` bytes further is fetched.
    """
    raise NotImplementedError


@overload(to_planes, jit_options={"nogil": True})
def _to_planes(level, data, start, wide, vectors, planes, first, ahead):
    return _in_registers if name_of(level) == "avx512" else _one_by_one


def _in_registers(level, data, start, wide, vectors, planes, first, ahead):
    kept = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * wide)
    turn(
        data.ctypes.data + start,
        8 * wide,
        kept,
        _ORDERS[wide].ctypes.data,
        vectors,
        planes[first].ctypes.data,
        planes.strides[0],
        ahead,
    )


def _one_by_one(level, data, start, wide, vectors, planes, first, ahead):
    for byte in range(wide):
        plane = planes[first + byte]
        for row in range(vectors * LANES):
            plane[row] = data[start + row * wide + byte]


@intrinsic
def turn(typing, code, step, kept, order, vectors, planes, stride, ahead):
    """Turn `vectors` times LANES rows; eight of them are `step` bytes, those that are set in `kept`."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        code, step, kept, order, vectors, planes, stride, ahead = arguments
        code, order, planes = (b.inttoptr(address, I8.as_pointer()) for address in (code, order, planes))
        bytes64, qwords, mask = vector(I8, LANES), vector(I64, 8), vector(ir.IntType(1), LANES)
        # Nothing is read behind the last row: a mapped file may end there.
        kept, order = b.bitcast(kept, mask), load(b, order, bytes64)
        nothing = ir.Constant(bytes64, None)

        def shuffled(one: Any, other: Any, places: tuple[int, ...]) -> Any:
            return b.shuffle_vector(one, other, ir.Constant(vector(ir.IntType(32), 8), list(places)))

        with cgutils.for_range(b, vectors) as loop:
            given = []
            for i in range(8):
                place = b.mul(b.add(b.mul(loop.index, ir.Constant(I64, 8)), ir.Constant(I64, i)), step)
                prefetch(b, at(b, code, b.add(place, ahead)), near=2)
                address = b.bitcast(at(b, code, place), bytes64.as_pointer())
                name = "llvm.masked.load.v64i8.p0"
                rows = call(b, name, bytes64, address, ir.Constant(ir.IntType(32), 1), kept, nothing)
                turned = call(b, "llvm.x86.avx512.permvar.qi.512", bytes64, rows, order)  # qword: a byte of eight rows
                given.append(b.bitcast(turned, qwords))
            two = [[shuffled(given[i], given[i + 1], kind) for i in (0, 2, 4, 6)] for kind in (EVEN, ODD)]
            for odd, (a, c, e, g) in enumerate(two):
                for upper, kind in enumerate((EVEN_PAIRS, ODD_PAIRS)):
                    left, right = shuffled(a, c, kind), shuffled(e, g, kind)
                    for last, pairs in enumerate((EVEN_PAIRS, ODD_PAIRS)):
                        plane = b.mul(stride, ir.Constant(I64, odd + 2 * upper + 4 * last))
                        place = b.add(plane, b.mul(loop.index, ir.Constant(I64, LANES)))
                        store(b, shuffled(left, right, pairs), at(b, planes, place))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 2, types.uint64, *[types.intp] * 5), generate


@intrinsic
def copy_chunk(typing, source, target):
    """Copy eight bytes from one address to another."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        source, target = (b.inttoptr(address, I8.as_pointer()) for address in arguments)
        store(b, load(b, source, I64), target)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def fetch(typing, address):
    """Ask for a cache line."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        prefetch(b, b.inttoptr(arguments[0], I8.as_pointer()), near=2)
        return context.get_dummy_value()

    return types.void(types.intp), generate
