"""Rows drawn at random from a dump, however it is cut into batches and in whatever order its parts are read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import check_seed, sound_rows
from vecstore.formats.dump import Dump
from vecstore.progress import Listener, Step

__all__ = ["Drawn", "Sampler", "sample_dump", "searched_rows", "training_rows"]

SAMPLE_BYTES = 64 * 1024 * 1024  # to train on
SAMPLE_ROWS = 1 << 16
SEARCHED_BYTES, SEARCHED_ROWS = 2 * SAMPLE_BYTES, 2 * SAMPLE_ROWS  # to search; those that train are the first of them
MOVED_AT_ONCE = 2048  # rows
NEXT_PART = 0x9E3779B97F4A7C15  # from the seed of a part to that of the next: 2**64 / golden ratio


def sample_dump(dump: Dump, *, seed: int, report: Listener) -> tuple[Floats, int]:
    """Return random sound rows (n, d) float32 of a dump, those that a conversion trains with, and how many it has."""
    check_seed(seed)
    drawn, sound_count, read = Sampler(dump.dimensions, seed, training_rows(dump.dimensions)), 0, 0
    for number, part in enumerate(dump.parts):
        sampler, rows = Sampler(dump.dimensions, seed, drawn.capacity, part=number), 0
        for batch in part.batches():
            sound = sound_rows(batch.vectors)
            sampler.offer(batch.vectors[sound], np.flatnonzero(sound) + rows)
            rows, sound_count = rows + len(batch), sound_count + int(sound.sum())
            report(Step.of_share("reading", read + rows, (number + batch.fraction_read) / len(dump.parts)))
        drawn.take(*sampler.found())
        read += rows
    return drawn.found()[0][:], sound_count


def training_rows(dimensions: int) -> int:
    """Return how many rows, at most, a conversion trains with and asks."""
    return max(min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * dimensions)), 256)


def searched_rows(dimensions: int) -> int:
    """Return among how many rows, at most, a conversion searches."""
    return max(min(SEARCHED_ROWS, SEARCHED_BYTES // (4 * dimensions)), training_rows(dimensions))


class Drawn:
    """Rows (n, d) float32 in the order of their places in a table; they are copied as they are asked for."""

    def __init__(self, table: Floats, places: NDArray[np.int64] | None = None) -> None:
        self._table, self._places = table, np.arange(len(table)) if places is None else places

    @property
    def dimensions(self) -> int:
        """Of each row."""
        return self._table.shape[1]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> Floats:
        return self._table[self._places[chosen]]

    def moved(self, chosen: NDArray[np.int64]) -> Floats:
        """Return rows in this order, moved to the front of the table: nothing else can be asked for afterwards.

        A copy would take memory that is touched for the first time, which takes longer than moving rows does.
        """
        order, table = self._places[chosen], self._table
        places, held = np.arange(len(table)), np.arange(len(table))  # where each row lies now, which one lies there
        for first in range(0, len(order), MOVED_AT_ONCE):
            here = np.arange(first, min(first + MOVED_AT_ONCE, len(order)))
            wanted = places[order[here]]
            rows = table[wanted]
            left, gone = np.setdiff1d(wanted, here), np.setdiff1d(here, wanted)
            table[left], held[left] = table[gone], held[gone]
            places[held[left]] = left
            table[here], held[here], places[order[here]] = rows, order[here], here
        self._places = self._places[:0]
        return table[: len(order)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Drawn, (self[:],)


class Sampler:
    """Draw rows at random from a stream of unknown length.

    Every row gets a pseudo-random priority from the number of its part, its own number and the seed; the `capacity`
    with the smallest ones are kept. So the sample depends neither on how the stream is cut into batches nor on which
    part is read first, and a smaller one is the beginning of a larger one.

    Parameters
    ----------
    rows : int, optional
        How many the stream has, if that is known: room for more is made when they come.

    Attributes
    ----------
    capacity : int
    limit : int
        Rows of this priority and above are passed over. Whoever knows about how many rows there are may lower it.
    """

    def __init__(self, dimensions: int, seed: int, capacity: int, *, part: int = 0, rows: int | None = None) -> None:
        self.capacity, self.limit = capacity, (1 << 64) - 1
        self._seed = np.uint64((seed + part * NEXT_PART) % (1 << 64))
        # A place holds a row or waits for one; there are up to a quarter over the capacity.
        self._most_places = capacity + max(capacity // 4, 1)
        self._first_places = min(self._most_places, rows or self._most_places)
        self._vectors = np.empty((0, dimensions), np.float32)
        self._rows, self._priorities = np.empty(0, np.int64), np.empty(0, np.uint64)
        self._free = self._rows  # the last ones are taken first

    def offer(self, vectors: Floats, rows: NDArray[np.int64]) -> None:
        """Consider rows of the stream."""
        priorities = _mixed(rows.astype(np.uint64) * np.uint64(2) + np.uint64(1) ^ _mixed(self._seed))
        self.take(vectors, rows, priorities)

    def take(self, vectors: Floats | Drawn, rows: NDArray[np.int64], priorities: NDArray[np.uint64]) -> None:
        """Consider rows that another one has found."""
        low = np.flatnonzero(priorities < np.uint64(self.limit))
        while len(low):
            if not len(self._free):
                self._make_room()
                low = low[priorities[low] < np.uint64(self.limit)]
            count = min(len(low), len(self._free))
            some, places = low[:count], self._free[len(self._free) - count :]
            self._vectors[places], self._rows[places] = vectors[some], rows[some]
            self._priorities[places] = priorities[some]
            self._free, low = self._free[: len(self._free) - count], low[count:]

    def __len__(self) -> int:
        """Return how many rows the sample has."""
        return min(len(self._rows) - len(self._free), self.capacity)

    def found(self) -> tuple[Drawn, NDArray[np.int64], NDArray[np.uint64]]:
        """Return the sample in random order, its row numbers and their priorities, which rise."""
        kept = self._in_order()[: self.capacity]
        return Drawn(self._vectors, kept), self._rows[kept], self._priorities[kept]

    def _in_order(self) -> NDArray[np.int64]:
        """Return the places that hold rows, by rising priority."""
        taken = np.ones(len(self._rows), bool)
        taken[self._free] = False
        places = np.flatnonzero(taken)
        return places[np.lexsort((self._rows[places], self._priorities[places]))]

    def _make_room(self) -> None:
        """Make places, or free those of rows beyond the capacity; the other rows stay where they are."""
        held = len(self._rows)
        if held < self._most_places:  # all at once: the system gives the memory as it is touched
            count = self._most_places if held else self._first_places
            old = self._vectors, self._rows, self._priorities
            new = tuple(np.empty((count, *array.shape[1:]), array.dtype) for array in old)
            for array, into in zip(old, new, strict=True):
                into[:held] = array
            self._vectors, self._rows, self._priorities = new
            self._free = np.arange(held, count)[::-1]
            return
        places = self._in_order()
        self.limit = int(self._priorities[places[self.capacity - 1]])
        self._free = places[self.capacity :][::-1]


def _mixed(x: Any) -> Any:
    """Return splitmix64's finalizer (Steele, Lea & Flood, Fast splittable pseudorandom number generators, 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
