"""A small vocabulary for emitting vector instructions that numba does not reach by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from vecstore.kernels.levels import name_of, number_of, static

__all__ = ["name_of", "number_of", "static"]

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def register_bytes(level: Any) -> int:
    """Return the bytes of a register in which a level's byte shuffle looks up, `lookup16`."""
    return {"neon": 16, "avx2": 32}[name_of(level)]


def lookup16(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    """Look up bytes of 0 to 15 in tables of 16 bytes, of which each 128 bits have their own.

    AVX2 looks at bits 0 to 3 of an index, and gives 0 where bit 7 is set; NEON gives 0 for 16 and more.
    """
    wide = table.type.count == 32
    name = "llvm.x86.avx2.pshuf.b" if wide else "llvm.aarch64.neon.tbl1.v16i8"
    return call(builder, name, table.type, table, index)


def load_table(builder: ir.IRBuilder, address: ir.Value, lanes: int) -> ir.Value:
    """Load 16 bytes into each 128 bits of a register."""
    short = load(builder, address, vector(I8, 16))
    twice = constant(vector(I32, lanes), [i % 16 for i in range(lanes)])
    return short if lanes == 16 else builder.shuffle_vector(short, short, twice)


def row_sums(builder: ir.IRBuilder, mixed: ir.Value, odd: ir.Value) -> ir.Value:
    """Return 16-bit sums in the order of their rows.

    Those of even rows were added up together with what belongs to the odd rows, 256-fold, which is taken away here.
    """
    lanes = 2 * odd.type.count
    order = constant(vector(I32, lanes), [i // 2 + i % 2 * (lanes // 2) for i in range(lanes)])
    evens = builder.sub(mixed, builder.shl(odd, splat(odd.type, 8)))
    return builder.shuffle_vector(evens, odd, order)


def vector(item: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(item, lanes)


def constant(kind: ir.VectorType, values: Sequence[int]) -> ir.Constant:
    return ir.Constant(kind, list(values))


def splat(kind: ir.VectorType, value: float) -> ir.Constant:
    """Return the constant vector of one value in all lanes."""
    return ir.Constant(kind, [value] * kind.count)


def spread(builder: ir.IRBuilder, kind: ir.VectorType, scalar: ir.Value) -> ir.Value:
    """Put a scalar into all lanes."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, nothing, splat(vector(I32, kind.count), 0))


def load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, *, align: int = 1) -> ir.Value:
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=align)


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=1)


def at(builder: ir.IRBuilder, address: ir.Value, offset: ir.Value | int) -> ir.Value:
    """Return an address of bytes moved by an offset."""
    return builder.gep(address, [ir.Constant(I64, offset) if isinstance(offset, int) else offset])


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    """Call an LLVM intrinsic."""
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


def prefetch(builder: ir.IRBuilder, address: ir.Value, *, near: int = 3) -> None:
    """Ask for the cache line at an address, which need not be mapped."""
    flags = [ir.Constant(I32, value) for value in (0, near, 1)]  # to read, how near to the processor, data
    call(builder, "llvm.prefetch.p0", ir.VoidType(), address, *flags)
