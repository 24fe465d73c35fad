"""Fixed dimensional encodings: token vectors become one vector, whose products are about their MaxSim."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.container.container import Container, ContainerWriter
from vecstore.container.document import whole
from vecstore.errors import CorruptError
from vecstore.fields.runs import starts_of

__all__ = ["MOST_PROJECTION", "MOST_REPETITIONS", "MOST_SIMHASH", "Encoding"]

MOST_REPETITIONS, MOST_SIMHASH, MOST_PROJECTION = 1024, 12, 4096
ENCODED_NUMBERS = 1 << 22  # of float32, at once


class Encoding:
    """Turns the token vectors of a row, or of a query, into one vector.

    Space is cut by random planes into cells, as often as there are repetitions. A row's vector has, for each cell, the
    mean of the row's tokens in it; a query's vector has their sum. So a product of the two is, cell by cell, the
    query's tokens times a token vector that is likely to be near.

    Parameters
    ----------
    planes : (repetitions, simhash, d) float32
        A token is in cell sum of 2**i over the planes i on whose positive side it lies.
    signs : (repetitions, projection, d) int8, or None
        1 or -1: what tokens are multiplied with, over the square root of `projection`; None keeps them as they are.

    Notes
    -----
    Dhulipala, Hadian, Jayaram, Lee and Mirrokni, MUVERA: Multi-vector retrieval via fixed dimensional encodings, 2024,
    section 2.
    """

    def __init__(self, planes: Floats, signs: NDArray[np.int8] | None) -> None:
        self.planes, self.signs = planes, signs
        self.repetitions, self.simhash, self.token_dimensions = planes.shape
        self._width = self.token_dimensions if signs is None else signs.shape[1]

    @classmethod
    def random(cls, dimensions: int, *, repetitions: int, simhash: int, projection: int | None, seed: int) -> Self:
        """Return an encoding of token vectors of so many dimensions, drawn at random."""
        rng = np.random.default_rng(seed)
        planes = rng.standard_normal((repetitions, simhash, dimensions)).astype(np.float32)
        shape = repetitions, projection or 0, dimensions
        signs = None if projection is None else np.where(rng.random(shape) < 0.5, -1, 1).astype(np.int8)
        return cls(planes, signs)

    @property
    def dimensions(self) -> int:
        """Of the vectors that it makes."""
        return self.repetitions * self._cells * self._width

    @property
    def size_bytes(self) -> int:
        """Bytes of what was drawn at random."""
        return self.planes.nbytes + (0 if self.signs is None else self.signs.nbytes)

    def put(self, container: ContainerWriter, prefix: str) -> dict[str, Any]:
        """Write what was drawn at random, and return what a description says of it."""
        if self.planes.size:
            container.put_array(f"{prefix}planes", self.planes.reshape(-1, self.token_dimensions))
        if self.signs is not None:
            container.put_array(f"{prefix}signs", self.signs.reshape(-1, self.token_dimensions))
        return {
            "repetitions": self.repetitions,
            "simhash": self.simhash,
            "projection": None if self.signs is None else self._width,
            "token_dimensions": self.token_dimensions,
        }

    @classmethod
    def read(cls, container: Container, prefix: str, about: dict[str, Any]) -> Self:
        """Undo `put`; raises `CorruptError` for what it does not write."""
        path = container.path
        repetitions = whole(about, "repetitions", path, least=1, most=MOST_REPETITIONS)
        simhash = whole(about, "simhash", path, most=MOST_SIMHASH)
        dimensions = whole(about, "token_dimensions", path, least=1, most=1 << 20)
        planes = np.empty((0, dimensions), np.float32)
        if simhash:
            planes = container.expect(f"{prefix}planes", "<f4", (repetitions * simhash, dimensions)).array()
        signs = None
        if about.get("projection") is not None:
            width = whole(about, "projection", path, least=1, most=MOST_PROJECTION)
            signs = container.expect(f"{prefix}signs", "|i1", (repetitions * width, dimensions)).array()
            if not (np.abs(signs.astype(np.int16)) == 1).all():
                raise CorruptError(f"part '{prefix}signs' has other numbers than 1 and -1", path=path)
            signs = signs.reshape(repetitions, width, dimensions)
        if not np.isfinite(planes).all():
            raise CorruptError(f"part '{prefix}planes' has numbers that are not finite", path=path)
        return cls(planes.reshape(repetitions, simhash, dimensions), signs)

    @property
    def _cells(self) -> int:
        return 1 << self.simhash

    def documents(self, x: Floats, counts: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows: (n, dimensions) float32; zeros for rows without tokens.

        Parameters
        ----------
        x : (T, d) float32
            Token vectors, one row behind the other.
        counts : (n,) int64
            How many each row has.

        Notes
        -----
        A cell without tokens takes the row's token whose cell differs in the fewest planes; of equal ones the first.
        """
        return self._encoded(x, counts, of_rows=True)

    def queries(self, x: Floats, counts: NDArray[np.int64]) -> Floats:
        """Return the vectors of queries, given as `documents` takes rows: sums of tokens, zeros in empty cells."""
        return self._encoded(x, counts, of_rows=False)

    def _encoded(self, x: Floats, counts: NDArray[np.int64], *, of_rows: bool) -> Floats:
        out = np.zeros((len(counts), self.dimensions), np.float32)
        starts, done = starts_of(counts), 0
        while done < len(counts):  # some rows at a time, one at least
            sizes = (starts[done + 1 :] - starts[done]) * self._width
            stop = done + max(int(np.searchsorted(sizes, ENCODED_NUMBERS, side="right")), 1)
            own = x[starts[done] : starts[stop]]
            parts = out[done:stop].reshape(stop - done, self.repetitions, self._cells, self._width)
            row_of = np.repeat(np.arange(stop - done), counts[done:stop])
            for repetition in range(self.repetitions if len(own) else 0):
                parts[:, repetition] = self._cells_of(own, row_of, stop - done, repetition, of_rows=of_rows)
            done = stop
        return out

    def _cells_of(self, x: Floats, row_of: NDArray[np.int64], rows: int, repetition: int, *, of_rows: bool) -> Floats:
        """Return what rows have in each cell of a repetition: (rows, cells, width)."""
        bits = x @ self.planes[repetition].T > 0
        cell = bits @ (1 << np.arange(self.simhash))
        projected = x
        if self.signs is not None:
            projected = x @ self.signs[repetition].T.astype(np.float32) / np.float32(np.sqrt(self._width))
        runs = _Runs.of(row_of * self._cells + cell)
        sums = np.add.reduceat(projected[runs.order], runs.starts, axis=0)
        out = np.zeros((rows * self._cells, self._width), np.float32)
        if of_rows:
            out[runs.values] = sums / np.diff(runs.starts, append=len(x)).astype(np.float32)[:, None]
            empty, tokens = self._nearest(runs, rows)
            out[empty] = projected[tokens]
        else:
            out[runs.values] = sums
        return out.reshape(rows, self._cells, self._width)

    def _nearest(self, runs: _Runs, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the empty cells of rows that have tokens, and the token that is nearest to each.

        The planes that differ, times `step`, plus the token's number: plane by plane, the least of a cell and of its
        neighbour. After all planes that is the least of all cells.
        """
        step = len(runs.order)
        nearest = np.full(rows * self._cells, (self.simhash + 1) * step)
        nearest[runs.values] = runs.order[runs.starts]
        by_row = nearest.reshape(rows, self._cells)
        for plane in range(self.simhash):
            by_row = np.minimum(by_row, by_row[:, np.arange(self._cells) ^ (1 << plane)] + step)
        found = by_row.reshape(-1)
        empty = np.flatnonzero((found >= step) & (found < (self.simhash + 1) * step))
        return empty, found[empty] % step


class _Runs(NamedTuple):
    """Equal values, brought together: `order` sorts them, stably; runs begin at `starts` and have `values`."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    values: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.int64]) -> Self:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        return cls(order, starts, ordered[starts])
