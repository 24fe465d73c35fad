"""Hashing: rows share one table, and hashes of their keys say which entries they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Law, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.tables.features import Features
from vecstore.codecs.tables.picks import Picks, fit_table, picked_by_key
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["Hash", "TrainedHash"]

MOST_HASHES = 4


@dataclass(frozen=True)
class Hash(Quantizer):
    """Represent a row by the sum (or mean) of entries that 1 to 4 hashes of its key pick from one table.

    Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009; several hashes as in Svenstrup,
    Hansen & Winther, Hash embeddings, NIPS 2017. Rows have no bytes of their own. The table is the one of least squared
    error over all rows, or with ``weighted`` over all rows by importance. A key that the store does not hold has a
    vector too. Keys of several fields ("city:Rome", "name:Rome") share the one table, each by hashes of its own
    (Coleman et al., Unified embedding, NeurIPS 2023). In a store without keys the row number is the key.
    """

    entries: int
    hashes: int = 2
    features: str = "word"
    combine: str = "sum"
    weights: str = "equal"

    name = "hash"
    summary = "T table entries shared by all rows, H hashes each"
    is_table = is_base = by_row = True
    usage = "hash:T, hash:T:H or hash:T:H:FEATURES:mean:weighted, such as hash:25000:2:word&prefix3&ngrams3-5"

    def __post_init__(self) -> None:
        if not (1 <= self.entries < 2**31 and 1 <= self.hashes <= MOST_HASHES):
            raise CodecError(
                f"hash: {self.entries} entries, {self.hashes} hashes; hashes go from 1 to 4 ({self.usage})"
            )
        if self.combine not in ("sum", "mean") or self.weights not in ("equal", "importance"):
            raise CodecError(f"hash: {self.combine}, {self.weights}: {self.usage}")
        Features(self.features)

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        given: dict[str, Any] = {}
        for place, text in enumerate(arguments):
            if place == 0:
                given["entries"] = cls.integer(text)
            elif place == 1 and text.isdecimal():
                given["hashes"] = cls.integer(text)
            elif text in ("mean", "sum"):
                given["combine"] = text
            elif text == "weighted":
                given["weights"] = "importance"
            else:
                given["features"] = text
        if not given:
            raise CodecError(f"hash needs a number of entries: {cls.usage}")
        return cls(**given)

    def __str__(self) -> str:
        more = [self.features] if self.features != "word" else []
        more += ["mean"] if self.combine == "mean" else []
        more += ["weighted"] if self.weights == "importance" else []
        return ":".join([self.name, str(self.entries), str(self.hashes), *more])

    def law(self, total: int, dimensions: int) -> Law | None:
        # Keys of which parts are hashed may keep more: where they are alike, their vectors may be alike as well.
        used = self.entries * -np.expm1(-self.hashes * total / self.entries)
        return Law(4 * self.entries * dimensions / total, min(float(used) / total, 1.0))

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return self.fit_all(z, Dataset.of(z), seed=seed)

    def fit_all(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQuantizer:
        by_key = next(dataset.blocks()).keys is not None
        shape = TrainedHash(self, np.zeros((1, z.shape[1]), np.float32), by_key)

        def picks_of(block: Block) -> Picks:
            return shape.picks(block.keys if block.keys is not None else _numbers(block.rows))

        weighted = self.weights == "importance"
        table, facts = fit_table(dataset, picks_of, self.entries, mean=shape.mean, weighted=weighted)
        return TrainedHash(self, table, by_key, facts)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        by_key = picked_by_key(arrays)
        (table,) = named(arrays, table=(self.entries, dimensions))
        return TrainedHash(self, table, by_key)


class TrainedHash(TrainedQuantizer):
    """The table, and how keys pick from it."""

    code_bytes = 0
    shared = True

    def __init__(self, spec: Hash, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> None:
        self._spec, self.table, self.by_key, self._facts = spec, frozen(table), by_key, facts or {}
        self._features = Features(spec.features)
        self.mean = spec.combine == "mean"
        self.dimensions = table.shape[1]

    def picks(self, keys: PackedKeys) -> Picks:
        """Return which entries keys take."""
        return self._features.picks(keys, self._spec.hashes, self._spec.entries)

    def encode(self, z: Floats, rows: NDArray[np.int64] | None = None) -> Codes:
        return np.zeros((len(z), 0), np.uint8)

    def decode(self, codes: Codes, rows: NDArray[np.int64] | None = None) -> Floats:
        return self.decode_keys(_numbers(np.arange(len(codes)) if rows is None else rows), codes)

    def decode_keys(self, keys: PackedKeys, codes: Codes | None) -> Floats:
        return self.picks(keys).sums(self.table, mean=self.mean)

    @property
    def facts(self) -> dict[str, Any]:
        return self._facts

    @property
    def arrays(self) -> Arrays:
        return {"table": self.table, "by_key": np.array([self.by_key], "|u1")}


def _numbers(rows: NDArray[np.int64]) -> PackedKeys:
    return PackedKeys(rows, "int64")
