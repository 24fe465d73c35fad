"""Words as means of vectors of their character n-grams, as fastText and floret make them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Law, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.tables.picks import KERNEL_ROWS, Picks, fit_table, picked_by_key
from vecstore.codecs.tables.subword_hashes import word_ids
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["END_OF_SENTENCE", "FastText", "Floret", "TrainedSubwords"]

END_OF_SENTENCE = b"</s>"  # fastText gives it no n-grams


@dataclass(frozen=True)
class Floret(Quantizer):
    """Represent a word by the mean of entries that the word and its character n-grams pick from one table.

    Boyd & Warmerdam, floret: lightweight, robust word vectors (Explosion, 2022). A word stands between ``<`` and
    ``>``; it and each of its n-grams pick 1 to 4 entries by the 32-bit pieces of a MurmurHash3. Rows have no bytes of
    their own, and unknown words have vectors too. What floret trained is imported exactly; fitted here, the table is
    the one of least squared error.
    """

    entries: int
    least: int = 4
    most: int = 5
    hashes: int = 2
    seed: int = 2166136261

    name = "floret"
    summary = "T table entries shared by character n-grams, as floret has them"
    is_table = is_base = by_row = True
    usage = "floret:T or floret:T:MIN:MAX:HASHES:SEED, such as floret:50000:4:5:2"

    @classmethod
    def integer(cls, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) < 2**32):
            raise CodecError(f"{cls.name}: {text!r} is no whole number below 2**32: {cls.usage}")
        return int(text)

    def __post_init__(self) -> None:
        sizes_fit = 1 <= self.entries < 2**31 and 0 <= self.least <= self.most <= 64
        if not sizes_fit or not 1 <= self.hashes <= 4 or not 0 <= self.seed < 2**32:
            raise CodecError(f"{self}: n-grams up to 64 characters, 1 to 4 hashes: {self.usage}")

    def law(self, total: int, dimensions: int) -> Law | None:
        return Law(4 * self.entries * dimensions / total, min(self.entries / total, 1.0))

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return self.fit_all(z, Dataset.of(z), seed=seed)

    def fit_all(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQuantizer:
        by_key = next(dataset.blocks()).keys is not None
        untrained = TrainedSubwords(self, np.zeros((1, z.shape[1]), np.float32), by_key)

        def picks_of(block: Block) -> Picks:
            return untrained.picks(block.keys if block.keys is not None else PackedKeys(block.rows, "int64"))

        table, facts = fit_table(dataset, picks_of, self.entries, mean=True)
        return TrainedSubwords(self, table, by_key, facts=facts)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        by_key = picked_by_key(arrays)
        (table,) = named(arrays, table=(self.entries, dimensions))
        return TrainedSubwords(self, table, by_key)


@dataclass(frozen=True)
class FastText(Quantizer):
    """Represent a word by the mean of a vector of its own and of entries that its character n-grams pick from a table.

    Bojanowski, Grave, Joulin & Mikolov, Enriching word vectors with subword information, TACL 2017. The word's own
    vector is its code, in float32; words without one are the mean of their n-grams alone. What fastText trained is
    imported exactly; fitted here, the table is the one of least squared error and the codes hold what is left.
    """

    entries: int
    least: int = 3
    most: int = 6

    name = "fasttext"
    summary = "a float32 vector a row and T entries shared by character n-grams, as fastText has them"
    by_row = True
    usage = "fasttext:T or fasttext:T:MIN:MAX, such as fasttext:2000000:3:6"

    @classmethod
    def integer(cls, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) < 2**31):
            raise CodecError(f"{cls.name}: {text!r} is no whole number below 2**31: {cls.usage}")
        return int(text)

    def __post_init__(self) -> None:
        if not 1 <= self.entries < 2**31 or not 0 <= self.least <= 64 or not 0 <= self.most <= 64:
            raise CodecError(f"{self}: n-grams have up to 64 characters: {self.usage}")

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return self.fit_all(z, Dataset.of(z), seed=seed)

    def fit_all(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQuantizer:
        by_key = next(dataset.blocks()).keys is not None
        untrained = TrainedSubwords(self, np.zeros((1, z.shape[1]), np.float32), by_key)

        def picks_of(block: Block) -> Picks:
            return untrained.picks(block.keys if block.keys is not None else PackedKeys(block.rows, "int64"))

        table, facts = fit_table(dataset, picks_of, self.entries, mean=True)
        return TrainedSubwords(self, table, by_key, facts=facts)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        by_key = picked_by_key(arrays)
        (table,) = named(arrays, table=(self.entries, dimensions))
        return TrainedSubwords(self, table, by_key)


class TrainedSubwords(TrainedQuantizer):
    """The table of either.

    Parameters
    ----------
    spec : Floret or FastText
    table : (entries, d) float32
    by_key : bool
        Words are the keys; else the digits of row numbers.
    own : (n, d) float32, optional
        Of an imported fastText model: the rows' own vectors, which encoding then takes as they are.
    """

    shared = True

    def __init__(
        self,
        spec: Floret | FastText,
        table: Floats,
        by_key: bool,
        *,
        own: Floats | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self._spec, self.table, self.by_key, self._own = spec, frozen(table), by_key, own
        self._facts = facts or {}
        self.dimensions = table.shape[1]
        self._has_own = isinstance(spec, FastText)
        self.code_bytes = 4 * self.dimensions if self._has_own else 0

    def picks(self, keys: PackedKeys) -> Picks:
        """Return the entries that keys take, in the order in which the libraries add them."""
        spec, words = self._spec, _marked(keys, whole_sentence=not self._has_own)
        hashes, seed = (0, 0) if isinstance(spec, FastText) else (spec.hashes, spec.seed)
        options = (spec.least, spec.most, spec.entries, hashes, seed, not self._has_own)
        if len(keys) < KERNEL_ROWS:
            text, edges = words.text.tobytes(), pairwise(words.starts.tolist())
            lists = [word_ids(text[low:high], *options) for low, high in edges]
            starts = np.concatenate([[0], np.cumsum([len(own) for own in lists], dtype=np.int64)])
            return Picks(starts, np.array([i for own in lists for i in own], np.int64))
        from vecstore.kernels.subwords import subword_ids

        counts = np.empty(len(keys), np.int64)
        size = subword_ids(words.text, words.starts, *options, counts, np.empty(0, np.int64))
        ids = np.empty(size, np.int64)
        subword_ids(words.text, words.starts, *options, counts, ids)
        return Picks(np.concatenate([[0], np.cumsum(counts)]), ids)

    def encode(self, z: Floats, rows: NDArray[np.int64] | None = None) -> Codes:
        numbers = np.arange(len(z)) if rows is None else rows
        return self.encode_keys(z, PackedKeys(numbers, "int64"), numbers)

    def decode(self, codes: Codes, rows: NDArray[np.int64] | None = None) -> Floats:
        numbers = np.arange(len(codes)) if rows is None else rows
        return self.decode_keys(PackedKeys(numbers, "int64"), codes)

    def encode_keys(self, z: Floats, keys: PackedKeys, rows: NDArray[np.int64]) -> Codes:
        if not self._has_own:
            return np.zeros((len(z), 0), np.uint8)
        if self._own is not None:
            own = self._own[rows]
        else:
            picks = self.picks(keys)
            own = z * (1 + picks.counts)[:, None].astype(np.float32) - picks.sums(self.table)
        return np.ascontiguousarray(own, "<f4").view(np.uint8).reshape(len(z), self.code_bytes)

    def decode_keys(self, keys: PackedKeys, codes: Codes | None) -> Floats:
        picks = self.picks(keys)
        if codes is None or not self._has_own:
            return picks.sums(self.table, mean=True)
        own = np.ascontiguousarray(codes).view("<f4")
        # A row's own vector is added first: sums are taken in that order, as float32 keeps every rounding.
        return picks.sums(self.table, mean=True, onto=own)

    @property
    def facts(self) -> dict[str, Any]:
        return self._facts

    @property
    def arrays(self) -> Arrays:
        return {"table": self.table, "by_key": np.array([self.by_key], "|u1")}


def _marked(keys: PackedKeys, *, whole_sentence: bool) -> PackedKeys:
    """Return the keys between < and >; integers are written in decimals.

    Unless `whole_sentence`, the mark for the end of a sentence becomes empty: it has no n-grams in fastText.
    """
    if keys.integers is not None:
        words = [b"%d" % number for number in keys.integers.tolist()]
    else:
        text, starts, lengths = keys.text.tobytes(), keys.starts[:-1].tolist(), keys.lengths.tolist()
        words = [text[at : at + length] for at, length in zip(starts, lengths, strict=True)]
    marked = [b"<" + word + b">" if whole_sentence or word != END_OF_SENTENCE else b"" for word in words]
    made = PackedKeys.__new__(PackedKeys)
    made.key_type = "bytes"
    made.text = np.frombuffer(b"".join(marked), np.uint8)
    made.starts = np.concatenate([[0], np.cumsum(np.fromiter(map(len, marked), np.int64, len(marked)))])
    return made
