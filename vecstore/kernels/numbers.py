"""Kinds of plain numbers, and weights that they are multiplied by; read without compiled code."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.kernels.levels import static

__all__ = [
    "FLOATS",
    "KINDS",
    "MOST",
    "RUN",
    "SHAPES",
    "WHOLE",
    "NumberKind",
    "Shape",
    "aligned",
    "arithmetic",
    "pack",
    "whole_type",
    "whole_weights",
]

FLOATS, WHOLE = static(0), static(1)  # what is multiplied
MOST = {"avx2": 64, "avx512": 127}  # the largest weights of bytes; AVX2 adds two products up in 16 bits
BYTES = static(0)
RUN = 256  # rows whose shortest is kept, see `arguments.NumberQueries`


class NumberKind(NamedTuple):
    """A kind of number.

    Attributes
    ----------
    tag : static number
        Numbers of the first tag, bytes, are compared in whole numbers.
    six : bool
        The bytes are packed: `number_scan.unpack_six` gives them.
    """

    tag: tuple[int, ...]
    six: bool = False

    @property
    def of_bytes(self) -> bool:
        """Whether numbers are bytes, once unpacked."""
        return self.tag == BYTES


KINDS = {
    "u1": NumberKind(BYTES),
    "f2": NumberKind(static(1)),
    "bf2": NumberKind(static(2)),
    "f4": NumberKind(static(3)),
    "u6": NumberKind(BYTES, six=True),
}


def whole_weights(weights: Any, level: str) -> tuple[Any, Any]:
    """Return whole weights (q, d up to a multiple of 64) and the bounds (q, 2) that they give, for bytes.

    Rounding a weight w to s * whole leaves an error e; over bytes c its sum is that of e (c - 127.5), at most
    |e| 127.5 sqrt(d) by Cauchy and Schwarz, and 127.5 times the sum of e. So weights . c is at most
    bounds[0] + bounds[1] * (whole . c).
    """
    dtype = whole_type(level)
    given, bounds = rounded(weights, np.iinfo(dtype).max, dtype)
    whole = aligned((len(given), -(-given.shape[1] // 64) * 64), dtype)
    whole[:, : given.shape[1]] = given
    return whole, bounds


def rounded(weights: Any, most: int, dtype: Any) -> tuple[Any, Any]:
    """Return whole weights (q, d) of at most `most` and the bounds (q, 2) that they give: see `whole_weights`."""
    d = weights.shape[1]
    most = min(most, (2**31 - 1) // (255 * d))  # sums stay in 32 bits
    given = weights.astype(np.float64)
    step = np.maximum(np.abs(given).max(axis=1, initial=0), 1e-300)[:, None] / most
    whole = np.rint(given / step)
    error = given - whole * step
    slack = error.sum(axis=1) * 127.5 + np.linalg.norm(error, axis=1) * 127.5 * np.sqrt(d)
    return whole.astype(dtype), np.stack([slack, step[:, 0]], axis=1)


def whole_type(level: str) -> np.dtype[Any]:
    """Return the type of whole weights that a level multiplies bytes by, of few queries."""
    return np.dtype(np.int8 if level == "avx512" else np.int16)


def aligned(shape: tuple[int, int], dtype: Any) -> Any:
    """Return an array of zeros that begins at a cache line."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


class Shape(NamedTuple):
    """What is added up together: `rows` times two vectors of `lanes` queries, or twice the rows times one vector."""

    lanes: int
    rows: int


SHAPES = {"plain": Shape(4, 4), "neon": Shape(4, 8), "avx2": Shape(8, 4), "avx512": Shape(16, 8)}


def arithmetic(level: str, *, of_bytes: bool) -> tuple[int, ...]:
    """Return what is multiplied: whole numbers where there is an instruction for that, else float32."""
    return WHOLE if of_bytes and level in MOST else FLOATS


def pack(
    weights: NDArray[np.float32], how: tuple[int, ...], level: str
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return weights (q, d) in the order in which panels meet them, and the bounds (q, 2) of `whole_weights`.

    Queries are in groups of two vectors, the last one of one vector if that holds it: weights[group, step, query, i] of
    the dimensions i of a step. Missing queries and dimensions have weights of zero. Of float32 no bounds are needed.
    """
    q, d = weights.shape
    lanes, bounds, given = SHAPES[level].lanes, np.tile([0.0, 1.0], (q, 1)), weights
    if how == WHOLE:
        given, bounds = rounded(weights, MOST[level], np.int8)
    step = 4 // given.itemsize
    padded = np.zeros((-(-q // lanes) * lanes, -(-d // step) * step), given.dtype)
    padded[:q, :d] = given
    steps = padded.reshape(len(padded), -1, step)
    out, done = aligned((1, padded.nbytes), np.uint8)[0], 0
    for first in range(0, len(padded), 2 * lanes):
        group = np.ascontiguousarray(steps[first : first + 2 * lanes].swapaxes(0, 1))
        out[done : done + group.nbytes] = group.reshape(-1).view(np.uint8)
        done += group.nbytes
    return out, bounds
