"""Which entries of a table make up each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import CodecError
from vecstore.kernels import entries
from vecstore.keys.packed import PackedKeys

__all__ = ["KERNEL_ROWS", "Collisions", "Incidence", "check_ngrams", "few"]

KERNEL_ROWS = 64  # from this many rows on, the compiled kernel pays for its import
KERNEL_ENTRIES = 1 << 12  # or from this many entries on
MOST_NGRAMS = 1 << 18  # of a key, taken to have one for each of its bytes and each length of n-grams


def few(rows: int, taken: int) -> bool:
    """Return whether so few rows, that take so many entries, are not worth a compiled kernel."""
    return rows < KERNEL_ROWS and taken < KERNEL_ENTRIES


def check_ngrams(keys: PackedKeys, lengths: int) -> None:
    """Raise `CodecError` for a key of too many n-grams, if each byte begins those of so many lengths."""
    longest = int(keys.lengths.max(initial=0))
    if longest * lengths > MOST_NGRAMS:
        raise CodecError(
            f"a key of {longest:,} bytes has n-grams of {lengths} lengths here; keys have up to "
            f"{MOST_NGRAMS // lengths:,} bytes with these"
        )


@dataclass(frozen=True)
class Incidence:
    """Row i takes the entries indices[indptr[i] : indptr[i + 1]], as in a CSR matrix."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]

    @classmethod
    def equal(cls, indices: NDArray[np.int64]) -> Incidence:
        """Return that of rows that take equally many entries each: (n, entries)."""
        return cls(np.arange(len(indices) + 1) * indices.shape[1], np.ascontiguousarray(indices).reshape(-1))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each row: (n,)."""
        return np.diff(self.indptr)

    def sums(self, table: Floats, *, mean: bool = False, onto: Floats | None = None) -> Floats:
        """Return the sum (or mean) of each row's entries, added in their order in float32: (n, d).

        `onto` (n, d) is one more entry of each row, which comes first.
        """
        n = len(self.indptr) - 1
        out = np.zeros((n, table.shape[1]), np.float32) if onto is None else onto.astype(np.float32)
        if not few(n, len(self.indices)):
            entries.sum_entries(self.indptr, self.indices, table, out)
        else:
            counts = self.counts
            for place in range(int(counts.max(initial=0))):
                here = np.flatnonzero(counts > place)
                out[here] += table[self.indices[self.indptr[here] + place]]
        if mean:
            counts = self.counts if onto is None else self.counts + 1
            out *= (1.0 / np.maximum(counts, 1)).astype(np.float32)[:, None]
        return out


@dataclass
class Collisions:
    """Counts rows that no table can tell apart, because they take the same entries as another one."""

    rows: int = 0

    def __post_init__(self) -> None:
        self._prints: list[NDArray[np.uint64]] = []

    def add(self, incidence: Incidence) -> None:
        """Take note of rows."""
        mixed = incidence.indices.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        self._prints.append(sums[incidence.indptr[1:]] - sums[incidence.indptr[:-1]])  # the same whatever the order
        self.rows += len(incidence.indptr) - 1

    @property
    def rate(self) -> float:
        """Share of the rows that share all their entries with another row."""
        _, counts = np.unique(np.concatenate(self._prints), return_counts=True)
        return float(counts[counts > 1].sum() / max(self.rows, 1))
