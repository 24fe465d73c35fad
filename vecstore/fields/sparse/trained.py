"""How weights of sparse terms are coded: whole numbers of a step; and what writes them, as inverted lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import ColumnWriter, ContainerWriter
from vecstore.fields.runs import spread, starts_of
from vecstore.fields.sparse.entries import Entries, as_entries
from vecstore.kernels import entries
from vecstore.shard.field import Coded, FieldRows, FieldWriter, TrainedField

__all__ = ["GROUP_ROWS", "CodedTerms", "TermRows", "TrainedSparse", "step_of"]

GROUP_ROWS = 1 << 16  # whose numbers take two bytes
GROUP_ENTRIES = 1 << 24  # or fewer rows, for the memory that writing takes
MOST_BYTES = 6  # of an entry, its share of what a list has beside them included


def step_of(largest: float, bits: int) -> float:
    """Return the step of which weights up to `largest` are whole numbers, which `bits` bits hold.

    It has eight bits of mantissa, rounded up. So a weight, a code times the step, is exact in float32, and its product
    with a float32 is exact in float64.
    """
    if bits == 0:
        return 1.0
    step = np.array([largest / most_code(bits)], np.float32).view(np.uint32)
    return float(((step + np.uint32(0xFFFF)) >> np.uint32(16) << np.uint32(16)).view(np.float32)[0])


def most_code(bits: int) -> int:
    """Return the greatest code of so many bits; without bits an entry is there, or not."""
    return max((1 << bits) - 1, 1)


@dataclass(frozen=True)
class CodedTerms(Coded):
    """Sparse rows, coded: as `Entries`, but codes (entries,) uint8 instead of weights."""

    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    codes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: NDArray[np.int64]) -> Self:
        counts = self.indptr[rows + 1] - self.indptr[rows]
        places = spread(self.indptr[rows], counts)
        return type(self)(starts_of(counts), self.terms[places], self.codes[places])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        counts = np.concatenate([np.diff(part.indptr) for part in parts])
        terms = np.concatenate([part.terms for part in parts])
        return cls(starts_of(counts), terms, np.concatenate([part.codes for part in parts]))

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return 3 * np.diff(self.indptr)


class TermRows(FieldRows):
    """Sparse rows as they were given, and what codes them."""

    def __init__(self, trained: TrainedSparse, given: Entries) -> None:
        self._trained, self._given = trained, given

    def __len__(self) -> int:
        return len(self._given.indptr) - 1

    def take(self, rows: NDArray[np.int64]) -> TermRows:
        return TermRows(self._trained, self._given.take(rows))

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return 3 * np.diff(self._given.indptr)

    def coded(self) -> CodedTerms:
        return self._trained.encode(self._given)


@dataclass(frozen=True, eq=False)
class TrainedSparse(TrainedField):
    """Codes sparse rows: a weight is a whole number of steps, 1 at least.

    Attributes
    ----------
    weight_bits : 0, 4 or 8
    step : float
    certificate : dict
        What coding costs, as it was measured.
    """

    weight_bits: int
    step: float
    certificate: dict[str, Any] = field(default_factory=dict)

    kind = "sparse"

    def rows(self, given: Any) -> TermRows:
        return TermRows(self, as_entries(given))

    def empty(self, rows: int) -> CodedTerms:
        return CodedTerms(np.zeros(rows + 1, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint8))

    def encode(self, given: Entries) -> CodedTerms:
        """Return rows coded; weights beyond the greatest that was trained on become that."""
        codes = np.ones(len(given.weights), np.uint8)
        if self.weight_bits:
            steps = np.rint(given.weights.astype(np.float64) / self.step)
            codes = np.clip(steps, 1, most_code(self.weight_bits)).astype(np.uint8)
        return CodedTerms(given.indptr, given.terms, codes)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the weights that codes stand for."""
        return codes.astype(np.float32) * np.float32(self.step)

    def writer(self, container: ContainerWriter, prefix: str) -> SparseWriter:
        return SparseWriter(container, prefix, self)

    @property
    def model_bytes(self) -> int:
        return 0


class SparseWriter(FieldWriter):
    """Writes inverted lists, those of a group of rows as soon as it is complete."""

    def __init__(self, container: ContainerWriter, prefix: str, trained: TrainedSparse) -> None:
        self._container, self._prefix, self._trained = container, prefix, trained
        self._waiting: list[CodedTerms] = []
        self._rows = self._entries = 0  # that wait
        self._groups: list[tuple[int, int]] = []
        self._size = self._written = 0
        self._terms = ColumnWriter(container, f"{prefix}terms", "<u4")
        self._sizes = ColumnWriter(container, f"{prefix}sizes", "<u4")

    def add(self, rows: CodedTerms) -> None:
        at = 0
        while at < len(rows):  # as many as the group has room for, one at least
            room = int(np.searchsorted(rows.indptr, rows.indptr[at] + GROUP_ENTRIES - self._entries, side="right")) - 1
            stop = min(max(room, at + (self._rows == 0)), at + GROUP_ROWS - self._rows, len(rows))
            if stop > at:
                piece = rows.take(np.arange(at, stop))
                self._waiting.append(piece)
                self._rows += len(piece)
                self._entries += len(piece.terms)
                at = stop
            if at < len(rows) or self._rows == GROUP_ROWS:
                self._flush()

    def _flush(self) -> None:
        """Write the lists of the rows that wait."""
        group = CodedTerms.joined(self._waiting)
        row_of = np.repeat(np.arange(len(group), dtype=np.uint16), np.diff(group.indptr))
        order = np.argsort(group.terms, kind="stable")
        terms = group.terms[order]
        starts = (
            np.flatnonzero(np.concatenate([[True], terms[1:] != terms[:-1]])) if len(terms) else np.empty(0, np.int64)
        )
        bounds = np.append(starts, len(terms)).astype(np.int64)
        sizes, bits = np.empty(len(starts), np.uint32), self._trained.weight_bits
        out = np.empty(MOST_BYTES * len(terms) + len(starts), np.uint8)
        size = entries.encode_lists(bounds, row_of[order], group.codes[order], len(group), bits, sizes, out)
        self._container.put_block(f"{self._prefix}lists", out[:size])
        self._terms.add(terms[starts])
        self._sizes.add(sizes)
        self._groups.append((len(group), len(starts)))
        self._size, self._written = self._size + size, self._written + len(terms)
        self._waiting, self._rows, self._entries = [], 0, 0

    def close(self) -> dict[str, Any]:
        if self._rows:
            self._flush()
        self._terms.close()
        self._sizes.close()
        groups = np.array(self._groups, "<u4").reshape(-1, 2)
        self._container.put_array(f"{self._prefix}groups", groups)
        self._container.declare(f"{self._prefix}lists", "|u1", (self._size,), encoding="lists")
        return {
            "entries": self._written,
            "weight_bits": self._trained.weight_bits,
            "step": self._trained.step,
            "certificate": self._trained.certificate,
        }
