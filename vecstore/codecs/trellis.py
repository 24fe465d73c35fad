"""The trellis of `tcq`, and how its codes are laid out."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import frozen
from vecstore.errors import CodecError

__all__ = ["MOST_BITS", "PARITY", "STEPS", "CodeLayout", "subsets", "taps"]

# Parity-check polynomials (h0, h1) of Ungerboeck's best codes for amplitude modulation, by number of states:
# Channel coding with multilevel/phase signals, IEEE Trans. Information Theory 28, 1982, table I.
PARITY = {
    4: (0o5, 0o2),
    8: (0o13, 0o4),
    16: (0o23, 0o4),
    32: (0o45, 0o10),
    64: (0o103, 0o24),
    128: (0o235, 0o126),
    256: (0o515, 0o362),
}
STEPS = 8  # of a group
MOST_BITS = 8  # of a step


def taps(states: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how many steps back the path bits lie whose parity is the high, and the low, bit of the subset.

    Ungerboeck describes a code by the sequences of subset bits (z1, z0) that it allows, those with
    h1(D) z1 + h0(D) z0 = 0. They are the sequences z1 = h0(D) u, z0 = h1(D) u of all paths u: a shift register without
    feedback, so that a subset depends on the last bits of the path only, and all subsets of a code are a few shifted
    exclusive-ors of its path bits.
    """
    high, low = (
        tuple(e for e in range(polynomial.bit_length()) if polynomial >> e & 1) for polynomial in PARITY[states]
    )
    return high, low


def subsets(states: int) -> NDArray[np.int64]:
    """Return the subset 0 to 3 that each window of path bits names: (2 * states,) int64; the newest bit is highest."""
    memory = states.bit_length() - 1
    windows = np.arange(2 * states)
    high, low = (
        np.bitwise_xor.reduce([windows >> (memory - back) & 1 for back in backs], axis=0) for backs in taps(states)
    )
    return 2 * high + low


class CodeLayout:
    """Where in a code the bits of each step lie, and which coefficients a step codes.

    A code is read as a path through a trellis, one step after the other. Step i takes ``bits[i]`` bits: one *path bit*
    and a *sub-index* of the others. It names one level for each of its ``widths[i]`` coefficients. Coefficients lie in
    the order of their variance, largest first, so the first groups of a code are a coarser code.

    **How the code is laid out.** Eight steps are a *group* (the last group may have fewer); a group takes whole bytes
    and follows the group before it without a gap. Read as one little-endian integer, a group holds, lowest bit first:

    1. the path bits of its steps, one each, in order: the first byte of a group of eight;
    2. the sub-indices of its steps in order, each ``bits[i] - 1`` bits with the lowest bit first.

    There is no padding: the bits of a group's steps sum to eight times its bytes.

    **How it is read.** Let u[i] be the path bit of step i, and 0 for i < 0. The subset of step i is 2 z1 + z0, where z1
    is the parity of u[i - e] over the exponents e of the polynomial h0 (`PARITY`), and z0 the same with h1: so a step
    depends on the last 1 + log2(states) path bits, which lie in its group's first byte and those of the groups before,
    and on its own sub-index. The number of its level is 4 * sub-index + subset. Every coefficient has a table of
    ``2 ** (bits[i] + 1)`` levels of its own; those of subset s are the numbers with remainder s modulo 4.

    Attributes
    ----------
    bits, widths : (steps,) uint8
    firsts : (steps + 1,) int64
        The coefficients of step i are ``firsts[i]`` to ``firsts[i + 1]``.
    edges : (groups + 1,) int64
        Where groups begin and end, in bytes.
    shifts : (steps,) int64
        Place of a step's sub-index in its group's integer.
    starts : (coefficients + 1,) int64
        Where each coefficient's levels begin in the array of all levels.
    gapless : bool
        Every group takes whole bytes; false says that `bits` is no layout.
    """

    def __init__(self, bits: NDArray[np.uint8], widths: NDArray[np.uint8]) -> None:
        self.bits, self.widths = frozen(bits), frozen(widths)
        wide = bits.astype(np.int64)
        begins = np.arange(0, len(bits), STEPS)
        totals = np.add.reduceat(wide, begins)
        self.edges = np.concatenate([[0], np.cumsum(totals // 8)])
        self.firsts = np.concatenate([[0], np.cumsum(widths, dtype=np.int64)])
        subs = wide - 1
        before = np.cumsum(subs) - subs
        steps = np.minimum(begins + STEPS, len(bits)) - begins
        groups = np.arange(len(bits)) // STEPS
        self.shifts = steps[groups] + before - before[begins][groups]
        self.starts = np.concatenate([[0], np.cumsum(2 << np.repeat(wide, widths))])
        self.gapless = not (totals % 8).any()
        self.code_bytes, self.coefficients = int(self.edges[-1]), int(self.firsts[-1])

    @classmethod
    def checked(
        cls, bits: NDArray[np.uint8], widths: NDArray[np.uint8], size_bytes: int, dimensions: int
    ) -> CodeLayout:
        """Return the layout that a file tells, or raise `CodecError` when it is none of that many bytes."""
        known = len(bits) > 0 and np.isin(bits, np.arange(1, MOST_BITS + 1)).all() and np.isin(widths, (1, 2)).all()
        layout = cls(bits, widths) if known else None
        if layout is None or not layout.gapless or layout.code_bytes != size_bytes or layout.coefficients > dimensions:
            raise CodecError(f"tcq: the bits in the file do not make up codes of {size_bytes} bytes; it is damaged")
        return layout

    def steps_in(self, size_bytes: int) -> int:
        """Return how many steps lie in the first bytes of a code with all their bits."""
        steps = np.arange(len(self.bits))
        within = np.maximum(self.shifts + self.bits.astype(np.int64) - 1, steps % STEPS + 1)
        return int(np.searchsorted(8 * self.edges[steps // STEPS] + within, 8 * size_bytes, side="right"))

    @cached_property
    def bit_places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places in a code of path bits (steps,) and of sub-index bits (steps, most of a step).

        Places of bits that a step does not have are one past the end of the code.
        """
        steps = np.arange(len(self.bits))
        begins = 8 * self.edges[steps // STEPS]
        column = np.arange(int(self.bits.max()) - 1)
        subs = (begins + self.shifts)[:, None] + column
        subs[column >= self.bits[:, None].astype(np.int64) - 1] = 8 * self.code_bytes
        return begins + steps % STEPS, subs
