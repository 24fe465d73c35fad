"""Inner products of float32 weights with numbers side by side: bytes, float16, bfloat16, float32."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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
    vector,
)

__all__ = ["F32", "GROUP", "norm", "product", "reader", "whole_product", "whole_products_reach"]

LANES = 32
GROUP = 16  # rows of which whole products are added up together
F32 = ir.FloatType()
# Sums in whichever order is fastest: the last bits of a score depend on it, as they do in any BLAS.
FAST = ("reassoc", "contract", "nsz")


@intrinsic
def whole_product(typing, level, codes, weights, count):
    """Return the inner product of bytes at one address with whole weights at another, in 32 bits.

    Weights have 8 bits with AVX-512, 16 elsewhere; `count` is a multiple of 64, made so by weights of zero.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, *places, count = arguments
        return _across(b, _whole_sums(b, name_of(level), *places, count), b.add)

    return types.int32(level, types.intp, types.intp, types.intp), generate


@intrinsic
def whole_products_reach(typing, level, codes, stride, weights, count, least):
    """Return which of `GROUP` rows, a stride apart, have a `whole_product` of at least `least`, one bit each.

    Vectors of sums are added up across their lanes together: a row costs four instructions instead of a dozen.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, codes, stride, weights, count, least = arguments
        rows = [b.add(codes, b.mul(stride, ir.Constant(I64, i))) for i in range(GROUP)]
        sums = [_whole_sums(b, name_of(level), row, weights, count) for row in rows]
        mask, lanes = ir.Constant(I32, 0), sums[0].type.count
        for first in range(0, GROUP, lanes):
            found = _across_each(b, sums[first : first + lanes])
            reached = b.bitcast(b.icmp_signed(">=", found, spread(b, found.type, least)), ir.IntType(lanes))
            mask = b.or_(mask, b.shl(b.zext(reached, I32), ir.Constant(I32, first)))
        return mask

    return types.uint32(level, types.intp, types.intp, types.intp, types.intp, types.int32), generate


def _whole_sums(b: Any, level: str, codes: Any, weights: Any, count: Any) -> Any:
    """Emit a vector whose lanes add up to the product of bytes at one address with whole weights at another."""
    emit = {"avx512": _by_bytes, "avx2": _by_pairs}.get(level, _one_by_one)
    size = 1 if emit is _by_bytes else 2
    codes, weights = (b.inttoptr(address, I8.as_pointer()) for address in (codes, weights))
    kind = vector(I32, 16 if emit is not _by_pairs else 8)
    total = cgutils.alloca_once(b, kind)
    b.store(splat(kind, 0), total)
    with cgutils.for_range(b, b.udiv(count, ir.Constant(I64, 64))) as loop:
        place = b.mul(loop.index, ir.Constant(I64, 64))
        factors = at(b, weights, b.mul(place, ir.Constant(I64, size)))
        b.store(emit(b, at(b, codes, place), factors, b.load(total)), total)
    return b.load(total)


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
    size, read = reader(number_of(kind))

    def term(b: Any, number: Any, weight: Any, lanes: int) -> Any:
        return b.fmul(load(b, weight, vector(F32, lanes)), read(b, number, lanes), flags=FAST)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, numbers, weights, count = arguments
        return _sum(b, term, [(numbers, size), (weights, 4)], count, in_order=True)

    return types.float32(kind, types.intp, types.intp, types.intp), generate


@intrinsic
def norm(typing, kind, numbers, linear, squared, count):
    """Return the sum of (linear + squared * number) * number."""
    size, read = reader(number_of(kind))

    def term(b: Any, number: Any, linear: Any, squared: Any, lanes: int) -> Any:
        value = read(b, number, lanes)
        once, twice = (load(b, place, vector(F32, lanes)) for place in (linear, squared))
        return b.fmul(b.fadd(once, b.fmul(twice, value, flags=FAST), flags=FAST), value, flags=FAST)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        _, numbers, linear, squared, count = arguments
        return _sum(b, term, [(numbers, size), (linear, 4), (squared, 4)], count)

    return types.float32(kind, types.intp, types.intp, types.intp, types.intp), generate


def reader(kind: int) -> tuple[int, Any]:
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


def _across_each(b: Any, vectors: list[Any]) -> Any:
    """Emit the vector of the sums across lanes of as many vectors as one has lanes, 8 or 16, in their order."""
    lanes = len(vectors)
    fours = range(0, lanes, 4)
    # Lanes of two vectors, the second one's counted from `lanes` on, so that what they are shuffled to adds up to both:
    # within each four lanes first, then whole fours, evens to odds.
    steps = [
        ([(0, lanes, 1, lanes + 1), (2, lanes + 2, 3, lanes + 3)], fours),
        ([(0, 1, lanes, lanes + 1), (2, 3, lanes + 2, lanes + 3)], fours),
    ]
    steps += [([(0, 1, 2, 3), (4, 5, 6, 7)], range(0, 2 * lanes, 8))] * (lanes.bit_length() - 3)
    for patterns, starts in steps:
        orders = [constant(vector(I32, lanes), [start + i for start in starts for i in some]) for some in patterns]
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [b.add(*(b.shuffle_vector(*pair, order) for order in orders)) for pair in pairs]
    return vectors[0]


def _across(b: Any, value: Any, add: Any) -> Any:
    """Emit the sum of a vector's lanes."""
    lanes = value.type.count
    while lanes > 1:
        lanes //= 2
        halves = [constant(vector(I32, lanes), range(start, start + lanes)) for start in (0, lanes)]
        value = add(*(b.shuffle_vector(value, value, half) for half in halves))
    return b.extract_element(value, ir.Constant(I32, 0))
