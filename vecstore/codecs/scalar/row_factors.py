"""Numbers that every row keeps beside its levels: a length, an offset, a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats

__all__ = ["FACTOR_BYTES", "read_factors", "write_factors"]

FACTOR_BYTES = 2
LARGEST_HALF = 65504.0


def write_factors(values: NDArray[np.float64], scale: Floats, codes: Codes) -> Floats:
    """Write values (n,), each as a float16 in units of `scale`, into the first bytes of codes; return what is read.

    Values beyond 65,504 times the scale are clipped.
    """
    halves = np.clip(values / np.float64(scale[0]), -LARGEST_HALF, LARGEST_HALF).astype("<f2")
    codes[:, :FACTOR_BYTES] = halves.view(np.uint8).reshape(-1, FACTOR_BYTES)
    return halves.astype(np.float32) * scale


def read_factors(codes: Codes, scale: Floats) -> Floats:
    """Return the values (n,) float32 that `write_factors` wrote into the first bytes of codes."""
    halves = np.ascontiguousarray(codes[:, :FACTOR_BYTES]).view("<f2")[:, 0]
    return halves.astype(np.float32) * scale
