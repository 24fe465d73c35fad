"""Rows as sums of four entries of one table, as thinc's and spaCy's HashEmbed layers have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.members import Whole
from vecstore.codecs.tables.features import key_texts
from vecstore.codecs.tables.hashed_table import HashedTable, TrainedHashedTable
from vecstore.codecs.tables.incidence import KERNEL_ROWS, Incidence
from vecstore.codecs.tables.subword_hashes import murmur2, pieces
from vecstore.kernels import entries
from vecstore.keys.packed import PackedKeys

__all__ = ["HashEmbed", "TrainedHashEmbed"]

HASHES = 4


@dataclass(frozen=True)
class HashEmbed(HashedTable):
    """Represent a row by the sum of four entries that a hash of its key picks from one table.

    Miranda et al., Multi hash embeddings in spaCy (2022). Integer keys are the numbers that the layer is given; string
    keys become such numbers as in spaCy's string store. What thinc trained is imported exactly; fitted here, the table
    is the one of least squared error. Rows have no bytes of their own, and unknown keys have vectors too.
    """

    entries: Annotated[int, Whole(1)]
    seed: Annotated[int, Whole(0, 2**32 - 1)] = 0

    name = "hashembed"
    summary = "T table entries, four picked by the hash of each key, as thinc has them"
    usage = "hashembed:T or hashembed:T:SEED, such as hashembed:5000:8"

    def trained(self, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> TrainedHashEmbed:
        return TrainedHashEmbed(self, table, by_key, facts)


class TrainedHashEmbed(TrainedHashedTable):
    """The table, and how keys take four entries from it."""

    def __init__(self, spec: HashEmbed, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> None:
        super().__init__(table, by_key, facts)
        self._spec = spec

    def incidence(self, keys: PackedKeys) -> Incidence:
        if len(keys) < KERNEL_ROWS:
            parts = key_texts(keys)
            if keys.integers is None:
                parts = [murmur2(part).to_bytes(8, "little") for part in parts]
            found = np.array([pieces(part, self._spec.seed, HASHES) for part in parts], np.int64).reshape(-1, HASHES)
            return Incidence.equal(found % self._spec.entries)
        numbers = keys.integers
        if numbers is None:
            numbers = np.empty(len(keys), np.uint64)
            entries.string_numbers(keys.text, keys.starts, keys.gap, numbers)
        found = np.empty((len(keys), HASHES), np.int64)
        entries.four_pieces(numbers.view(np.uint8), self._spec.seed, found)
        return Incidence.equal(found % self._spec.entries)
