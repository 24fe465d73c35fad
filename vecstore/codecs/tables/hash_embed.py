"""Rows as sums of four entries of one table, as thinc's and spaCy's HashEmbed layers have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Law, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.tables.picks import KERNEL_ROWS, Picks, fit_table, picked_by_key
from vecstore.codecs.tables.subword_hashes import murmur2, pieces
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["HashEmbed", "TrainedHashEmbed"]

PICKS = 4


@dataclass(frozen=True)
class HashEmbed(Quantizer):
    """Represent a row by the sum of four entries that a hash of its key picks from one table.

    Miranda et al., Multi hash embeddings in spaCy (2022). Integer keys are the numbers that the layer is given; string
    keys become such numbers as in spaCy's string store. What thinc trained is imported exactly; fitted here, the table
    is the one of least squared error. Rows have no bytes of their own, and unknown keys have vectors too.
    """

    entries: int
    seed: int = 0

    name = "hashembed"
    summary = "T table entries, four picked by the hash of each key, as thinc has them"
    is_table = is_base = by_row = True
    usage = "hashembed:T or hashembed:T:SEED, such as hashembed:5000:8"

    @classmethod
    def integer(cls, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) < 2**32):
            raise CodecError(f"{cls.name}: {text!r} is no whole number below 2**32: {cls.usage}")
        return int(text)

    def __post_init__(self) -> None:
        if not 1 <= self.entries < 2**31 or not 0 <= self.seed < 2**32:
            raise CodecError(f"{self}: entries from 1, seeds below 2**32: {self.usage}")

    def law(self, total: int, dimensions: int) -> Law | None:
        return Law(4 * self.entries * dimensions / total, min(self.entries / total, 1.0))

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return self.fit_all(z, Dataset.of(z), seed=seed)

    def fit_all(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQuantizer:
        by_key = next(dataset.blocks()).keys is not None
        untrained = TrainedHashEmbed(self, np.zeros((1, z.shape[1]), np.float32), by_key)

        def picks_of(block: Block) -> Picks:
            return untrained.picks(block.keys if block.keys is not None else PackedKeys(block.rows, "int64"))

        table, facts = fit_table(dataset, picks_of, self.entries)
        return TrainedHashEmbed(self, table, by_key, facts)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        by_key = picked_by_key(arrays)
        (table,) = named(arrays, table=(self.entries, dimensions))
        return TrainedHashEmbed(self, table, by_key)


class TrainedHashEmbed(TrainedQuantizer):
    """The table, and how keys pick from it."""

    code_bytes = 0
    shared = True

    def __init__(self, spec: HashEmbed, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> None:
        self._spec, self.table, self.by_key, self._facts = spec, frozen(table), by_key, facts or {}
        self.dimensions = table.shape[1]

    def picks(self, keys: PackedKeys) -> Picks:
        """Return the four entries of each key."""
        if len(keys) < KERNEL_ROWS:
            text, starts, lengths = keys.text.tobytes(), keys.starts[:-1].tolist(), keys.lengths.tolist()
            parts = [text[at : at + length] for at, length in zip(starts, lengths, strict=True)]
            if keys.integers is None:
                parts = [murmur2(part).to_bytes(8, "little") for part in parts]
            ids = np.array([pieces(part, self._spec.seed, PICKS) for part in parts], np.int64).reshape(-1, PICKS)
            return Picks.equal(ids % self._spec.entries)
        from vecstore.kernels.subwords import four_pieces, string_numbers

        numbers = string_numbers(keys.text, keys.starts, keys.gap) if keys.integers is None else keys.integers
        found = np.empty((len(keys), PICKS), np.int64)
        four_pieces(numbers.view(np.uint8), self._spec.seed, found)
        return Picks.equal(found % self._spec.entries)

    def encode(self, z: Floats, rows: NDArray[np.int64] | None = None) -> Codes:
        return np.zeros((len(z), 0), np.uint8)

    def decode(self, codes: Codes, rows: NDArray[np.int64] | None = None) -> Floats:
        return self.decode_keys(PackedKeys(np.arange(len(codes)) if rows is None else rows, "int64"), codes)

    def decode_keys(self, keys: PackedKeys, codes: Codes | None) -> Floats:
        return self.picks(keys).sums(self.table)

    @property
    def facts(self) -> dict[str, Any]:
        return self._facts

    @property
    def arrays(self) -> Arrays:
        return {"table": self.table, "by_key": np.array([self.by_key], "|u1")}
