"""A store of an imported fastText model: terms are words, and the runs of words that it has vectors of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.tables.subword import END_OF_SENTENCE, FastText, TrainedSubwords
from vecstore.codecs.tables.subword_hashes import fnv1a
from vecstore.errors import OptionError
from vecstore.keys.packed import PackedKeys
from vecstore.sentences.terms import Terms
from vecstore.words import Words

__all__ = ["GramTable"]

MULTIPLIER, M64 = 116049371, (1 << 64) - 1  # of fastText's hash of several words
END = END_OF_SENTENCE.decode()


class GramTable:
    """Words and word n-grams of up to so many words, as fastText's classifiers add them up.

    Joulin, Grave, Bojanowski & Mikolov, Bag of tricks for efficient text classification, EACL 2017. A word counts with
    its own vector and those of its character n-grams, one each. A run of two words and more picks an entry of the table
    by a hash of its words' hashes. The mark for the end of a sentence is the last word, where the model knows it.
    """

    normalize = False

    def __init__(self, words: Words, longest: int) -> None:
        quantizer = words.store.codec.layers[0].quantizer
        if (
            not isinstance(quantizer, TrainedSubwords)
            or words.store.codec.layers[0].spec.quantizer.name != FastText.name
        ):
            raise OptionError(
                f"ngrams= needs an imported fastText model; {words.store.path} is {words.store.codec.spec}"
            )
        if not isinstance(longest, (int, np.integer)) or longest < 1:
            raise OptionError(f"ngrams is a number of words, 1 and more, found {longest!r}")
        self._words, self._longest, self._quantizer = words, int(longest), quantizer
        self._end = [END] if END in words.store else []

    def terms(self, texts: Sequence[str]) -> Terms:
        """Return the words of texts, and the entries that runs of them pick, which come behind the words."""
        each = [[*text.split(), *self._end] for text in texts]
        distinct = {word: place for place, word in enumerate(dict.fromkeys(word for words in each for word in words))}
        vectors, counts = self._of_words(list(distinct))
        hashes = {word: _signed(fnv1a(word.encode())) for word in distinct}
        picked: dict[int, int] = {}  # entry of the table -> place
        lists = [
            [distinct[word] for word in words]
            + [
                picked.setdefault(entry, len(distinct) + len(picked))
                for entry in _runs([hashes[word] for word in words], self._longest, len(self._quantizer.table))
            ]
            for words in each
        ]
        indptr = np.concatenate([[0], np.cumsum([len(own) for own in lists], dtype=np.int64)])
        places = np.array([place for own in lists for place in own], np.int64)
        entries = self._quantizer.table[np.array(list(picked), np.int64)]
        return Terms(
            indptr,
            places,
            np.concatenate([vectors, entries]),
            np.concatenate([counts, np.ones(len(entries), np.int64)]),
        )

    def _of_words(self, words: list[str]) -> tuple[Floats, NDArray[np.int64]]:
        """Return the sum of each word's vectors (n, d), and how many they are (n,): none where it is left out."""
        if not words:
            return np.empty((0, self._words.store.dimensions), np.float32), np.empty(0, np.int64)
        found = self._words.lookup(words)
        counts = self._quantizer.incidence(PackedKeys(words, "str")).counts + found.known
        counts[~found.vectors.any(axis=1)] = 0
        return found.vectors * counts[:, None].astype(np.float32), counts


def _runs(hashes: list[int], longest: int, entries: int) -> list[int]:
    """Return the entry of each run of two words and more."""
    found = []
    for first in range(len(hashes)):
        hashed = hashes[first]
        for word in hashes[first + 1 : first + longest]:
            hashed = (hashed * MULTIPLIER + word) & M64
            found.append(hashed % entries)
    return found


def _signed(hashed: int) -> int:
    """Return 32 bits as fastText keeps them: with a sign, which fills the upper half of 64 bits."""
    return hashed - (1 << 32) if hashed >> 31 else hashed
