"""`Words`: what is done with word vectors, on a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import KeyNotFoundError, OptionError
from vecstore.keys.kind import Key
from vecstore.search.result import SearchResult
from vecstore.store.handle import snapshot_of
from vecstore.store.snapshot import Lookup
from vecstore.store.store import Store
from vecstore.words.combining import by_products, result_of, without
from vecstore.words.mixtures import Mixtures, Query, as_batch
from vecstore.words.mover import mover_distance
from vecstore.words.padding import padded
from vecstore.words.vocabulary import Found, Unknown, Vocabulary

__all__ = ["Words"]


class Words:
    """A store whose keys are words, and whose vectors are compared by cosine.

    A query is a word, a vector, or a mixture ``{word: weight, ...}``, in which every word counts with length one. A
    list of queries is a batch.

    Parameters
    ----------
    store : Store
    unknown : {"raise", "skip", "store", "ngrams"} or function
        What becomes of words that the store does not hold. "raise": `KeyNotFoundError`. "skip": they are left out.
        "store": the codec makes their vectors, as in `Store.lookup`. "ngrams": vectors are made of the words that are
        spelt like them. A function takes the word and returns a (d,) vector, or None to leave it out.
    fold_case : bool
        A word that the store does not hold as it is written stands for the first row that agrees but for case.

    Raises
    ------
    OptionError
        `unknown` is none of these, or keys are no strings where folding or n-grams need them.

    Examples
    --------
    >>> words = Words(vecstore.open("words.vecs"), unknown="ngrams")  # doctest: +SKIP
    >>> words.nearest({"king": 1, "man": -1, "woman": 1}, 1).keys  # doctest: +SKIP
    ['queen']
    """

    def __init__(self, store: Store, *, unknown: Unknown = "raise", fold_case: bool = False) -> None:
        self.store = store
        self._vocabulary = Vocabulary(store, unknown, fold_case=fold_case)

    def __contains__(self, word: Any) -> bool:
        return bool(self._vocabulary.rows_of([word])[0] >= 0)

    def __len__(self) -> int:
        return len(self.store)

    def __repr__(self) -> str:
        return f"<Words of {self.store!r}>"

    # Vectors

    def vector(self, query: Query) -> Floats:
        """Return the vector of a query, (d,) float32: of a word as stored, of a mixture the weighted sum."""
        return self._sums([query])[0]

    def vectors(
        self,
        queries: Sequence[Any],
        *,
        pad_to: int | None = None,
        pad_left: bool = False,
        truncate_left: bool = False,
    ) -> Floats:
        """Return the vectors of a list of queries, (n, d) float32, or of lists of lists: (..., longest, d).

        Parameters
        ----------
        queries : list of queries, or of lists of them, nested equally deep
            Unknown ones that are left out leave no gap.
        pad_to : int, optional
            The length of each innermost list, instead of the longest one's: zeros are added, or words cut off.
        pad_left, truncate_left : bool
            Do so at the beginning, not at the end.
        """
        return padded(queries, self._mixtures, pad_to=pad_to, pad_left=pad_left, truncate_left=truncate_left)

    def lookup(self, words: Sequence[Key]) -> Lookup:
        """Return the vectors of words, (n, d) float32, and which of them the store holds, (n,) bool.

        Words that are left out have zeros.
        """
        found = self._vocabulary.find(words)
        return Lookup(found.vectors, np.asarray(found.rows >= 0))

    def rows_of(self, words: Sequence[Key]) -> NDArray[np.int64]:
        """Return the row of each word, -1 where the store does not hold it: (n,) int64."""
        return self._vocabulary.rows_of(words)

    def mean(self, words: Sequence[Key], weights: ArrayLike | None = None) -> Floats:
        """Return the mean of words at length one, (d,) float32, by weights (n,) whose sizes are made to sum to 1."""
        found, own = self._several(words, weights)
        total = float(np.abs(own).sum())
        if total == 0:
            raise OptionError("a mean needs a weight that is not 0")
        return np.asarray(own @ unit(found.vectors) / total, np.float32)

    # Pairs

    def similarity(self, a: Query | Sequence[Query], b: Query | Sequence[Query]) -> Any:
        """Return the cosine of two queries, a float; of a list, one each: (m,) float32, or (n, m) of two lists."""
        (left, a_single), (right, b_single) = as_batch(a), as_batch(b)
        found = unit(self._sums(left)) @ unit(self._sums(right)).T
        if a_single and b_single:
            return float(found[0, 0])
        return found[0] if a_single else found[:, 0] if b_single else found

    def distance(self, a: Query | Sequence[Query], b: Query | Sequence[Query]) -> Any:
        """Return 1 - `similarity`."""
        return 1 - self.similarity(a, b)

    def n_similarity(self, a: Sequence[Key], b: Sequence[Key]) -> float:
        """Return the cosine of the means of two lists of words."""
        return float(unit(self.mean(a)) @ unit(self.mean(b)))

    def mover_distance(self, a: Sequence[Key], b: Sequence[Key], *, relaxed: bool = True) -> float:
        """Return the word mover's distance of two texts, lists of words (Kusner et al., 2015): 0 to 2.

        A word weighs as often as it comes; the way between two is the Euclidean distance of their unit vectors.

        Parameters
        ----------
        a, b : list of words
        relaxed : bool
            A lower bound, at once. The exact distance needs the library POT, and the time of a transport problem.
        """
        (a_vectors, a_shares), (b_vectors, b_shares) = self._text(a), self._text(b)
        return mover_distance(a_vectors, b_vectors, a_shares, b_shares, relaxed=relaxed)

    # Neighbours

    def nearest(
        self,
        query: Query | Sequence[Query],
        k: int = 10,
        *,
        among: Sequence[Key] | None = None,
        first: int | None = None,
        min_score: float | None = None,
        combine: Literal["add", "mul"] = "add",
        exclude: Sequence[Key] | None = None,
    ) -> SearchResult:
        """Find the k words of largest cosine with a query, or with each of a batch.

        Parameters
        ----------
        query : query, or list of queries
        k : int
        among : list of words, optional
            Which may be found.
        first : int, optional
            Only the first rows may be found: the most frequent words, in most tables.
        min_score : float, optional
            Leave out words that score less.
        combine : {"add", "mul"}
            Of a mixture: the cosine with the sum, or 3CosMul (Levy & Goldberg, 2014), which multiplies similarities
            of positive weights and divides by the others.
        exclude : list of words, optional
            Which may not be found; those of the query itself by default, [] for none.
        """
        if combine not in ("add", "mul"):
            raise OptionError(f'combine is "add" or "mul", found {combine!r}')
        queries, single = as_batch(query)
        mixtures, rows = self._known(queries), self._rows(among, first)
        if exclude is None:
            left_out = mixtures.own_rows
        else:
            excluded = np.asarray(self._vocabulary.rows_of(exclude)) if len(exclude) else np.empty(0, np.int64)
            left_out = [excluded[excluded >= 0]] * len(queries)
        if combine == "add" and (exclude is not None or len(queries) == 1):
            own = snapshot_of(self.store).own(left_out[0]) if queries and len(left_out[0]) else None
            asked = mixtures.sums[0] if single else mixtures.sums
            return self.store.search(asked, k, metric="cosine", rows=rows, min_score=min_score, exclude=own)
        deeper = k + max(map(len, left_out), default=0)
        if combine == "mul":
            found = by_products(self.store, mixtures, deeper, rows, min_score)
        else:
            found = self.store.search(mixtures.sums, deeper, metric="cosine", rows=rows, min_score=min_score)
        found = without(found, left_out, k)
        return found.each()[0] if single else found

    def rank(self, a: Query, b: Query) -> int:
        """Return which neighbour of `a` the word `b` is: 1 for the nearest."""
        return len(self._closer(a, b)[0]) + 1

    def closer(self, a: Query, b: Query) -> SearchResult:
        """Find all words that are closer to `a` than `b` is, best first."""
        rows, scores = self._closer(a, b)
        order = np.argsort(-scores, kind="stable")
        return result_of(self.store, rows[order][None], scores[order][None]).each()[0]

    def odd_one_out(self, words: Sequence[Key]) -> Key:
        """Return the word that is least similar to the mean of all; the first of equals."""
        found, _ = self._several(words, None)
        vectors = unit(found.vectors)
        return words[int(np.flatnonzero(found.kept)[np.argmin(vectors @ vectors.mean(axis=0))])]

    def _closer(self, a: Query, b: Query) -> tuple[NDArray[np.int64], Floats]:
        """Return the rows that score more for `a` than `b` does, and their scores."""
        given, other = self._known([a]), self._known([b])
        scores = self.store.scores(given.sums[0], metric="cosine")
        row = int(other.rows[0]) if len(other.rows) == 1 else -1
        least = scores[row] if row >= 0 else (unit(given.sums) @ unit(other.sums).T)[0, 0]
        scores[given.own_rows[0]] = -np.inf
        rows = np.flatnonzero(scores > least)
        return rows, scores[rows]

    def _mixtures(self, queries: Sequence[Query]) -> Mixtures:
        return Mixtures.of(queries, self._vocabulary, self.store.dimensions)

    def _known(self, queries: Sequence[Query]) -> Mixtures:
        """Resolve queries; raises `KeyNotFoundError` for one of which no word is known."""
        found = self._mixtures(queries)
        if not found.known.all():
            raise KeyNotFoundError(f"no word of the query {queries[int(np.argmin(found.known))]!r:.80} is known")
        return found

    def _sums(self, queries: Sequence[Query]) -> Floats:
        return self._known(queries).sums

    def _several(self, words: Sequence[Key], weights: ArrayLike | None) -> tuple[Found, Floats]:
        """Return what became of words, the vectors of those that are not left out alone, and their weights."""
        own = np.ones(len(words), np.float32) if weights is None else np.asarray(weights, np.float32)
        if own.shape != (len(words),):
            raise OptionError(f"{len(words)} words have as many weights, found {own.shape}")
        found = self._vocabulary.find(words)
        if not found.kept.any():
            raise KeyNotFoundError(f"none of the words {list(words)!r:.80} is known")
        return Found(found.vectors[found.kept], found.rows, found.kept), own[found.kept]

    def _text(self, words: Sequence[Key]) -> tuple[Floats, Floats]:
        """Return the unit vectors of the words of a text, and each one's share of it."""
        if isinstance(words, (str, bytes)):
            raise OptionError(f"a text is a list of words, found {words!r:.40}; give it split: {words!r:.40}.split()")
        counts = Counter(words)
        found, own = self._several(list(counts), list(counts.values()))
        return unit(found.vectors), own / own.sum()

    def _rows(self, among: Sequence[Key] | None, first: int | None) -> NDArray[np.int64] | None:
        """Return the rows that may be found; None for all."""
        if among is None and first is None:
            return None
        if first is not None and snapshot_of(self.store).numbering.order == "cells":
            raise OptionError("first: the rows of this store do not lie in the order of the dump; give among=")
        if first is not None and (not isinstance(first, (int, np.integer)) or first < 1):
            raise OptionError(f"first is a positive whole number of rows, found {first!r}")
        if among is None:
            return snapshot_of(self.store).own(np.arange(min(int(first or 0), len(self.store.vectors))))
        rows = self._vocabulary.rows_of(among)
        return rows[(rows >= 0) & (rows < (first or len(self.store.vectors)))]
