"""The trellis of `tcq`, and how its codes are laid out."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats, frozen
from vecstore.errors import CodecError

__all__ = ["HEAD_BITS", "MOST_BITS", "PARITY", "STEPS", "CodeLayout", "means", "seen", "subsets", "taps"]

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
HEAD_BITS = 2  # of a step, at most, that lie in the head of a code


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
    the order of their variance, largest first.

    **How the code is laid out.** Read as one little-endian integer, a code holds, lowest bit first and without gaps:

    1. the *head*: the upper two bits of the sub-index of each step (or fewer, if it has fewer), step by step;
    2. the *rest* of the sub-indices, step by step;
    3. the *path bits*, one a step.

    A field of several bits has its lowest bit first. So the first bytes are a coarser code, which says of many
    coefficients roughly where they lie: without the path a sub-index is a number of a plain quantizer.

    Codes of before (``head_bits`` 0) have no head: eight steps are a *group* (the last one may have fewer) that takes
    whole bytes, first the path bits of its steps, then their sub-indices. Their first bytes tell all of few
    coefficients.

    **How it is read.** Let u[i] be the path bit of step i, and 0 for i < 0. The subset of step i is 2 z1 + z0, where z1
    is the parity of u[i - e] over the exponents e of the polynomial h0 (`PARITY`), and z0 the same with h1: so a step
    depends on the last 1 + log2(states) path bits and on its own sub-index. The number of its level is
    4 * sub-index + subset. Every coefficient has a table of ``2 ** (bits[i] + 1)`` levels of its own; those of subset s
    are the numbers with remainder s modulo 4.

    Attributes
    ----------
    bits, widths : (steps,) uint8
    head_bits : int
        HEAD_BITS, or 0 in codes of before.
    uppers, lowers : (steps,) int64
        How many bits of each sub-index lie in the head, and in the rest.
    paths, heads, rests : (steps,) int64
        The places in a code of each step's path bit, and where its bits begin in the head and in the rest.
    firsts : (steps + 1,) int64
        The coefficients of step i are ``firsts[i]`` to ``firsts[i + 1]``.
    starts : (coefficients + 1,) int64
        Where each coefficient's levels begin in the array of all levels.
    code_bytes, coefficients : int
    gapless : bool
        Every group of eight steps takes whole bytes; false says that `bits` is no layout.
    """

    def __init__(self, bits: NDArray[np.uint8], widths: NDArray[np.uint8], *, head_bits: int = HEAD_BITS) -> None:
        self.bits, self.widths, self.head_bits = frozen(bits), frozen(widths), head_bits
        wide = bits.astype(np.int64)
        begins, steps = np.arange(0, len(bits), STEPS), np.arange(len(bits))
        totals = np.add.reduceat(wide, begins)
        self._edges = np.concatenate([[0], np.cumsum(totals // 8)])  # of groups, in bytes
        self.gapless = not (totals % 8).any()
        self.code_bytes = int(self._edges[-1])
        self.uppers = np.minimum(wide - 1, head_bits)
        self.lowers = wide - 1 - self.uppers
        before_heads, before_rests = (np.cumsum(counts) - counts for counts in (self.uppers, self.lowers))
        if head_bits:
            self.heads = before_heads
            self.rests = int(self.uppers.sum()) + before_rests
            self.paths = 8 * self.code_bytes - len(bits) + steps
        else:
            group = steps // STEPS
            ends = np.minimum(begins + STEPS, len(bits)) - begins  # steps of each group
            self.heads = np.zeros(len(bits), np.int64)
            self.paths = 8 * self._edges[group] + steps % STEPS
            self.rests = 8 * self._edges[group] + ends[group] + before_rests - before_rests[begins][group]
        self.firsts = np.concatenate([[0], np.cumsum(widths, dtype=np.int64)])
        self.starts = np.concatenate([[0], np.cumsum(2 << np.repeat(wide, widths))])
        self.coefficients = int(self.firsts[-1])

    @classmethod
    def checked(
        cls,
        bits: NDArray[np.uint8],
        widths: NDArray[np.uint8],
        head_bits: int | None,
        size_bytes: int,
        dimensions: int,
    ) -> CodeLayout:
        """Return the layout that a file tells, or raise `CodecError` when it is none of that many bytes.

        head_bits is None where the file tells nothing of a head.
        """
        known = len(bits) > 0 and np.isin(bits, np.arange(1, MOST_BITS + 1)).all() and np.isin(widths, (1, 2)).all()
        layout = cls(bits, widths, head_bits=head_bits or 0) if known and head_bits in (None, HEAD_BITS) else None
        if layout is None or not layout.gapless or layout.code_bytes != size_bytes or layout.coefficients > dimensions:
            raise CodecError(f"tcq: the bits in the file do not make up codes of {size_bytes} bytes; it is damaged")
        return layout

    def first(self, size_bytes: int) -> Self:
        """Return the layout of the steps of which something lies in the first bytes of codes; other bits read as 0.

        Codes of before are cut where a group ends, so up to eight bytes below.
        """
        shorter = copy(self)
        shorter.__dict__.pop("bit_places", None)
        if not self.head_bits:
            groups = int(np.searchsorted(self._edges, size_bytes, side="right")) - 1
            size_bytes = int(self._edges[groups])
        steps = self.steps_in(size_bytes)
        if self.head_bits:  # a path bit is all that steps of one bit have
            steps = max(steps, int(np.searchsorted(self.paths, 8 * size_bytes)))
        for name in ("bits", "widths", "uppers", "lowers", "paths", "heads", "rests"):
            setattr(shorter, name, getattr(self, name)[:steps])
        shorter.code_bytes, shorter.firsts = size_bytes, self.firsts[: steps + 1]
        shorter.coefficients = int(shorter.firsts[-1])
        shorter.starts = self.starts[: shorter.coefficients + 1]
        return shorter

    def steps_in(self, size_bytes: int) -> int:
        """Return up to which step a sub-index is known from the first bytes of codes, by its upper bits.

        Steps of one bit have none. In codes of before, all bits of these steps are known.
        """
        if size_bytes >= self.code_bytes:
            return len(self.bits)
        if not self.head_bits:
            ends = np.maximum(self.rests + self.lowers, self.paths + 1)
            return int(np.searchsorted(ends, 8 * size_bytes, side="right"))
        within = np.flatnonzero((self.uppers > 0) & (self.heads + self.uppers <= 8 * size_bytes))
        return int(within[-1]) + 1 if len(within) else 0

    @property
    def known_paths(self) -> NDArray[np.bool_]:
        """Whether the code holds the path bits that each step depends on: (steps,)."""
        return self.paths < 8 * self.code_bytes

    @property
    def known_bits(self) -> NDArray[np.int64]:
        """How many bits of each step's sub-index the code holds, the upper ones: (steps,)."""
        return self.uppers + np.where(self.rests + self.lowers <= 8 * self.code_bytes, self.lowers, 0)

    @cached_property
    def bit_places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places in a code of path bits (steps,) and of sub-index bits (steps, most of a step).

        Places of bits that a step or the code does not have are one past the end of the code.
        """
        column = np.arange(max(int(self.bits.max()) - 1, 1))
        lower, upper = self.lowers[:, None], (self.lowers + self.uppers)[:, None]
        subs = np.where(column < lower, self.rests[:, None] + column, self.heads[:, None] + column - lower)
        subs[column >= upper] = 8 * self.code_bytes
        return np.minimum(self.paths, 8 * self.code_bytes), np.minimum(subs, 8 * self.code_bytes)


def seen(levels: Floats, bits: int, subset: bool) -> NDArray[np.float64]:
    """Return the means of a coefficient's levels that upper bits of a sub-index, and perhaps the subset, leave open.

    (2 ** bits, 1, 4) float64, or (2 ** bits, 1, 1) without the subset: a level's number is 4 * sub-index + subset.
    """
    alike = levels.astype(np.float64).reshape(1 << bits, -1, 4)
    return np.asarray(alike.mean(axis=1 if subset else (1, 2), keepdims=True))


def means(layout: CodeLayout, levels: Floats, bits: NDArray[np.int64], paths: NDArray[np.bool_]) -> Floats:
    """Return the levels as they look to who knows of each step some upper bits of its sub-index, and perhaps its path.

    Parameters
    ----------
    levels : (layout.starts[-1],) float32
    bits : (steps,) int64
        How many bits of the sub-index are known.
    paths : (steps,) bool
        Whether the subset is.

    Returns
    -------
    (layout.starts[-1],) float32
        For each level the mean of those that are not told from it.
    """
    found = np.empty_like(levels)
    for step in range(len(layout.bits)):
        for j in range(layout.firsts[step], layout.firsts[step + 1]):
            own = slice(layout.starts[j], layout.starts[j + 1])
            known = 1 << int(bits[step])
            alike = seen(levels[own], int(bits[step]), bool(paths[step]))
            found[own] = np.broadcast_to(alike, (known, len(levels[own]) // known // 4, 4)).ravel()
    return found
