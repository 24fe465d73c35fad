"""What codecs share whose rows take entries of one table by hashes of their keys."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, frozen, named
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.tables.incidence import Incidence
from vecstore.codecs.tables.least_squares import fit_table
from vecstore.codecs.tables.table import Law, TableQuantizer, TrainedTable
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["HashedTable", "TrainedHashedTable"]

NGRAMS_AT_ONCE = 1 << 19


class HashedTable(TableQuantizer):
    """One table of so many entries. Keys are what is hashed; in a store without keys, row numbers."""

    entries: int

    @abstractmethod
    def trained(self, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> TrainedHashedTable:
        """Return the trained form with this table (entries, d)."""

    def law(self, total: int, dimensions: int) -> Law | None:
        return Law(4 * self.entries * dimensions / total, min(self.entries / total, 1.0))

    def fit_dataset(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedHashedTable:
        by_key = next(dataset.blocks()).keys is not None
        untrained = self.trained(np.zeros((1, z.shape[1]), np.float32), by_key)

        def incidence_of(block: Block) -> Incidence:
            return untrained.incidence(untrained.keys_of(block.rows, block.keys))

        mean, weighted = untrained.mean, untrained.weighted
        table, facts = fit_table(dataset, incidence_of, self.entries, mean=mean, weighted=weighted)
        return self.trained(table, by_key, facts)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedHashedTable:
        (by_key,) = named(arrays, dtype="|u1", by_key=(1,))
        if by_key[0] > 1:
            raise CodecError(f"the codec's array 'by_key' is {by_key[0]}, neither 0 nor 1; the file is damaged")
        (table,) = named(arrays, table=(self.entries, dimensions))
        return self.trained(table, bool(by_key[0]))


class TrainedHashedTable(TrainedTable):
    """The table (entries, d), and how keys take entries from it.

    Attributes
    ----------
    mean : bool
        A row is the mean of its entries, not their sum.
    weighted : bool
        Rows count by their importance in training.
    ngram_lengths : int
        Of how many lengths the n-grams of keys are.
    """

    code_bytes = 0
    ngram_lengths: int = 0
    mean: bool = False
    weighted: bool = False

    def __init__(self, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> None:
        self.table, self.by_key, self._facts = frozen(table), by_key, facts or {}
        self.dimensions = table.shape[1]

    @abstractmethod
    def incidence(self, keys: PackedKeys) -> Incidence:
        """Return which entries keys take, in the order in which they are added."""

    def encode_rows(self, z: Floats, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Codes:
        return np.zeros((len(z), 0), np.uint8)

    def decode_rows(self, codes: Codes, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Floats:
        return self.unknown(self.keys_of(rows, keys))

    def unknown(self, keys: PackedKeys) -> Floats:
        return self.summed(keys)

    def summed(self, keys: PackedKeys, onto: Floats | None = None) -> Floats:
        """Return the sums (or means) of the entries of keys, and of `onto` (n, d) before them, in little memory."""
        sizes = np.cumsum(keys.lengths) * self.ngram_lengths // NGRAMS_AT_ONCE
        edges = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(keys)]
        out = np.empty((len(keys), self.dimensions), np.float32)
        for low, high in pairwise(edges):
            part = keys if (low, high) == (0, len(keys)) else keys.take(np.arange(low, high))
            own = None if onto is None else onto[low:high]
            out[low:high] = self.incidence(part).sums(self.table, mean=self.mean, onto=own)
        return out

    @property
    def facts(self) -> dict[str, Any]:
        return self._facts

    @property
    def arrays(self) -> Arrays:
        return {"table": self.table, "by_key": np.array([self.by_key], "|u1")}
