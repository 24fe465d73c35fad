"""Which rows of a dump have the same key: hashes of keys in sorted runs on disk, compared a range of hashes at a time.

A range is read as a slice of every run, so nothing is read twice, however many ranges there are; and each range is a
task of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.mapped_file import mapped_numbers
from vecstore.keys.packed import PackedKeys
from vecstore.progress import Listener

__all__ = ["HashRange", "Run", "RunWriter", "ranges_of", "same_keys"]

RUN_KEYS = 1 << 20  # sorted in memory at once
PLACE = np.uint64(RUN_KEYS - 1)  # bits of a place in a run, which hashes are not sorted by
SORT_KEYS = 1 << 22  # of a range, about, at most
LEAST_KEYS, LEAST_RANGES = 1 << 20, 16  # of a range, if there would be fewer: work for so many processors
HASH, OTHER, ROW = range(3)  # what a run has of a key, each 8 bytes: two independent hashes, 128 bits, and its row


class RunWriter:
    """Write the hashes of keys and their rows to a file, in runs that are sorted by most bits of the first hash."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._waiting: list[NDArray[Any]] = []
        self._count = 0

    def add(self, packed: PackedKeys, rows: NDArray[np.int64]) -> None:
        """Append keys and the numbers of their rows, which rise."""
        found = np.empty((len(rows), 3), "<u8")
        found[:, HASH], found[:, OTHER], found[:, ROW] = packed.hashes(), packed.hashes(seed=1), rows
        self._waiting.append(found)
        self._count += len(found)
        if self._count >= RUN_KEYS:
            whole = np.concatenate(self._waiting)
            for start in range(0, len(whole) - RUN_KEYS + 1, RUN_KEYS):
                self._write(whole[start : start + RUN_KEYS])
            rest = whole[len(whole) - len(whole) % RUN_KEYS :]
            self._waiting, self._count = [rest], len(rest)

    def close(self) -> None:
        """Write what waits."""
        if self._count:
            self._write(np.concatenate(self._waiting))
        self._file.flush()

    def _write(self, run: NDArray[Any]) -> None:
        # The first bits of a hash with its place in the run behind are sorted at once, four times as fast as places.
        numbers = (run[:, HASH] & ~PLACE) | np.arange(len(run), dtype=np.uint64)
        numbers.sort()
        self._file.write(run.take((numbers & PLACE).astype(np.int64), axis=0))


@dataclass(frozen=True)
class Run:
    """The runs of one part of a dump: a file, and the number that the part's first row has in the dump."""

    path: Path
    first_row: int


@dataclass(frozen=True)
class HashRange:
    """A task: hashes from `low` to `high`, both included, in all runs."""

    runs: tuple[Run, ...]
    low: int
    high: int


def ranges_of(runs: Sequence[Run], keys: int) -> list[HashRange]:
    """Return ranges that cover all hashes, with about as many keys each as are sorted at once, or fewer."""
    count = max(-(-keys // SORT_KEYS), min(-(-keys // LEAST_KEYS), LEAST_RANGES), 1)
    edges = [((1 << 64) * step // count) & ~int(PLACE) for step in range(count)] + [1 << 64]
    return [HashRange(tuple(runs), low, high - 1) for low, high in pairwise(edges)]


def same_keys(work: HashRange, report: Listener) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows with the key of a later one, and for each the next such row; in the order of their hashes."""
    hashes = np.concatenate([np.empty(0, "<u8"), *(chunk[:, HASH] for chunk, _ in _chunks(work))])
    hashes.sort()
    twice = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(twice):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    alike = [np.empty((0, 3), "<u8")]
    for chunk, first_row in _chunks(work):
        own = chunk[np.isin(chunk[:, HASH], twice)]
        own[:, ROW] += np.uint64(first_row)
        alike.append(own)
    found = np.concatenate(alike)
    found = found[np.lexsort((found[:, ROW], found[:, OTHER], found[:, HASH]))]
    same = (found[1:, :ROW] == found[:-1, :ROW]).all(axis=1)
    rows = found[:, ROW].astype(np.int64)
    return rows[:-1][same], rows[1:][same]


def _chunks(work: HashRange) -> Iterator[tuple[NDArray[np.uint64], int]]:
    """Yield what each run has of the range, mapped from its file, and the number of the part's first row."""
    for own in work.runs:
        runs = mapped_numbers(own.path).reshape(-1, 3)
        for start in range(0, len(runs), RUN_KEYS):
            run = runs[start : start + RUN_KEYS]
            low = np.searchsorted(run[:, HASH], np.uint64(work.low))  # whose last bits are zeros, and the next range's
            high = np.searchsorted(run[:, HASH], np.uint64(work.high), side="right")
            yield run[low:high], own.first_row
