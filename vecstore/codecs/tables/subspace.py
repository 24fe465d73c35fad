"""Tuples over small codebooks, one a subspace, that no two rows share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, named
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.members import Among
from vecstore.codecs.packing import join, split
from vecstore.codecs.product.pq import PQ, TrainedPQ, group_edges, train_codebooks
from vecstore.codecs.tables.table import TableQuantizer, TrainedTable
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["Subspace"]

TRAINING_ROWS = 1 << 15


@dataclass(frozen=True)
class Subspace(TableQuantizer, PQ):
    """Code a row by its nearest entries in m small codebooks, so that no other row has the same code.

    As `pq`, but where the nearest entries of a row are another one's already, it takes the free tuple that costs least:
    one entry replaced by its next nearest ones, then two. So a code names its row.
    """

    bits: Annotated[int, Among(4, 8)] = 4

    name = "subspace"
    summary = "as pq, with a code of its own for every row"
    is_base = by_row = False
    usage = "subspace:M or subspace:MxB with B 4 or 8, such as subspace:24x4"

    def __str__(self) -> str:
        return f"{self.name}:{self.m}x{self.bits}"

    def fit_dataset(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedSubspace:
        if self.bits * self.m < 63 and 1 << (self.bits * self.m) < dataset.total:
            tuples = 1 << (self.bits * self.m)
            raise CodecError(f"{self} has {tuples:,} codes, there are {dataset.total:,} rows; take a larger M")
        edges = group_edges(z.shape[1], self.m)
        books = train_codebooks(z[:TRAINING_ROWS], edges, 1 << self.bits, seed=seed)
        plain = TrainedPQ(self.bits, edges, books)
        own, moved = _unique(plain, dataset)
        return TrainedSubspace(self.bits, edges, books, own, moved / max(dataset.total, 1))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedSubspace:
        edges = group_edges(dimensions, self.m)
        (books,) = named(arrays, codebooks=(self.m, 1 << self.bits, int(np.diff(edges).max())))
        return TrainedSubspace(self.bits, edges, books, None, 0.0)


class TrainedSubspace(TrainedPQ, TrainedTable):
    """Rows that it was fitted to are encoded by their numbers; others, and all after a restore, by nearest entries."""

    def __init__(self, bits: int, edges: NDArray[np.int64], codebooks: Floats, own: Codes | None, moved: float) -> None:
        super().__init__(bits, edges, codebooks)
        self._own, self._moved = own, moved

    def encode_rows(self, z: Floats, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Codes:
        return self.encode(z) if self._own is None else self._own[rows]

    def decode_rows(self, codes: Codes, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Floats:
        return self.decode(codes)

    @property
    def facts(self) -> dict[str, float]:
        return {"repaired": round(self._moved, 6)}


def _unique(plain: TrainedPQ, dataset: Dataset) -> tuple[Codes, int]:
    """Return codes that are all different, and how many rows did not get their nearest entries."""
    out = np.concatenate([plain.encode(block.vectors) for block in dataset.blocks()])
    first = np.unique(out, axis=0, return_index=True)[1]
    repeated = np.ones(len(out), bool)
    repeated[first] = False
    taken = {out[row].tobytes() for row in first.tolist()}
    for block in dataset.blocks():
        for at in np.flatnonzero(repeated[block.rows]).tolist():
            row = int(block.rows[at])
            code = _free(plain, block.vectors[at], out[row], taken)
            taken.add(code.tobytes())
            out[row] = code
    return out, int(repeated.sum())


def _free(plain: TrainedPQ, x: Floats, code: Codes, taken: set[bytes]) -> Codes:
    """Return the free code that costs least among those with one entry replaced, else with two, and so on."""
    entries, per_byte = 1 << plain.bits, 8 // plain.bits
    levels = split(code[None], per_byte, plain.m)[0]
    costs = np.empty((plain.m, entries))
    for j, (low, high) in enumerate(pairwise(plain.edges.tolist())):
        costs[j] = ((plain.codebooks[j, :, : high - low] - x[low:high]) ** 2).sum(axis=1)
    costs -= costs[np.arange(plain.m), levels][:, None]
    costs[np.arange(plain.m), levels] = np.inf
    order = np.argsort(costs, axis=None, kind="stable")[: plain.m * (entries - 1)].tolist()
    bases = [levels]
    while True:
        replaced: list[NDArray[np.uint8]] = []
        for base in bases:
            for place in order:
                j, level = divmod(place, entries)
                tried = base.copy()
                tried[j] = level
                packed = join(tried[None], per_byte)[0]
                if packed.tobytes() not in taken:
                    return packed
                replaced.append(tried)
        bases = replaced
