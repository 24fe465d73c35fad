"""Words as means of vectors of their character n-grams, as fastText and floret make them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.members import Whole
from vecstore.codecs.tables.features import key_texts
from vecstore.codecs.tables.hashed_table import HashedTable, TrainedHashedTable
from vecstore.codecs.tables.incidence import Incidence, check_ngrams, few
from vecstore.codecs.tables.subword_hashes import word_ids
from vecstore.codecs.tables.table import Law
from vecstore.errors import CodecError
from vecstore.kernels import entries
from vecstore.keys.packed import PackedKeys

__all__ = ["END_OF_SENTENCE", "FastText", "Floret", "TrainedSubwords"]

END_OF_SENTENCE = b"</s>"  # fastText gives it no n-grams


@dataclass(frozen=True)
class Floret(HashedTable):
    """Represent a word by the mean of entries that the word and its character n-grams pick from one table.

    Boyd & Warmerdam, floret: lightweight, robust word vectors (Explosion, 2022). A word stands between ``<`` and
    ``>``; it and each of its n-grams pick 1 to 4 entries by the 32-bit pieces of a MurmurHash3. Rows have no bytes of
    their own, and unknown words have vectors too. What floret trained is imported exactly; fitted here, the table is
    the one of least squared error.
    """

    entries: Annotated[int, Whole(1)]
    least: Annotated[int, Whole(0, 64)] = 4
    most: Annotated[int, Whole(0, 64)] = 5
    hashes: Annotated[int, Whole(1, 4)] = 2
    seed: Annotated[int, Whole(0, 2**32 - 1)] = 2166136261

    name = "floret"
    summary = "T table entries shared by character n-grams, as floret has them"
    usage = "floret:T or floret:T:MIN:MAX:HASHES:SEED, such as floret:50000:4:5:2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise CodecError(f"{self}: n-grams of {self.least} to {self.most} characters: {self.usage}")

    def trained(self, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> TrainedSubwords:
        return TrainedSubwords(self, table, by_key, facts=facts)


@dataclass(frozen=True)
class FastText(HashedTable):
    """Represent a word by the mean of a vector of its own and of entries that its character n-grams pick from a table.

    Bojanowski, Grave, Joulin & Mikolov, Enriching word vectors with subword information, TACL 2017. The word's own
    vector is its code, in float32; words without one are the mean of their n-grams alone. What fastText trained is
    imported exactly; fitted here, the table is the one of least squared error and the codes hold what is left.
    """

    entries: Annotated[int, Whole(1)]
    least: Annotated[int, Whole(0, 64)] = 3
    most: Annotated[int, Whole(0, 64)] = 6

    name = "fasttext"
    summary = "a float32 vector a row and T entries shared by character n-grams, as fastText has them"
    is_base = False
    lossless = True
    usage = "fasttext:T or fasttext:T:MIN:MAX, such as fasttext:2000000:3:6"

    def law(self, total: int, dimensions: int) -> Law | None:
        return None

    def trained(self, table: Floats, by_key: bool, facts: dict[str, Any] | None = None) -> TrainedSubwords:
        return TrainedSubwords(self, table, by_key, facts=facts)


class TrainedSubwords(TrainedHashedTable):
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

    mean = True

    def __init__(
        self,
        spec: Floret | FastText,
        table: Floats,
        by_key: bool,
        *,
        own: Floats | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(table, by_key, facts)
        self._spec, self._own = spec, own
        self._has_own = isinstance(spec, FastText)
        self.code_bytes = 4 * self.dimensions if self._has_own else 0
        self.ngram_lengths = max(spec.most - spec.least + 1, 0)

    def incidence(self, keys: PackedKeys) -> Incidence:
        """Return the entries that keys take, in the order in which the libraries add them."""
        check_ngrams(keys, self.ngram_lengths)
        spec, words = self._spec, _marked(keys, whole_sentence=not self._has_own)
        hashes, seed = (0, 0) if isinstance(spec, FastText) else (spec.hashes, spec.seed)
        options = (spec.least, spec.most, spec.entries, hashes, seed, not self._has_own)
        if few(len(keys), len(words.text) * self.ngram_lengths):
            text, edges = words.text.tobytes(), pairwise(words.starts.tolist())
            lists = [word_ids(text[low:high], *options) for low, high in edges]
            indptr = np.concatenate([[0], np.cumsum([len(own) for own in lists], dtype=np.int64)])
            return Incidence(indptr, np.array([i for own in lists for i in own], np.int64))
        counts = np.empty(len(keys), np.int64)
        size = entries.subword_ids(words.text, words.starts, *options, counts, np.empty(0, np.int64))
        indices = np.empty(size, np.int64)
        entries.subword_ids(words.text, words.starts, *options, counts, indices)
        return Incidence(np.concatenate([[0], np.cumsum(counts)]), indices)

    def encode_rows(self, z: Floats, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Codes:
        if not self._has_own:
            return super().encode_rows(z, rows, keys)
        if self._own is not None:
            own = self._own[rows]
        else:
            incidence = self.incidence(self.keys_of(rows, keys))
            own = z * (1 + incidence.counts)[:, None].astype(np.float32) - incidence.sums(self.table)
        return np.ascontiguousarray(own, "<f4").view(np.uint8).reshape(len(z), self.code_bytes)

    def decode_rows(self, codes: Codes, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Floats:
        if not self._has_own:
            return super().decode_rows(codes, rows, keys)
        # A row's own vector is added first: sums are taken in that order, as float32 keeps every rounding.
        own = np.ascontiguousarray(codes).view("<f4")
        return self.summed(self.keys_of(rows, keys), own)


def _marked(keys: PackedKeys, *, whole_sentence: bool) -> PackedKeys:
    """Return the keys between < and >; integers are written in decimals.

    Unless `whole_sentence`, the mark for the end of a sentence becomes empty: it has no n-grams in fastText.
    """
    integers = keys.integers
    words = key_texts(keys) if integers is None else [b"%d" % number for number in integers.tolist()]
    marked = [b"<" + word + b">" if whole_sentence or word != END_OF_SENTENCE else b"" for word in words]
    lengths = np.fromiter(map(len, marked), np.int64, len(marked))
    return PackedKeys.of_text(np.frombuffer(b"".join(marked), np.uint8), lengths, "bytes")
