"""How helpers of kernels are compiled that only borrow the arrays they are given."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["borrowing"]

# numba counts references to arrays, atomically, at every call: some dozens where named tuples of arrays are handed on,
# 0.3 us. A function that neither makes nor returns arrays needs none of that; numba compiles its own string functions
# with the same option.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
borrowing: Any = njit(**OPTIONS)
