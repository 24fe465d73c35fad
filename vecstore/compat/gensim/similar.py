"""Which keys are similar, as `KeyedVectors` says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.compat.gensim.rows import KEYS, KeyedRows, is_vector
from vecstore.errors import OptionError
from vecstore.words.combining import products
from vecstore.words.mover import mover_distance

__all__ = ["SimilarKeys"]


class SimilarKeys(KeyedRows):
    """The part of `KeyedVectors` that compares keys and vectors."""

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        indexer: Any = None,
    ) -> Any:
        """Return the keys of largest cosine with the mean of keys and vectors, and the cosines: a list of pairs.

        Parameters
        ----------
        positive, negative : key, vector, or list of keys, vectors and pairs (key or vector, weight)
        topn : int or None
            None: return the cosines of all keys, an array by position.
        clip_start, clip_end : int
            Only these positions may be found.
        restrict_vocab : int, optional
            Only so many first positions may be found.
        indexer : object, optional
            Its `most_similar(vector, topn)` answers instead.
        """
        if isinstance(topn, Integral) and topn < 1:
            return []
        mean, own = self._mean(as_list(positive), as_list(negative))
        if indexer is not None and isinstance(topn, int):
            return indexer.most_similar(mean, topn)
        bounds = (0, restrict_vocab) if restrict_vocab else (clip_start, clip_end or len(self))
        start, stop, _ = slice(*bounds).indices(len(self))
        if not topn:
            return self._rows.scores(mean)[start:stop]
        positions, scores = self._rows.best(mean[None], int(topn) + len(own), start, stop)
        return self._pairs(positions[0], scores[0], own, int(topn))

    def similar_by_word(self, word: Any, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Return the keys nearest to one, as `most_similar`."""
        return self.most_similar(positive=[word], topn=topn, restrict_vocab=restrict_vocab)

    similar_by_key = similar_by_word

    def similar_by_vector(self, vector: Floats, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Return the keys nearest to a vector, as `most_similar`."""
        return self.most_similar(positive=[vector], topn=topn, restrict_vocab=restrict_vocab)

    def most_similar_cosmul(
        self, positive: Any = None, negative: Any = None, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """Return the best keys by 3CosMul (Levy & Goldberg, 2014), as `most_similar`."""
        if isinstance(topn, Integral) and topn < 1:
            return []
        positive, negative = as_list(positive), as_list(negative)
        if not positive:
            raise OptionError("most_similar_cosmul needs a positive key or vector")
        terms = [*positive, *negative]
        similar = [(1 + self._rows.scores(each if is_vector(each) else self.get_vector(each))) / 2 for each in terms]
        weights = np.array([1] * len(positive) + [-1] * len(negative), np.float32)
        scores = products(np.array(similar), weights)[: restrict_vocab or None]
        if not topn:
            return scores
        own = [self.get_index(each) for each in terms if not is_vector(each)]
        best = np.argsort(-scores, kind="stable")[: int(topn) + len(own)]
        return self._pairs(best, scores[best], own, int(topn))

    def most_similar_to_given(self, key1: Any, keys_list: Sequence[Any]) -> Any:
        """Return the key of a list that is nearest to another."""
        return keys_list[int(np.argmax([self.similarity(key1, key) for key in keys_list]))]

    def closer_than(self, key1: Any, key2: Any) -> list[Any]:
        """Return all keys that are closer to `key1` than `key2` is, in the order in which they stand."""
        scores = self._rows.scores(self.get_vector(key1))
        closer = np.flatnonzero(scores > scores[self.get_index(key2)])
        return self._rows.keys(closer[closer != self.get_index(key1)])

    words_closer_than = closer_than

    def rank(self, key1: Any, key2: Any) -> int:
        """Return which neighbour of `key1` the key `key2` is: 1 for the nearest."""
        scores = self._rows.scores(self.get_vector(key1))
        closer = scores > scores[self.get_index(key2)]
        return int(closer.sum()) - int(closer[self.get_index(key1)]) + 1

    def rank_by_centrality(self, words: Sequence[Any], use_norm: bool = True) -> list[tuple[float, Any]]:
        """Return (cosine with the mean of all, key), best first; keys that are not here are left out."""
        used = [word for word in words if word in self]
        if not used:
            raise OptionError(f"none of the keys {list(words)!r:.80} is present")
        vectors = self[used]
        vectors = unit(vectors) if use_norm else vectors
        scores = vectors @ self.get_mean_vector(vectors, post_normalize=True)
        return sorted(zip(scores, used, strict=True), reverse=True)

    def doesnt_match(self, words: Sequence[Any]) -> Any:
        """Return the key that is least similar to the mean of all; of equals, the last one by the alphabet first."""
        return self.rank_by_centrality(words)[-1][1]

    # Similarities

    def similarity(self, w1: Any, w2: Any) -> np.float32:
        """Return the cosine of two keys."""
        a, b = self.get_vector(w1).astype(np.float64), self.get_vector(w2).astype(np.float64)
        lengths = np.sqrt((a @ a) * (b @ b))
        return np.float32(a @ b / lengths if lengths else 0)

    def distance(self, w1: Any, w2: Any) -> np.float32:
        """Return 1 - `similarity`."""
        return np.float32(1) - self.similarity(w1, w2)

    def distances(self, word_or_vector: Any, other_words: Sequence[Any] = ()) -> Floats:
        """Return 1 - cosine of a key or vector and other keys, or all: (n,) float32."""
        vector = word_or_vector if is_vector(word_or_vector) else self.get_vector(word_or_vector)
        if not other_words:
            return 1 - self._rows.scores(np.asarray(vector, np.float32))
        return 1 - self.cosine_similarities(vector, self[other_words])

    @staticmethod
    def cosine_similarities(vector_1: Floats, vectors_all: Floats) -> Floats:
        """Return the cosines of a vector (d,) and others (n, d): (n,) float32."""
        return unit(vectors_all) @ unit(vector_1)

    def n_similarity(self, ws1: Sequence[Any], ws2: Sequence[Any]) -> np.float32:
        """Return the cosine of the means of two lists of keys."""
        if not (len(ws1) and len(ws2)):
            raise ZeroDivisionError("one of the lists is empty")
        means = [self.get_mean_vector(each, pre_normalize=False, post_normalize=True) for each in (ws1, ws2)]
        return np.float32(means[0] @ means[1])

    def relative_cosine_similarity(self, wa: Any, wb: Any, topn: int = 10) -> float:
        """Return the cosine of two keys over the sum of those of the first one's nearest (Leeuwenberg et al., 2016)."""
        nearest = self.similar_by_word(wa, topn)
        if not nearest:
            raise OptionError("relative_cosine_similarity needs topn=1 or more")
        return float(self.similarity(wa, wb)) / sum(score for _, score in nearest)

    def wmdistance(self, document1: Sequence[str], document2: Sequence[str], norm: bool = True) -> float:
        """Return the word mover's distance of two texts (Kusner et al., 2015), by the library POT.

        Infinity where a text has no word that is here.
        """
        counts = [Counter(word for word in document if word in self) for document in (document1, document2)]
        if not all(counts):
            return float("inf")
        vectors = [self[list(each)] for each in counts]
        shares = [np.array(list(each.values())) / each.total() for each in counts]
        a, b = map(unit, vectors) if norm else vectors
        return mover_distance(a, b, shares[0], shares[1], relaxed=False)

    def _mean(self, positive: list[Any], negative: list[Any]) -> tuple[Floats, list[int]]:
        """Return the mean of keys and vectors at length one, and the positions of the keys."""
        items = [*((each, 1.0) for each in positive), *((each, -1.0) for each in negative)]
        terms = [each if not isinstance(each[0], tuple) else each[0] for each in items]
        keys = [key for key, _ in terms]
        mean = self.get_mean_vector(keys, [weight for _, weight in terms], post_normalize=True, ignore_missing=False)
        return mean, [int(self.get_index(key)) for key in keys if not is_vector(key)]

    def _pairs(
        self, positions: NDArray[np.int64], scores: Floats, own: list[int], topn: int
    ) -> list[tuple[Any, float]]:
        """Return the best keys and their scores, without a query's own and without what was not found."""
        kept = ~np.isin(positions, [*own, -1])
        keys = self._rows.keys(positions[kept][:topn])
        return list(zip(keys, scores[kept][:topn].astype(np.float64).tolist(), strict=True))


def as_list(value: Any) -> list[Any]:
    """Return what may be a single key or vector, a list of them, an array of vectors, or nothing, as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, KEYS) or (is_vector(value) and value.ndim == 1) else list(value)
