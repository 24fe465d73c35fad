"""Sixteen entries of a table at once: what they add to a bound, and the bytes that this is rounded up to.

Addresses are those of float32 entries. The numbers between are doubles: rounding up has to stay a bound.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vecstore.kernels.simd import I8, I32, call, constant, load, spread, store, vector

__all__ = ["TOGETHER", "span_of", "write_bytes", "write_digits"]

TOGETHER = 16
F64S, I32S, I8S = (vector(kind, TOGETHER) for kind in (ir.DoubleType(), I32, I8))


@intrinsic
def span_of(typing, terms, norm_terms, a, b):
    """Return the least and the largest of a * terms + b * norm_terms."""
    kind = types.UniTuple(types.float64, 2)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        joined = _joined(builder, *arguments)
        ends = [_end(builder, joined, sign) for sign in "<>"]
        return context.make_tuple(builder, kind, ends)

    return kind(types.intp, types.intp, types.float64, types.float64), generate


@intrinsic
def write_bytes(typing, terms, norm_terms, a, b, least, each, out):
    """out[i] = (a * terms[i] + b * norm_terms[i] - least) * each, rounded up."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *joining, least, each, out = arguments
        exact = _steps(builder, joining, least, each)
        _put(builder, call(builder, f"llvm.ceil.v{TOGETHER}f64", F64S, exact), out)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, *[types.float64] * 4, types.intp), generate


@intrinsic
def write_digits(typing, terms, norm_terms, a, b, least, each, steps, out):
    """out[i] = what `write_bytes` adds by rounding, in so many steps, rounded down."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *joining, least, each, steps, out = arguments
        exact = _steps(builder, joining, least, each)
        added = builder.fsub(call(builder, f"llvm.ceil.v{TOGETHER}f64", F64S, exact), exact)
        scaled = builder.fmul(added, spread(builder, F64S, steps))
        _put(builder, scaled, out)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, *[types.float64] * 5, types.intp), generate


def _end(builder, values, sign):
    """Return the least or the largest: halves against each other, since instructions for this take no other order."""
    while values.type.count > 1:
        lanes = values.type.count // 2
        sides = [constant(vector(I32, lanes), range(side * lanes, side * lanes + lanes)) for side in range(2)]
        low, high = (builder.shuffle_vector(values, values, side) for side in sides)
        values = builder.select(builder.fcmp_ordered(sign, low, high), low, high)
    return builder.extract_element(values, ir.Constant(I32, 0))


def _steps(builder, joining, least, each):
    above = builder.fsub(_joined(builder, *joining), spread(builder, F64S, least))
    return builder.fmul(above, spread(builder, F64S, each))


def _joined(builder, terms, norm_terms, a, b):
    """Return a * terms + b * norm_terms, which is not looked at where b is 0."""
    own, norms = (
        builder.fpext(load(builder, builder.inttoptr(place, I8.as_pointer()), vector(ir.FloatType(), TOGETHER)), F64S)
        for place in (terms, norm_terms)
    )
    return builder.fadd(builder.fmul(own, spread(builder, F64S, a)), builder.fmul(norms, spread(builder, F64S, b)))


def _put(builder, values, out):
    """Store whole numbers of 0 to 255 as bytes."""
    store(builder, builder.trunc(builder.fptosi(values, I32S), I8S), builder.inttoptr(out, I8.as_pointer()))
