"""Find the best rows of codes that are plain numbers, a row's side by side: bytes, float16, bfloat16, float32."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from vecstore.kernels.heap import push
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
    static,
    vector,
)
from vecstore.kernels.sweep import NOTHING, PRODUCT, SQUARED

__all__ = ["KINDS", "score_numbers", "sweep_numbers", "whole_weights"]

# The kinds of number, as static numbers; codes of the first are compared in whole numbers.
LANES = 32
OVERRUN = 64  # bytes behind a row that a kernel may read
F32 = ir.FloatType()
# Sums in whichever order is fastest: the last bits of a score depend on it, as they do in any BLAS.
FAST = ("reassoc", "contract", "nsz")
KINDS = {"u1": static(0), "f2": static(1), "bf2": static(2), "f4": static(3), "u6": static(0)}


def whole_weights(weights: Any, level: str) -> tuple[Any, Any]:
    """Return whole weights (q, d up to a multiple of 64) and the bounds (q, 2) that they give, for bytes.

    Rounding a weight w to s * whole leaves an error e; over bytes c its sum is that of e (c - 127.5), at most
    |e| 127.5 sqrt(d) by Cauchy and Schwarz, and 127.5 times the sum of e. So weights . c is at most
    bounds[0] + bounds[1] * (whole . c).
    """
    q, d = weights.shape
    most, dtype = (127, np.int8) if level == "avx512" else (32767, np.int16)
    most = min(most, (2**31 - 1) // (255 * d))  # sums stay in 32 bits
    given = weights.astype(np.float64)
    step = np.maximum(np.abs(given).max(axis=1, initial=0), 1e-300)[:, None] / most
    whole = aligned((q, -(-d // 64) * 64), dtype)
    whole[:, :d] = np.rint(given / step)
    error = given - whole[:, :d] * step
    slack = error.sum(axis=1) * 127.5 + np.linalg.norm(error, axis=1) * 127.5 * np.sqrt(d)
    return whole, np.stack([slack, step[:, 0]], axis=1)


def aligned(shape: tuple[int, int], dtype: Any) -> Any:
    """Return an array of zeros that begins at a cache line."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


@intrinsic
def whole_product(typing, level, codes, weights, count):
    """Return the inner product of bytes at one address with whole weights at another, in 32 bits.

    Weights have 8 bits with AVX-512, 16 elsewhere; `count` is a multiple of 64, made so by weights of zero.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, codes, weights, count = arguments
        emit = {"avx512": _by_bytes, "avx2": _by_pairs}.get(name_of(level), _one_by_one)
        size = 1 if emit is _by_bytes else 2
        codes, weights = (b.inttoptr(address, I8.as_pointer()) for address in (codes, weights))
        kind = vector(I32, 16 if emit is not _by_pairs else 8)
        total = cgutils.alloca_once(b, kind)
        b.store(splat(kind, 0), total)
        with cgutils.for_range(b, b.udiv(count, ir.Constant(I64, 64))) as loop:
            place = b.mul(loop.index, ir.Constant(I64, 64))
            b.store(
                emit(b, at(b, codes, place), at(b, weights, b.mul(place, ir.Constant(I64, size))), b.load(total)), total
            )
        return _across(b, b.load(total), b.add)

    return types.int32(level, types.intp, types.intp, types.intp), generate


def _by_bytes(b: Any, codes: Any, weights: Any, total: Any) -> Any:
    numbers, factors = (b.bitcast(load(b, place, vector(I8, 64)), total.type) for place in (codes, weights))
    return call(b, "llvm.x86.avx512.vpdpbusd.512", total.type, total, numbers, factors)


def _by_pairs(b: Any, codes: Any, weights: Any, total: Any) -> Any:
    for i in range(4):
        numbers = b.zext(load(b, at(b, codes, 16 * i), vector(I8, 16)), vector(I16, 16))
        factors = load(b, at(b, weights, 32 * i), vector(I16, 16))
        total = b.add(total, call(b, "llvm.x86.avx2.pmadd.wd", total.type, numbers, factors))
    return total


def _one_by_one(b: Any, codes: Any, weights: Any, total: Any) -> Any:
    for i in range(4):
        numbers = b.zext(load(b, at(b, codes, 16 * i), vector(I8, 16)), total.type)
        factors = b.sext(load(b, at(b, weights, 32 * i), vector(I16, 16)), total.type)
        total = b.add(total, b.mul(numbers, factors))
    return total


@intrinsic
def product(typing, kind, numbers, weights, count):
    """Return the inner product of `count` numbers at one address with float32 weights at another."""
    size, read = _reader(number_of(kind))

    def term(b: Any, number: Any, weight: Any, lanes: int) -> Any:
        return b.fmul(load(b, weight, vector(F32, lanes)), read(b, number, lanes), flags=FAST)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, numbers, weights, count = arguments
        return _sum(b, term, [(numbers, size), (weights, 4)], count, in_order=True)

    return types.float32(kind, types.intp, types.intp, types.intp), generate


@intrinsic
def norm(typing, kind, numbers, linear, squared, count):
    """Return the sum of (linear + squared * number) * number."""
    size, read = _reader(number_of(kind))

    def term(b: Any, number: Any, linear: Any, squared: Any, lanes: int) -> Any:
        value = read(b, number, lanes)
        once, twice = (load(b, place, vector(F32, lanes)) for place in (linear, squared))
        return b.fmul(b.fadd(once, b.fmul(twice, value, flags=FAST), flags=FAST), value, flags=FAST)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, numbers, linear, squared, count = arguments
        return _sum(b, term, [(numbers, size), (linear, 4), (squared, 4)], count)

    return types.float32(kind, types.intp, types.intp, types.intp, types.intp), generate


def _reader(kind: int) -> tuple[int, Any]:
    """Return the size of a number and what emits the reading of some as float32."""

    def read(b: Any, address: Any, lanes: int) -> Any:
        floats = vector(F32, lanes)
        if kind == 0:
            return b.uitofp(load(b, address, vector(I8, lanes)), floats)
        if kind == 1:
            return b.fpext(load(b, address, vector(ir.HalfType(), lanes)), floats)
        if kind == 2:
            upper = b.zext(load(b, address, vector(I16, lanes)), vector(I32, lanes))
            return b.bitcast(b.shl(upper, splat(vector(I32, lanes), 16)), floats)
        return load(b, address, floats)

    return (1, 2, 2, 4)[kind], read


def _sum(b: Any, term: Any, places: Any, count: Any, *, in_order: bool = False) -> Any:
    """Emit the sum of a term over `count` items of the places, (address, bytes of an item) each: four wide vectors at
    a time, then one, then narrow ones, then items.

    With `in_order` each cache line of the first place is asked for just before it is read. That keeps LLVM from reading
    them in another order, which the processor's own prefetching does not follow: float32 rows are read 1.4 times as
    fast.
    """
    add = partial(b.fadd, flags=FAST)
    done, total = cgutils.alloca_once(b, I64), cgutils.alloca_once(b, F32)
    b.store(ir.Constant(I64, 0), done)
    b.store(ir.Constant(F32, 0), total)
    for lanes, unrolled in ((LANES, 4), (LANES, 1), (8, 1), (1, 1)):
        start = b.load(done)
        rounds = b.sdiv(b.sub(count, start), ir.Constant(I64, lanes * unrolled))
        with b.if_then(b.icmp_signed(">", rounds, ir.Constant(I64, 0))):
            sums = [cgutils.alloca_once(b, vector(F32, lanes)) for _ in range(unrolled)]
            for place in sums:
                b.store(splat(vector(F32, lanes), 0), place)
            with cgutils.for_range(b, rounds) as loop:
                for i in range(unrolled):
                    before = b.add(b.mul(loop.index, ir.Constant(I64, lanes * unrolled)), ir.Constant(I64, lanes * i))
                    index = b.add(start, before)
                    addresses = [
                        b.inttoptr(b.add(address, b.mul(index, ir.Constant(I64, size))), I8.as_pointer())
                        for address, size in places
                    ]
                    if in_order:
                        for line in range(0, lanes * places[0][1], 64):
                            prefetch(b, at(b, addresses[0], line))
                    b.store(add(b.load(sums[i]), term(b, *addresses, lanes)), sums[i])
            found = reduce(add, [b.load(place) for place in sums])
            b.store(add(b.load(total), _across(b, found, add)), total)
        b.store(b.add(start, b.mul(rounds, ir.Constant(I64, lanes * unrolled))), done)
    return b.load(total)


def _across(b: Any, value: Any, add: Any) -> Any:
    """Emit the sum of a vector's lanes."""
    lanes = value.type.count
    while lanes > 1:
        lanes //= 2
        halves = [constant(vector(I32, lanes), range(start, start + lanes)) for start in (0, lanes)]
        value = add(*(b.shuffle_vector(value, value, half) for half in halves))
    return b.extract_element(value, ir.Constant(I32, 0))


@njit(cache=True, nogil=True)
def needed_product(kind, bound, bias, least):
    """Return what the sum of weights times numbers has to reach for a score to reach `bound`."""
    if kind == PRODUCT:
        return bound - bias
    if kind == SQUARED:
        return (bound + least * least) / 2 - bias
    return bound * least - bias if bound > 0 else -np.inf


@njit(cache=True, nogil=True)
def raw_score(kind, address, weights, bias, norm_weights, norm_bias, score_kind):
    """Return the score of the row whose numbers lie at an address."""
    d = len(weights)
    found = bias + np.float64(product(kind, address, weights.ctypes.data, d))
    if score_kind == PRODUCT:
        return found
    square = norm_bias + norm(kind, address, norm_weights[0].ctypes.data, norm_weights[1].ctypes.data, d)
    if score_kind == SQUARED:
        return 2 * found - square
    return found / np.sqrt(square) if square > NOTHING else 0.0


@njit(cache=True, nogil=True)
def score_numbers(
    kind, six, data, offsets, block_rows, row_bytes, rows, weights, bias, norm_weights, norm_bias, score_kind, out
):
    """out[i]: the score of row rows[i] for the query of weights (d,) and bias; the rest as in `sweep_numbers`."""
    spare = np.empty(len(weights), np.uint8)
    for i in range(len(rows)):
        block = rows[i] // block_rows
        start = offsets[block] + (rows[i] - block * block_rows) * row_bytes
        address = data.ctypes.data + start
        if six:
            unpack_six(data, start, row_bytes, 1, len(weights), spare)
            address = spare.ctypes.data
        out[i] = raw_score(kind, address, weights, bias, norm_weights, norm_bias, score_kind)


@njit(cache=True, nogil=True)
def sweep_numbers(
    kind,
    six,
    level,
    data,
    offsets,
    block_rows,
    row_bytes,
    first,
    last,
    weights,
    whole_weights,
    wholes,
    norm_weights,
    biases,
    norm_bias,
    lengths,
    score_kind,
    floors,
    allowed,
    heap_scores,
    heap_rows,
    sizes,
):
    """Offer rows `first` to `last` to the heaps of all queries; return how many scores were computed in full.

    Parameters
    ----------
    kind, level : static numbers
        One of `KINDS`; see `simd`.
    six : bool
        The bytes are packed: `unpack_six` gives them.
    data, offsets, block_rows, row_bytes
        Block i of `block_rows` rows of `row_bytes` begins at data[offsets[i]].
    weights : (q, d) float32
        Their inner product with the numbers, and the query's of `biases` (q,), is q . x.
    whole_weights, wholes : (q, d up to a multiple of 64) int8 or int16, (q, 2) float64
        See `whole_weights`; of bytes only, else (0, 0).
    norm_weights : (2, d) float32
        norm_bias + sum of (norm_weights[0] + norm_weights[1] * number) * number is |x|^2.
    lengths, score_kind, floors, allowed, heap_scores, heap_rows, sizes
        As `lengths, kind, ...` of `sweep_tiles`.
    """
    queries, k = heap_scores.shape
    d = weights.shape[1]
    limits = np.empty(queries)
    for q in range(queries):
        bound = max(floors[q], heap_scores[q, 0]) if sizes[q] == k else floors[q]
        limits[q] = needed_product(score_kind, bound, biases[q], lengths[0])
    spare = np.empty(32 * max(row_bytes, d) + OVERRUN, np.uint8)
    exact = 0
    row = first
    while row < last:
        block = row // block_rows
        stop = min(last, (block + 1) * block_rows, (row | 31) + 1)
        start = offsets[block] + (row - block * block_rows) * row_bytes
        codes, stride, size = data, row_bytes, (stop - row) * row_bytes
        if six:
            unpack_six(data, start, row_bytes, stop - row, d, spare)
            codes, start, stride = spare, 0, d
        elif start + size + OVERRUN > len(data):
            for i in range(size):  # a slice assigned would compile the text of its error, for seconds
                spare[i] = data[start + i]
            codes, start = spare, 0
        bits = allowed[row >> 5] >> np.uint32(row & 31) if len(allowed) else np.uint32(0xFFFFFFFF)
        for q in range(queries):
            if bits == 0:
                break
            address = codes.ctypes.data + start
            if len(whole_weights):
                whole = whole_weights[q].ctypes.data
                limit = as_whole((limits[q] - wholes[q, 0]) / wholes[q, 1])
                mask = whole_mask(level, address, stride, stop - row, whole, whole_weights.shape[1], limit)
            else:
                mask = product_mask(kind, address, stride, stop - row, weights[q].ctypes.data, d, limits[q])
            mask &= bits
            found_row = row
            while mask:
                if mask & np.uint32(1):
                    place = address + (found_row - row) * stride
                    found = raw_score(kind, place, weights[q], biases[q], norm_weights, norm_bias, score_kind)
                    exact += 1
                    if found >= floors[q]:
                        sizes[q] = push(heap_scores[q], heap_rows[q], sizes[q], found, found_row)
                        if sizes[q] == k:
                            floors[q] = max(floors[q], heap_scores[q, 0])
                            limits[q] = needed_product(score_kind, floors[q], biases[q], lengths[0])
                mask >>= np.uint32(1)
                found_row += 1
        row = stop
    return exact


@njit(cache=True, nogil=True)
def unpack_six(data, start, row_bytes, rows, d, out):
    """out[row * d + i]: level i, of the upper four bits of all levels and then the lower two."""
    pairs, fours = (d + 1) // 2, (d + 3) // 4
    for row in range(rows):
        at = start + row * row_bytes
        upper, lower = data[at : at + pairs], data[at + pairs : at + pairs + fours]
        levels = out[row * d : row * d + d]
        for i in range(d):
            high = (upper[i >> 1] >> np.uint8(4 * (i & 1))) & np.uint8(15)
            low = (lower[i >> 2] >> np.uint8(2 * (i & 3))) & np.uint8(3)
            levels[i] = (high << np.uint8(2)) | low


@njit(cache=True, nogil=True)
def as_whole(limit):
    """Return the least whole number that is not below `limit`, a part in a million left to rounding."""
    return np.int32(min(max(np.ceil(limit - 1e-6), -(2.0**31)), 2.0**31 - 1))


@njit(cache=True, nogil=True)
def whole_mask(level, address, row_bytes, rows, weights, d, limit):
    """Return which of up to 32 rows reach a limit, one bit each."""
    mask = np.uint32(0)
    for i in range(rows):
        mask |= np.uint32(whole_product(level, address, weights, d) >= limit) << np.uint32(i)
        address += row_bytes
    return mask


@njit(cache=True, nogil=True)
def product_mask(kind, address, row_bytes, rows, weights, d, limit):
    """Return which of up to 32 rows reach a limit, one bit each."""
    mask = np.uint32(0)
    for i in range(rows):
        mask |= np.uint32(product(kind, address, weights, d) >= limit) << np.uint32(i)
        address += row_bytes
    return mask
