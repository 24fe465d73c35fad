"""The codes of `tcq` as look-ups in small tables: how a query's product with a row is found without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.trellis.layout import HEAD_BITS, CodeLayout, means, seen, taps
from vecstore.kernels.layout import ENTRIES, SOURCES, TOGETHER

__all__ = ["COARSE_BITS", "Lookups", "coarse_levels"]

INDEX_BITS = 6
COARSE_BITS = HEAD_BITS  # of a step, at most, that coarse look-ups read
WINDOW = 8  # look-ups among which those with equally many sources are brought together


Bytes: TypeAlias = NDArray[np.uint8]


class Kernel(NamedTuple):
    """Look-ups as `kernels.trellis_sums` takes them.

    Attributes
    ----------
    passes : (passes, 3) int64
    planes : (lookups, SOURCES) int64
    matrices : (lookups, SOURCES) uint64
        The masks in the order that GFNI reads.
    counts : (2 * SOURCES,) int64
        How many look-ups have an index that comes from 1, 2, ... half bytes.
    halves : (some,) int32
        Of each, in this order: its number, and its half bytes, 2 * plane or, for the upper four bits, 1 more.
    maps : (half bytes of all, 16) uint8
        What an index takes from each half byte.
    """

    passes: NDArray[np.int64]
    planes: NDArray[np.int64]
    matrices: NDArray[np.uint64]
    counts: NDArray[np.int64]
    halves: NDArray[np.int32]
    maps: Bytes


@dataclass(frozen=True, eq=False)
class Lookups:
    """What a row's code, or its first bytes, is looked up by.

    The subset of a step is an exclusive-or of path bits, its sub-index are bits of the code: so the number of a level
    is a linear function, over the field of two elements, of the bits of a few bytes. An *index* joins the numbers of
    as many consecutive steps as fit six bits: it is the exclusive-or, over its source bytes, of a matrix of 8 x 8 bits
    times the byte. The entry of a table at the index stands for all coefficients of these steps.

    A step of more than five bits, or from more bytes than an index may come from, gives the upper bits of its sub-index
    only, and its entries are means over the lower ones: the sums are an approximation. So is what a short code does not
    tell.

    Coarse look-ups read the upper two bits of a sub-index and nothing of the path: fewer of them, from fewer bytes,
    stand for as many coefficients. They say what a scan of first bytes needs to know, which leaves out more than that.

    Attributes
    ----------
    planes : (lookups, SOURCES) int64
        Which bytes of the code an index comes from; those beyond the sources of its pass are not used.
    masks : (lookups, SOURCES, 8) uint8
        Bit i of an index is the parity of, summed over its sources, the bits of the byte that are in mask i.
    passes : (passes, 3) int64
        First look-up, number of look-ups and of sources of each pass: what is done at once.
    owners : (coefficients,) int64
        The look-up that each coefficient is in.
    levels : (coefficients, ENTRIES) float32
        The coefficient that an index means.
    """

    planes: NDArray[np.int64]
    masks: NDArray[np.uint8]
    passes: NDArray[np.int64]
    owners: NDArray[np.int64]
    levels: Floats

    @classmethod
    def of(cls, layout: CodeLayout, states: int, levels: Floats, size_bytes: int | None = None) -> Lookups:
        """Return those of codes, or coarse ones of their first bytes.

        Parameters
        ----------
        layout : CodeLayout
        states : int
        levels : (layout.starts[-1],) float32
        size_bytes : int, optional
            How many first bytes.
        """
        coarse = size_bytes is not None
        steps = len(layout.bits) if size_bytes is None else layout.steps_in(size_bytes)
        looks = [_look(layout, states, step, coarse) for step in range(steps)]
        joined = _joined([look.bits for look in looks])
        order, passes = _passes([len(_planes(bits)) for _, bits in joined])
        planes = np.zeros((len(joined), SOURCES), np.int64)
        masks = np.zeros((len(joined), SOURCES, 8), np.uint8)
        owners, meant = np.zeros(int(layout.firsts[steps]), np.int64), np.zeros((int(layout.firsts[steps]), ENTRIES))
        for at, (members, bits) in enumerate(joined[number] for number in order):
            for source, plane in enumerate(_planes(bits)):
                planes[at, source] = plane
                masks[at, source] = [_mask(places, plane) for places in bits] + [0] * (8 - len(bits))
            shift = 0
            for step in members:
                used = len(looks[step].bits)
                for j in range(layout.firsts[step], layout.firsts[step + 1]):
                    owners[j] = at
                    own = looks[step].seen(levels[layout.starts[j] : layout.starts[j + 1]])
                    meant[j] = own[np.arange(ENTRIES) >> shift & (1 << used) - 1]
                shift += used
        return cls(planes, masks, passes, owners, meant.astype(np.float32))

    def terms(self, linear: Floats, quadratic: Floats | None = None) -> Floats:
        """Return tables (q, lookups, ENTRIES) whose entries add up to sum_j linear[q, j] y[j] + quadratic[j] y[j]**2.

        linear is (q, coefficients) or more, of which the first count; y are the coefficients of a row.
        """
        order, starts = self._by_owner
        entries = linear[:, order, None] * self.levels[order]
        if quadratic is not None:
            entries += quadratic[order, None] * self.levels[order] ** 2
        return np.asarray(np.add.reduceat(entries, starts, axis=1), np.float32)

    @cached_property
    def _by_owner(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The coefficients look-up by look-up, and where each begins; none is empty."""
        order = np.argsort(self.owners, kind="stable")
        return order, np.searchsorted(self.owners[order], np.arange(len(self.planes)))

    @cached_property
    def kernel(self) -> Kernel:
        """What `kernels.trellis_sums` takes.

        Bits 6 and 7 of an index repeat bits 4 and 5: byte shuffles select by them.
        """
        masks = self.masks.copy()
        masks[:, :, INDEX_BITS:] = masks[:, :, INDEX_BITS - 2 : INDEX_BITS]
        weights = np.uint64(8) * np.arange(7, -1, -1, dtype=np.uint64)
        matrices = np.bitwise_or.reduce(masks.astype(np.uint64) << weights, axis=2)
        found: list[tuple[list[int], list[Bytes]]] = []
        for lookup, of_sources in enumerate(masks):
            own = [
                (2 * plane + upper, mask >> 4 * upper & 15)
                for plane, mask in zip(self.planes[lookup].tolist(), of_sources, strict=True)
                for upper in (0, 1)
            ]
            kept = [(half, mask) for half, mask in own if mask.any()] or own[:1]
            found.append(([lookup, *(half for half, _ in kept)], [_map(mask) for _, mask in kept]))
        found.sort(key=lambda one: len(one[0]))
        counts = np.bincount([len(own) - 1 for _, own in found], minlength=2 * SOURCES).astype(np.int64)
        halves = np.concatenate([np.array(own, np.int32) for own, _ in found])
        maps = np.array([one for _, own in found for one in own])
        return Kernel(self.passes, self.planes, matrices, counts, halves, maps)


def coarse_levels(layout: CodeLayout, levels: Floats) -> Floats:
    """Return what coarse look-ups take for each level: the mean of those that they do not tell apart."""
    return means(layout, levels, np.minimum(layout.known_bits, COARSE_BITS), np.zeros(len(layout.bits), bool))


Bits: TypeAlias = list[set[int]]  # of an index: the places in the code whose parity each is, lowest first


@dataclass(frozen=True)
class _Look:
    """What of a step is looked at: the subset and the upper `subs` bits of the sub-index, or these alone."""

    bits: Bits
    subset: bool
    subs: int

    def seen(self, levels: Floats) -> NDArray[np.float64]:
        """Return the mean of a coefficient's levels for each number that the bits can be."""
        return seen(levels, self.subs, self.subset).reshape(-1)


def _look(layout: CodeLayout, states: int, step: int, coarse: bool) -> _Look:
    """Return what of a step is looked at, as much as comes from few enough bytes."""
    path, subs = layout.bit_places
    subset = bool(layout.known_paths[step]) and not coarse
    ways = taps(states) if subset else ()
    parities = [{int(path[step - back]) for back in backs if back <= step} for backs in reversed(ways)]
    count, most = int(layout.bits[step]) - 1, COARSE_BITS if coarse else INDEX_BITS - len(parities)
    for kept in range(min(int(layout.known_bits[step]), most), -1, -1):
        bits = [*parities, *({int(place)} for place in subs[step, count - kept : count])]
        if len(_planes(bits)) <= SOURCES:
            return _Look(bits, subset, kept)
    raise AssertionError("the path bits of a step lie in two bytes at most")


def _joined(steps: list[Bits]) -> list[tuple[list[int], Bits]]:
    """Return the steps and bits of each index: as many consecutive steps as fit."""
    joined: list[tuple[list[int], Bits]] = []
    for step, bits in enumerate(steps):
        if joined:
            members, before = joined[-1]
            if len(before) + len(bits) <= INDEX_BITS and len(_planes(before + bits)) <= SOURCES:
                joined[-1] = [*members, step], before + bits
                continue
        joined.append(([step], bits))
    return joined


def _planes(bits: Bits) -> list[int]:
    return sorted({place // 8 for places in bits for place in places})


def _mask(places: set[int], plane: int) -> int:
    return sum(1 << place % 8 for place in places if place // 8 == plane)


def _map(mask: Bytes) -> Bytes:
    """Return, for each value of a half byte, the parities of its bits that are in each mask: (16,) uint8."""
    parities = np.bitwise_count(mask & np.arange(16, dtype=np.uint8)[:, None]) & 1
    return np.asarray(np.packbits(parities, axis=1, bitorder="little")[:, 0])


def _passes(sources: list[int]) -> tuple[list[int], NDArray[np.int64]]:
    """Return the order of look-ups, and which of them are done together: those with equally many sources if possible.

    They stay near each other in the code, which is read in its order.
    """
    order: list[int] = []
    passes = []
    for start in range(0, len(sources), WINDOW):
        window = sorted(range(start, min(start + WINDOW, len(sources))), key=lambda at: sources[at])
        for first in range(0, len(window), TOGETHER):
            some = window[first : first + TOGETHER]
            passes.append((len(order), len(some), max(max(sources[at] for at in some), 1)))
            order += some
    return order, np.array(passes, np.int64).reshape(-1, 3)
