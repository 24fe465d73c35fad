"""Instruction sets for which kernels have code of their own, and which of them this processor has.

A kernel that exists for several of them takes its level as an argument of its own *type*, a tuple of that many zeros:
so one process may compile all of them, and code for one is never taken for another's.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from vecstore.errors import VecstoreError

__all__ = ["BITS", "LEVELS", "best_level", "levels", "name_of", "number_of", "static", "tag"]

LEVELS = ("plain", "neon", "avx2", "avx512")  # static(number) is the level's tag

NEEDED = {  # features, as Linux calls them
    "plain": (),
    "neon": ("neon",),
    "avx2": ("avx2", "bmi2", "fma"),
    "avx512": ("avx512bw", "avx512vl", "avx512vbmi", "avx512_vnni", "gfni"),
}


def static(number: int) -> tuple[int, ...]:
    """Return a value whose numba type carries `number`."""
    return (0,) * (number + 1)


def number_of(tag: Any) -> int:
    """Return the number that the numba type of a `static` value carries."""
    return int(tag.count) - 1


def name_of(level: Any) -> str:
    """Return the name of the level that the numba type of its tag stands for."""
    return LEVELS[number_of(level)]


TAGS = {level: static(number) for number, level in enumerate(LEVELS)}
BITS = {bits: static(bits) for bits in (4, 8)}  # widths of code that tables are made for


@cache
def levels() -> tuple[str, ...]:
    """Return the levels that this processor has, the best last."""
    features = _features()
    return tuple(level for level in LEVELS if all(feature in features for feature in NEEDED[level]))


@cache
def best_level() -> str:
    """Return the level to use: VECSTORE_SIMD, else the best there is."""
    asked = os.environ.get("VECSTORE_SIMD", "") or levels()[-1]
    if asked not in levels():
        raise VecstoreError(f"VECSTORE_SIMD={asked}: this processor has {', '.join(levels())}")
    return asked


def tag(level: str | None = None) -> tuple[int, ...]:
    """Return what stands for a level, the best one by default, where a kernel is called."""
    return TAGS[level or best_level()]


def _features() -> set[str]:
    if platform.machine().lower() in ("aarch64", "arm64"):
        return {"neon"}  # part of every such processor
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as told:
            return set(next(line for line in told if line.startswith("flags")).split())
    except (OSError, StopIteration):
        from llvmlite.binding import get_host_cpu_features

        found = get_host_cpu_features()
        return {name.replace("avx512vnni", "avx512_vnni") for name, has in found.items() if has}
