"""Which entries of a table make up each row, and the best table for given picks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Floats, named
from vecstore.codecs.dataset import Block, Dataset
from vecstore.errors import CodecError

__all__ = ["KERNEL_ROWS", "Collisions", "Picks", "fit_table", "picked_by_key"]

KERNEL_ROWS = 64  # from this many rows on, the compiled kernel pays for its import
ITERATIONS = 300
TOLERANCE = 1e-6  # of the residual that conjugate gradients begin with


@dataclass(frozen=True)
class Picks:
    """Row i takes the entries ids[starts[i] : starts[i + 1]]."""

    starts: NDArray[np.int64]
    ids: NDArray[np.int64]

    @classmethod
    def equal(cls, ids: NDArray[np.int64]) -> Picks:
        """Return the picks of rows that take equally many entries each: (n, entries)."""
        return cls(np.arange(len(ids) + 1) * ids.shape[1], np.ascontiguousarray(ids).reshape(-1))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each row: (n,)."""
        return np.diff(self.starts)

    def sums(self, table: Floats, *, mean: bool = False, onto: Floats | None = None) -> Floats:
        """Return the sum (or mean) of each row's entries, added in their order in float32: (n, d).

        `onto` (n, d) is one more entry of each row, which comes first.
        """
        n = len(self.starts) - 1
        out = np.zeros((n, table.shape[1]), np.float32) if onto is None else onto.astype(np.float32)
        if n >= KERNEL_ROWS:
            from vecstore.kernels.tables import sum_entries

            sum_entries(self.starts, self.ids, table, out)
        else:
            counts = self.counts
            for place in range(int(counts.max(initial=0))):
                here = np.flatnonzero(counts > place)
                out[here] += table[self.ids[self.starts[here] + place]]
        if mean:
            counts = self.counts if onto is None else self.counts + 1
            out *= (1.0 / np.maximum(counts, 1)).astype(np.float32)[:, None]
        return out


@dataclass
class Collisions:
    """Counts rows that no table can tell apart, because they pick the same entries as another one."""

    rows: int = 0

    def __post_init__(self) -> None:
        self._prints: list[NDArray[np.uint64]] = []

    def add(self, picks: Picks) -> None:
        """Take note of rows."""
        mixed = picks.ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        self._prints.append(sums[picks.starts[1:]] - sums[picks.starts[:-1]])  # the same whatever the order
        self.rows += len(picks.starts) - 1

    @property
    def rate(self) -> float:
        """Share of the rows that share all their entries with another row."""
        _, counts = np.unique(np.concatenate(self._prints), return_counts=True)
        return float(counts[counts > 1].sum() / max(self.rows, 1))


def picked_by_key(arrays: Arrays) -> bool:
    """Return whether keys pick, not row numbers: the stored array `by_key`, which must be 0 or 1."""
    (by_key,) = named(arrays, dtype="|u1", by_key=(1,))
    if by_key[0] > 1:
        raise CodecError(f"the codec's array 'by_key' is {by_key[0]}, neither 0 nor 1; the file is damaged")
    return bool(by_key[0])


def fit_table(
    dataset: Dataset,
    picks_of: Callable[[Block], Picks],
    entries: int,
    *,
    mean: bool = False,
    weighted: bool = False,
) -> tuple[Floats, dict[str, Any]]:
    """Return the table (entries, d) whose sums (or means) have the least squared error, and what was found on the way.

    The data are read once: what least squares needs of them is A' W X, one vector an entry. The rest, the picks, is
    kept (8 bytes an entry of a row), and conjugate gradients solve A' W A T = A' W X (Hestenes & Stiefel 1952), with
    the diagonal as preconditioner. `weighted` takes each row by its importance.

    Whatever the picks, they do not depend on the data, so for data without structure in the order of rows the share of
    variance that is kept is that of a random subspace: rank / rows.
    """
    from vecstore.kernels.tables import add_gram, add_targets

    held: list[tuple[Picks, NDArray[np.float64]]] = []
    collisions = Collisions()
    target: NDArray[np.float64] | None = None
    for block in dataset.blocks():
        picks = picks_of(block)
        scales = 1.0 / np.maximum(picks.counts, 1) if mean else np.ones(len(block.rows))
        weights = dataset.weights(block.rows) if weighted else np.ones(len(block.rows))
        if target is None:
            target = np.zeros((entries, block.vectors.shape[1]))
        add_targets(picks.starts, picks.ids, weights * scales, block.vectors, target)
        held.append((picks, weights * scales**2))
        collisions.add(picks)
    assert target is not None, "there is a row"
    diagonal = np.zeros(entries)
    for picks, weights in held:
        np.add.at(diagonal, picks.ids, np.repeat(weights, picks.counts))
    row = np.empty(target.shape[1])

    def product(table: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros_like(table)
        for picks, weights in held:
            add_gram(picks.starts, picks.ids, weights, table, row, out)
        return out

    table = _conjugate_gradients(product, target, np.where(diagonal > 0, diagonal, 1.0))
    used = float(np.mean(diagonal > 0))
    return table.astype("<f4"), {"collisions": round(collisions.rate, 6), "entries_used": round(used, 6)}


def _conjugate_gradients(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    target: NDArray[np.float64],
    diagonal: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve product(x) = target for every column at once."""
    x = np.zeros_like(target)
    residual = target.copy()
    z = residual / diagonal[:, None]
    direction = z.copy()
    energy = (residual * z).sum(axis=0)
    enough = TOLERANCE**2 * np.maximum(energy, 1e-300)
    for _ in range(ITERATIONS):
        if (energy <= enough).all():
            break
        image = product(direction)
        curvature = (direction * image).sum(axis=0)
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=curvature > 0)
        x += step * direction
        residual -= step * image
        z = residual / diagonal[:, None]
        renewed = (residual * z).sum(axis=0)
        direction = z + np.divide(renewed, energy, out=np.zeros_like(energy), where=energy > 0) * direction
        energy = renewed
    return x
