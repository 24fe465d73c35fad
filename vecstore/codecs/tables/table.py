"""The contract of table codecs: fitted to all rows, and asked for a row by its number or its key.

Any other codec is fitted to a sample, and a code says all of a vector. What knows no table codec calls the functions of
this file: `fit_quantizer`, `encode_rows` and `decode_rows` hand row numbers and keys to those that look at them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats, Quantizer, TrainedQuantizer
from vecstore.codecs.dataset import Dataset
from vecstore.keys.packed import PackedKeys

__all__ = ["Law", "TableQuantizer", "TrainedTable", "decode_rows", "encode_rows", "fit_quantizer", "is_base"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Law:
    """What is known of a codec before it is trained: bytes a row, trained arrays included, and the variance kept."""

    row_bytes: float
    kept: float


class TableQuantizer(Quantizer):
    """A quantizer whose rows share tables, so that it is fitted to all of them.

    Attributes
    ----------
    is_base : bool
        A second quantizer may code what it leaves: ``hash:25000/pq:10``.
    by_row : bool
        Vectors depend on the number or the key of a row, and not on its code alone.
    lossless : bool
        Codes hold whatever the tables do not.
    """

    is_base: ClassVar[bool] = True
    by_row: ClassVar[bool] = True
    lossless: ClassVar[bool] = False

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return self.fit_dataset(z, Dataset.of(z), seed=seed)

    @abstractmethod
    def fit_dataset(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQuantizer:
        """Train on a sample (n, d) float32, knowing all rows to come."""

    def law(self, total: int, dimensions: int) -> Law | None:
        """Return what follows from the configuration and the number of rows alone; None where data decide."""
        return None


class TrainedTable(TrainedQuantizer):
    """Tables that rows share. `encode` and `decode` take the rows to be the first ones, numbered from 0.

    Attributes
    ----------
    by_key : bool
        Vectors come from the keys of rows, where they have any, instead of their numbers.
    shared : bool
        What a code stands for depends on the number or key of its row, or the code itself does.
    most_rows : int or None
        From which row number on there are no vectors; None if there is no end.
    """

    by_key: bool = False
    shared: bool = True
    most_rows: int | None = None

    def encode(self, z: Floats) -> Codes:
        return self.encode_rows(z, np.arange(len(z)))

    def decode(self, codes: Codes) -> Floats:
        return self.decode_rows(codes, np.arange(len(codes)))

    @abstractmethod
    def encode_rows(self, z: Floats, rows: Rows, keys: PackedKeys | None = None) -> Codes:
        """Return the codes of vectors of rows with these numbers (n,), and keys if they have any."""

    @abstractmethod
    def decode_rows(self, codes: Codes, rows: Rows, keys: PackedKeys | None = None) -> Floats:
        """Return the vectors that codes of these rows stand for: (n, dimensions) float32."""

    def unknown(self, keys: PackedKeys) -> Floats:
        """Return the vectors of keys that the store does not hold: (n, dimensions) float32. Only where `by_key`."""
        raise NotImplementedError("this codec has no vectors for keys")

    def keys_of(self, rows: Rows, keys: PackedKeys | None) -> PackedKeys:
        """Return the keys by which the tables know rows: their own, or their numbers."""
        return keys if keys is not None and self.by_key else PackedKeys.of_rows(rows)


def is_base(quantizer: Quantizer) -> bool:
    """Return whether a second quantizer may code what this one leaves."""
    return isinstance(quantizer, TableQuantizer) and quantizer.is_base


def fit_quantizer(quantizer: Quantizer, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQuantizer:
    """Train a quantizer on a sample (n, d), or on all rows if it is a table codec."""
    if isinstance(quantizer, TableQuantizer):
        return quantizer.fit_dataset(z, dataset, seed=seed)
    return quantizer.fit(z, seed=seed)


def encode_rows(
    quantizer: TrainedQuantizer, z: Floats, rows: Rows | None = None, keys: PackedKeys | None = None
) -> Codes:
    """Return the codes of vectors; only table codecs look at the numbers and keys of their rows."""
    if isinstance(quantizer, TrainedTable) and rows is not None:
        return quantizer.encode_rows(z, rows, keys)
    return quantizer.encode(z)


def decode_rows(
    quantizer: TrainedQuantizer, codes: Codes, rows: Rows | None = None, keys: PackedKeys | None = None
) -> Floats:
    """Return the vectors that codes stand for; only table codecs look at the numbers and keys of their rows."""
    if isinstance(quantizer, TrainedTable) and rows is not None:
        return quantizer.decode_rows(codes, rows, keys)
    return quantizer.decode(codes)
