"""Sparse terms of a shard, read where they are mapped."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.document import whole
from vecstore.container.part import Part
from vecstore.errors import CorruptError
from vecstore.fields.reader import FieldReader
from vecstore.fields.runs import starts_of
from vecstore.fields.sparse.trained import GROUP_ROWS, CodedTerms, TrainedSparse
from vecstore.kernels import entries
from vecstore.kernels.arguments import Heap, Lists

__all__ = ["SparseReader"]

SEGMENT_ROWS = 4096
ROUNDING = 1 + 1e-9  # of bounds, which are sums in another order than scores
MOST_ENTRIES = 1 << 48
CODE_BITS = 0, 4, 8
FEW_ROWS = 8  # are read one by one


class Group:
    """The lists of up to 65,536 rows, one behind the other in a block of the part `lists`.

    Attributes
    ----------
    first, rows : int
        The number of its first row in the shard, and how many there are.
    lists : Lists
    """

    def __init__(self, part: Part, number: int, first: int, lists: Lists) -> None:
        self._part, self._number, self.first, self.rows, self.lists = part, number, first, lists.rows, lists

    def chosen(self, terms: NDArray[np.uint32], weights: NDArray[np.float64]) -> tuple[Any, Any]:
        """Return the numbers of the lists of some terms, ascending, and the weights of those that there are."""
        at = np.searchsorted(self.lists.terms, terms)
        there = at < len(self.lists.terms)
        there[there] = self.lists.terms[at[there]] == terms[there]
        numbers = at[there].astype(np.int64)
        if self._part.unchecked:
            begins, start = self.lists.begins, int(self._part.offsets[self._number])
            for number in numbers.tolist():
                self._part.check_span(self._number, int(begins[number]) - start, int(begins[number + 1]) - start)
        return numbers, weights[there]

    def check(self) -> None:
        """Compare all lists with their checksums."""
        self._part.check_block(self._number)

    def refuse(self) -> None:
        """Raise `CorruptError`: a kernel found a list malformed."""
        raise CorruptError(
            "a list of sparse terms is malformed: convert the dump again",
            path=self._part.path,
            where=f"part {self._part.name}, block {self._number}",
        )


class SparseReader(FieldReader):
    """The sparse terms of a shard."""

    counted = ("entries",)

    @cached_property
    def trained(self) -> TrainedSparse:
        path, step = self._container.path, self.about.get("step")
        bits = whole(self.about, "weight_bits", path, most=8)
        if bits not in CODE_BITS or isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step < 1e30:
            raise CorruptError("member 'weight_bits' or 'step' is malformed", path=path, found=f"{bits}, {step!r:.40}")
        certificate = self.about.get("certificate")
        return TrainedSparse(bits, float(np.float32(step)), certificate if isinstance(certificate, dict) else {})

    @property
    def likeness(self) -> Hashable:
        return "sparse", self.trained.weight_bits, self.trained.step

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of rows, one behind the other."""
        path, container = self._container.path, self._container
        told = np.asarray(container.expect(f"{self.prefix}groups", "<u4").array())
        if told.ndim != 2 or told.shape[1:] != (2,) or int(told[:, 0].sum(dtype=np.int64)) != self.rows:
            raise CorruptError(f"part '{self.prefix}groups' does not have the rows of the shard", path=path)
        if len(told) and not 1 <= int(told[:, 0].min()) <= int(told[:, 0].max()) <= GROUP_ROWS:
            raise CorruptError(f"part '{self.prefix}groups': a group has up to {GROUP_ROWS} rows", path=path)
        lists = container.expect(f"{self.prefix}lists", "|u1", encoding="lists")
        count = int(told[:, 1].sum(dtype=np.int64))
        terms, sizes = (
            np.asarray(container.expect(f"{self.prefix}{name}", "<u4", (count,)).array()) for name in ("terms", "sizes")
        )
        if lists.blocks != len(told):
            raise CorruptError(f"part {lists.name!r} has {lists.blocks} blocks for {len(told)} groups", path=path)
        found, row, at = [], 0, 0
        for number, (rows, size) in enumerate(told.tolist()):
            own = slice(at, at + size)
            found.append(Group(lists, number, row, self._lists(lists, number, terms[own], sizes[own], rows)))
            row, at = row + rows, at + size
        return found

    def _lists(self, part: Part, number: int, terms: NDArray[Any], sizes: NDArray[Any], rows: int) -> Lists:
        lengths, bits = (sizes >> np.uint32(1)).astype(np.int64), self.trained.weight_bits
        begins = int(part.offsets[number]) + starts_of(lengths)
        if int(begins[-1] - begins[0]) > int(part.sizes[number]) or (terms[1:] <= terms[:-1]).any():
            raise CorruptError(
                f"part {part.name!r}, block {number}: terms do not ascend, or lists are longer than it", path=part.path
            )
        counts = np.where(sizes & np.uint32(1), -1, 8 * lengths // (16 + bits))
        return Lists(part.data, begins, terms, counts, rows, bits)

    # Rows

    def items(self, rows: NDArray[np.int64]) -> list[Any]:
        if len(rows) <= FEW_ROWS:
            return [self._item(row) for row in rows.tolist()]
        coded = self.coded(rows)
        weights, starts = self.trained.decode(coded.codes).tolist(), coded.indptr.tolist()
        terms = coded.terms.tolist()
        return [dict(zip(terms[low:high], weights[low:high], strict=True)) for low, high in pairwise(starts)]

    def _item(self, row: int) -> dict[int, float]:
        """Return what a row has: of every list, what leads to it."""
        group = next(group for group in self.groups if row < group.first + group.rows)
        group.check()
        terms, codes = np.empty(len(group.lists.terms), np.uint32), np.empty(len(group.lists.terms), np.uint8)
        found = entries.gather_row(tuple(group.lists), row - group.first, terms, codes)
        if found < 0:
            group.refuse()
        return dict(zip(terms[:found].tolist(), self.trained.decode(codes[:found]).tolist(), strict=True))

    def coded(self, rows: NDArray[np.int64]) -> CodedTerms:
        wanted, place = np.unique(rows, return_inverse=True)
        parts = [self.trained.empty(0)]
        parts += [self._of_group(group, own) for group, own in self._by_group(wanted)]
        found = CodedTerms.joined(parts)
        return found if np.array_equal(rows, wanted) else found.take(place)

    def _by_group(self, rows: NDArray[np.int64]) -> Iterator[tuple[Group, NDArray[np.int64]]]:
        """Yield each group that has some of the rows, which ascend, with their numbers in it."""
        for group in self.groups:
            low, high = np.searchsorted(rows, [group.first, group.first + group.rows])
            if high > low:
                yield group, rows[low:high] - group.first

    def _of_group(self, group: Group, rows: NDArray[np.int64]) -> CodedTerms:
        """Return rows of a group, which ascend."""
        group.check()
        slots, touched = np.full(group.rows, -1, np.int64), np.zeros(-(-group.rows // SEGMENT_ROWS), np.bool_)
        slots[rows], touched[rows // SEGMENT_ROWS] = np.arange(len(rows)), True
        lists, counts, nothing = tuple(group.lists), np.zeros(len(rows), np.int64), self.trained.empty(0)
        if not entries.gather_entries(lists, slots, touched, counts, nothing.terms, nothing.codes):
            group.refuse()
        starts = starts_of(counts)
        found = CodedTerms(starts, np.empty(starts[-1], np.uint32), np.empty(starts[-1], np.uint8))
        if not entries.gather_entries(lists, slots, touched, starts[:-1].copy(), found.terms, found.codes):
            group.refuse()
        return found

    # Search

    def scan(
        self,
        terms: NDArray[np.uint32],
        weights: NDArray[np.float64],
        heap: Heap,
        *,
        query: int = 0,
        first: int = 0,
        allowed: NDArray[np.uint32],
        alpha: float = 1.0,
    ) -> None:
        """Offer a query's heap all rows that may be among its best.

        Parameters
        ----------
        terms, weights : (t,) uint32, (t,) float64
            Of the query; terms ascend.
        heap : Heap
        query : int
            Its number in the heap.
        first : int
            What the heap calls row 0.
        allowed : (words,) uint32
            Which rows of the heap's numbers may be found: bit i of word j for row 32 j + i; empty for all.
        alpha : float
            Leave a segment out where this share of what its rows can score is not enough; 1 misses nothing.

        Notes
        -----
        Segments are looked at in the order of what their rows can score at most, and left out where that does not
        suffice (Mallia, Suel and Tonellotto, Faster learned sparse retrieval with block-max pruning, SIGIR 2024); here
        blocks have 4,096 rows.
        """
        waiting = []
        for group in self.groups:
            numbers, own = group.chosen(terms, weights * self.trained.step)
            bounds = np.zeros(-(-group.rows // SEGMENT_ROWS))
            if not entries.bound_segments(tuple(group.lists), numbers, own, bounds):
                group.refuse()
            waiting.append((-float(bounds.max(initial=0)), group.first, group, numbers, own, bounds * alpha * ROUNDING))
        for _, start, group, numbers, own, bounds in sorted(waiting, key=lambda one: one[:2]):
            order = np.argsort(-bounds, kind="stable")
            lists, given = tuple(group.lists), (order, bounds, first + start, allowed, tuple(heap), query)
            if len(numbers) and not entries.scan_lists(lists, numbers, own, *given):
                group.refuse()

    def scores(
        self, terms: NDArray[np.uint32], weights: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the scores of rows in range: (n,)."""
        wanted, place = np.unique(rows, return_inverse=True)
        found = []
        for group, own in self._by_group(wanted):
            numbers, factors = group.chosen(terms, weights * self.trained.step)
            out = np.empty(len(own))
            if not entries.score_lists(tuple(group.lists), numbers, factors, own, out):
                group.refuse()
            found.append(out)
        return np.concatenate([np.empty(0), *found])[place]

    def verify(self, *, deep: bool = False) -> None:
        _ = self.trained
        total = whole(self.about, "entries", self._container.path, most=MOST_ENTRIES)
        found = 0
        for group in self.groups:
            group.check()
            for start in range(0, group.rows, SEGMENT_ROWS):
                rows = np.arange(start, min(start + SEGMENT_ROWS, group.rows))
                coded = self._of_group(group, rows)
                found += len(coded.terms)
                if self.trained.weight_bits and not coded.codes.all():
                    raise CorruptError("an entry weighs nothing: convert the dump again", path=self._container.path)
        if found != total:
            raise CorruptError(f"{found} sparse entries, not {total} as described", path=self._container.path)

    def facts(self) -> dict[str, Any]:
        return {
            "entries": whole(self.about, "entries", self._container.path, most=MOST_ENTRIES),
            "terms": len(np.unique(np.concatenate([np.empty(0, np.uint32), *(g.lists.terms for g in self.groups)]))),
            "weight_bits": self.trained.weight_bits,
            "step": self.trained.step,
            "certificate": self.trained.certificate or None,
        }
