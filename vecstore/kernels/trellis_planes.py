"""Codes that lie eight bytes a row turned into planes, a byte of many rows each, as look-ups read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.layout import LANES
from vecstore.kernels.simd import I8, I64, at, call, load, name_of, prefetch, register_bytes, splat, store, vector

__all__ = ["CHUNK", "copy_chunk", "fetch", "lined_up", "planes_of", "to_planes"]

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


def planes_of(level):
    """Return how many planes there are of each byte: itself, or its lower and its upper half."""
    raise NotImplementedError


def to_planes(level, data, start, wide, vectors, planes, byte, ahead):
    """Turn `vectors` * LANES rows of `wide` bytes, 1 to 8, which begin at data[start], and are those from `byte` on.

    planes[byte + i, row] = byte i of the row; where there are two planes of each byte, planes[2 * (byte + i), row] are
    its lower four bits and planes[2 * (byte + i) + 1, row] the others. There is room for planes of eight bytes,
    whatever `wide` is. What lies `ahead` bytes further is fetched.
    """
    raise NotImplementedError


@overload(planes_of, jit_options={"nogil": True})
def _planes_of(level):
    count = 1 if name_of(level) == "avx512" else 2
    return lambda level: count


@overload(to_planes, jit_options={"nogil": True})
def _to_planes(level, data, start, wide, vectors, planes, byte, ahead):
    return {"avx512": _permuted, "plain": _one_by_one}.get(name_of(level), _zipped)


def _permuted(level, data, start, wide, vectors, planes, byte, ahead):
    kept = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * wide)
    turn(
        data.ctypes.data + start,
        8 * wide,
        kept,
        _ORDERS[wide].ctypes.data,
        vectors,
        planes[byte].ctypes.data,
        planes.strides[0],
        ahead,
    )


def _zipped(level, data, start, wide, vectors, planes, byte, ahead):
    code, plane = data.ctypes.data + start, planes[2 * byte].ctypes.data
    if wide == CHUNK:
        zip_rows(level, code, vectors * LANES, plane, planes.strides[0], ahead)
        return
    spare = np.empty(vectors * LANES * CHUNK, np.uint8)
    whole = max(vectors * LANES - CHUNK, 0)  # nothing is read behind the last row: a mapped file may end there
    for row in range(whole):
        copy_chunk(code + row * wide, spare.ctypes.data + row * CHUNK)
    for row in range(whole, vectors * LANES):
        for i in range(wide):
            spare[row * CHUNK + i] = data[start + row * wide + i]
    zip_spare(level, spare, plane, planes.strides[0])


@borrowing
def zip_spare(level, spare, plane, stride):
    """Do as `zip_rows`; an array of which a function has only the address left is freed while it is read."""
    zip_rows(level, spare.ctypes.data, len(spare) // CHUNK, plane, stride, 0)


def _one_by_one(level, data, start, wide, vectors, planes, byte, ahead):
    for i in range(wide):
        lower, upper = planes[2 * (byte + i)], planes[2 * (byte + i) + 1]
        for row in range(vectors * LANES):
            value = data[start + row * wide + i]
            lower[row], upper[row] = value & np.uint8(15), value >> np.uint8(4)


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
def zip_rows(typing, level, code, rows, planes, stride, ahead):
    """Turn rows of eight bytes, a multiple of LANES, into planes of half bytes; all else are addresses and sizes."""
    lanes = register_bytes(level)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, code, rows, planes, stride, ahead = arguments
        code, planes = (b.inttoptr(address, I8.as_pointer()) for address in (code, planes))
        kind, sixteen = vector(I8, lanes), vector(I8, 16)
        with cgutils.for_range(b, b.udiv(rows, ir.Constant(I64, lanes))) as loop:
            first = b.mul(loop.index, ir.Constant(I64, lanes))
            source = at(b, code, b.mul(first, ir.Constant(I64, CHUNK)))
            for line in range(0, lanes * CHUNK, 64):
                prefetch(b, at(b, at(b, source, line), ahead), near=2)
            # Sixteen rows in 128 bits each of eight registers: four zips rotate the seven bits of a byte's place,
            # (row, byte), by four: (byte, row).
            given = []
            for i in range(8):
                parts = [load(b, at(b, source, 16 * i + 16 * CHUNK * part), sixteen) for part in range(lanes // 16)]
                given.append(parts[0] if lanes == 16 else b.shuffle_vector(*parts, _places(range(32))))
            for _ in range(4):
                given = [
                    b.shuffle_vector(given[i], given[i + 4], _zip(lanes, half)) for i in range(4) for half in (0, 1)
                ]
            for i, both in enumerate(given):
                for half, value in enumerate((b.and_(both, splat(kind, 15)), b.lshr(both, splat(kind, 4)))):
                    place = b.add(b.mul(stride, ir.Constant(I64, 2 * i + half)), first)
                    store(b, value, at(b, planes, place))
        return context.get_dummy_value()

    return types.void(level, *[types.intp] * 5), generate


def _zip(lanes, half):
    """Return the places of two registers' bytes in turns, of a half of each 128 bits."""
    starts = [part + 8 * half + i for part in range(0, lanes, 16) for i in range(8)]
    return _places(place for start in starts for place in (start, lanes + start))


def _places(places):
    places = list(places)
    return ir.Constant(vector(ir.IntType(32), len(places)), places)


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
