"""Hashing: rows share one table, and hashes of their keys say which entries they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.members import Among, Whole
from vecstore.codecs.tables.features import Features
from vecstore.codecs.tables.hashed_table import HashedTable, TrainedHashedTable
from vecstore.codecs.tables.incidence import Incidence
from vecstore.codecs.tables.table import Law
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["Hash", "TrainedHash"]


@dataclass(frozen=True)
class Hash(HashedTable):
    """Represent a row by the sum (or mean) of entries that 1 to 4 hashes of its key pick from one table.

    Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009; several hashes as in Svenstrup,
    Hansen & Winther, Hash embeddings, NIPS 2017. Rows have no bytes of their own. The table is the one of least squared
    error over all rows, or with ``weighted`` over all rows by importance. A key that the store does not hold has a
    vector too. Keys of several fields ("city:Rome", "name:Rome") share the one table, each by hashes of its own
    (Coleman et al., Unified embedding, NeurIPS 2023). In a store without keys the row number is the key.
    """

    entries: Annotated[int, Whole(1)]
    hashes: Annotated[int, Whole(1, 4)] = 2
    features: str = "word"
    combine: Annotated[str, Among("sum", "mean")] = "sum"
    weights: Annotated[str, Among("equal", "importance")] = "equal"

    name = "hash"
    summary = "T table entries shared by all rows, H hashes each"
    usage = "hash:T, hash:T:H or hash:T:H:FEATURES:mean:weighted, such as hash:25000:2:word&prefix3&ngrams3-5"

    def __post_init__(self) -> None:
        super().__post_init__()
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

    def trained(self, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> TrainedHash:
        return TrainedHash(self, table, by_key, facts)


class TrainedHash(TrainedHashedTable):
    """The table, and how keys take entries from it."""

    def __init__(self, spec: Hash, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> None:
        super().__init__(table, by_key, facts)
        self._spec, self._features = spec, Features(spec.features)
        self.ngram_lengths = self._features.ngram_lengths
        self.mean, self.weighted = spec.combine == "mean", spec.weights == "importance"

    def incidence(self, keys: PackedKeys) -> Incidence:
        return self._features.incidence(keys, self._spec.hashes, self._spec.entries)
