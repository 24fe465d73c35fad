"""A store of words: terms are what white space separates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.sentences.terms import Terms
from vecstore.words import Words

__all__ = ["WordTable"]


class WordTable:
    """Words, each at length one; those of no length, and unknown ones without a vector, count for nothing."""

    normalize = False

    def __init__(self, words: Words, weights: Floats | None) -> None:
        self._words, self._weights = words, weights

    def terms(self, texts: Sequence[str]) -> Terms:
        """Return the words of texts."""
        each = [text.split() for text in texts]
        distinct: dict[str, int] = {}
        places = np.array([distinct.setdefault(word, len(distinct)) for words in each for word in words], np.int64)
        counts = np.array([len(words) for words in each], np.int64)
        if not distinct:
            return Terms(
                np.zeros(len(each) + 1, np.int64), places, np.empty((0, self._words.store.dimensions), np.float32)
            )
        vectors = unit(self._words.lookup(list(distinct)).vectors)
        counted = np.asarray(vectors.any(axis=1))[places]
        counts = np.bincount(np.repeat(np.arange(len(each)), counts)[counted], minlength=len(each))
        if self._weights is not None:
            rows = self._words.rows_of(list(distinct))
            vectors[rows >= 0] *= self._weights[rows[rows >= 0]][:, None]
        return Terms(np.concatenate([[0], np.cumsum(counts)]), places[counted], vectors)
