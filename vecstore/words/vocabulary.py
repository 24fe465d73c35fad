"""Words to rows and vectors, also those that the store does not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.errors import OptionError
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store
from vecstore.words.folding import FoldedKeys
from vecstore.words.ngrams import NgramVectors

__all__ = ["Found", "Unknown", "Vocabulary"]

Unknown: TypeAlias = Literal["raise", "skip", "store", "ngrams"] | Callable[[Any], Any]
CHOICES = ("raise", "skip", "store", "ngrams")


@dataclass(frozen=True)
class Found:
    """What became of words.

    Attributes
    ----------
    vectors : (n, d) float32
        Zeros where there is none.
    rows : (n,) int64
        -1 where the store does not hold the word.
    kept : (n,) bool
        Whether there is a vector.
    """

    vectors: Floats
    rows: NDArray[np.int64]
    kept: NDArray[np.bool_]


class Vocabulary:
    """The words of a store, and what is done about others; see `Words` for the parameters."""

    def __init__(self, store: Store, unknown: Unknown, *, fold_case: bool) -> None:
        if not callable(unknown) and unknown not in CHOICES:
            raise OptionError(f"unknown is {', '.join(CHOICES)} or a function of a word, found {unknown!r}")
        if (fold_case or unknown == "ngrams") and store.key_type != "str":
            what = "fold_case" if fold_case else 'unknown="ngrams"'
            raise OptionError(f"{what} needs keys that are strings; those of {store.path} are {store.key_type}")
        self._store, self._unknown, self._fold_case = store, unknown, fold_case

    def rows_of(self, words: Sequence[Any]) -> NDArray[np.int64]:
        """Return the row of each word, -1 where the store does not hold it: (n,)."""
        rows = self._store.rows_of(words)
        if self._fold_case and (rows < 0).any():
            missing = np.flatnonzero(rows < 0)
            asked = [words[at] for at in missing.tolist()]
            rows[missing] = self._folded.rows_of([word if isinstance(word, str) else "" for word in asked])
        return rows

    def find(self, words: Sequence[Any]) -> Found:
        """Return rows and vectors; raises `KeyNotFoundError` where unknown words are refused."""
        if not len(words):
            none = np.empty(0, np.int64)
            return Found(np.empty((0, self._store.dimensions), np.float32), none, none.astype(bool))
        rows = self.rows_of(words)
        known = np.asarray(rows >= 0)
        if known.all():
            return Found(self._store.vectors[rows], rows, known)
        vectors = np.zeros((len(words), self._store.dimensions), np.float32)
        vectors[known] = self._store.vectors[rows[known]]
        missing = np.flatnonzero(~known).tolist()
        kept = known.copy()
        made = self._made(list(dict.fromkeys(words[at] for at in missing)))
        for at in missing:
            vector = made[words[at]]
            if vector is not None:
                vectors[at], kept[at] = vector, True
        return Found(vectors, rows, kept)

    def _made(self, words: list[Any]) -> dict[Any, Floats | None]:
        """Return vectors of words that the store does not hold, None for those that are left out."""
        if self._unknown == "skip":
            return dict.fromkeys(words)
        if self._unknown == "ngrams":
            return {word: self._ngrams.vector(word) for word in words}
        if callable(self._unknown):
            return {word: self._checked(self._unknown(word)) for word in words}
        if self._unknown == "store":
            return dict(zip(words, self._store.lookup(words).vectors, strict=True))
        raise snapshot_of(self._store).not_found(*words)

    def _checked(self, vector: Any) -> Floats | None:
        return None if vector is None else as_vectors(np.atleast_2d(vector), self._store.dimensions)[0]

    @cached_property
    def _folded(self) -> FoldedKeys:
        return FoldedKeys(self._store)

    @cached_property
    def _ngrams(self) -> NgramVectors:
        return NgramVectors(self._store)
