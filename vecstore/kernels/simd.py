"""Vector instructions that numba does not reach by itself: which there are, and how they are named to LLVM.

A kernel that exists for several instruction sets takes its level as an argument of its own *type*, a tuple of that
many zeros: so one process may compile all of them, and a cached kernel is never taken for another level's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features

from vecstore.errors import VecstoreError

__all__ = ["BITS", "LEVELS", "best_level", "levels", "name_of", "number_of", "static", "tag"]

LEVELS = ("plain", "neon", "avx2", "avx512")  # static(number) is the level's tag

NEEDED = {
    "plain": (),
    "neon": ("neon",),
    "avx2": ("avx2",),
    "avx512": ("avx512bw", "avx512vl", "avx512vbmi", "avx512vnni", "gfni"),
}

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def static(number: int) -> tuple[int, ...]:
    """Return a value whose numba type carries `number`."""
    return (0,) * (number + 1)


def number_of(tag: Any) -> int:
    """Return the number that the numba type of a `static` value carries."""
    return int(tag.count) - 1


def name_of(level: Any) -> str:
    """Return the name of the level that the numba type of its tag stands for."""
    return LEVELS[number_of(level)]


BITS = {bits: static(bits) for bits in (4, 8)}  # widths of code that tables are made for


@cache
def levels() -> tuple[str, ...]:
    """Return the levels that this processor has, the best last."""
    features = set(_host_features())
    found = [level for level in LEVELS if all(feature in features for feature in NEEDED[level])]
    return tuple(found)


@cache
def best_level() -> str:
    """Return the level to use: VECSTORE_SIMD, else the best there is."""
    asked = os.environ.get("VECSTORE_SIMD", "") or levels()[-1]
    if asked not in levels():
        raise VecstoreError(f"VECSTORE_SIMD={asked}: this processor has {', '.join(levels())}")
    return asked


def tag(level: str | None = None, *, among: Sequence[str] = LEVELS) -> tuple[int, ...]:
    """Return what stands for a level, the best one by default, where a kernel is called.

    `among` are the levels that the kernel has code of their own for: the others share the plain one's.
    """
    level = level or best_level()
    return static(LEVELS.index(level if level in among else "plain"))


def _host_features() -> list[str]:
    if binding.get_process_triple().startswith(("aarch64", "arm64")):
        return ["neon"]  # part of every such processor
    features = getattr(config, "CPU_FEATURES", None) or get_host_cpu_features()
    return [feature[1:] for feature in features.split(",") if feature.startswith("+")]


# A small vocabulary for emitting LLVM instructions


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


def splat(kind: ir.VectorType, value: int) -> ir.Constant:
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
