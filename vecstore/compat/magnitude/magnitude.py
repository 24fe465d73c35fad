"""`Magnitude` on a store, and on none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vecstore
from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.compat.magnitude.concatenated import ConcatenatedMagnitude
from vecstore.compat.magnitude.drawn import drawn_number, drawn_text, feature_dimensions
from vecstore.errors import OptionError
from vecstore.search.result import SearchResult
from vecstore.store.store import Store
from vecstore.words.combining import by_products
from vecstore.words.mixtures import Mixtures
from vecstore.words.ngrams import NgramVectors
from vecstore.words.padding import padded
from vecstore.words.words import Words

__all__ = ["FeaturizerMagnitude", "Magnitude"]

SHARE = 0.7  # of the words that are spelt like an unknown one; the rest is drawn
MADE = 1000  # vectors of unknown words that are kept
CLOSER = 1e-5  # by which more a key has to score to be closer
AT_ONCE = 8192  # rows that are read together


class Magnitude:
    """Magnitude's class, on a store.

    Names, defaults and results are those of Magnitude. What has to do with its file has no meaning here, and is taken
    without effect: `stream`, `stream_options`, `lazy_loading`, `blocking`, `supress_warnings`, `eager`, `language`,
    `devices`, `temp_dir` and `log`. Given other Magnitude objects, it is a `ConcatenatedMagnitude`.

    Parameters
    ----------
    path : path, or Store
    normalized : bool, optional
        Vectors have length one; True by default.
    use_numpy : bool
        Vectors are arrays, not lists.
    case_insensitive : bool
        A key stands for the first one that agrees but for case, and results have one spelling of each.
    pad_to_length, truncate_left, pad_left
        Of lists of keys, as in `query`.
    placeholders : int
        Zeros behind every vector.
    ngram_oov : bool, optional
        What is drawn for unknown keys is drawn for their n-grams; True by default.
    batch_size : int
        Rows of `get_vectors_mmap_batch_generator`.
    dtype
        Of vectors.

    Examples
    --------
    >>> vectors = Magnitude("words.vecs")  # doctest: +SKIP
    >>> vectors.most_similar(positive=["king", "woman"], negative=["man"], topn=1)  # doctest: +SKIP
    [('queen', 0.8523604)]
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Magnitude):
            return ConcatenatedMagnitude(*args, **kwargs)
        return super().__new__(cls)

    def __init__(  # noqa: PLR0913 - as in Magnitude
        self,
        path: str | Path | Store | None,
        stream: bool = False,
        stream_options: Any = None,
        lazy_loading: int = 0,
        blocking: bool = False,
        normalized: bool | None = None,
        use_numpy: bool = True,
        case_insensitive: bool = False,
        pad_to_length: int | None = None,
        truncate_left: bool = False,
        pad_left: bool = False,
        placeholders: int = 0,
        ngram_oov: bool | None = None,
        supress_warnings: bool = False,
        batch_size: int = 3_000_000,
        eager: bool | None = None,
        language: str | None = "en",
        dtype: Any = np.float32,
        devices: Any = (),
        temp_dir: Any = None,
        log: bool | None = None,
        _namespace: str | None = None,
        _number_of_values: int = 1_000_000,
    ) -> None:
        self._own = isinstance(path, (str, Path))
        self.store = vecstore.open(path) if isinstance(path, (str, Path)) else path
        self.path = ":memory:" if self.store is None else self.store.path
        self.normalized = True if normalized is None else normalized
        self.ngram_oov = True if ngram_oov is None else ngram_oov
        self.use_numpy, self.case_insensitive, self.placeholders = use_numpy, case_insensitive, placeholders
        self.pad_to_length, self.truncate_left, self.pad_left = pad_to_length, truncate_left, pad_left
        self.batch_size, self.dtype, self.closed = batch_size, dtype, False
        self.length = 0 if self.store is None else len(self.store)
        self.emb_dim = feature_dimensions(_number_of_values) if self.store is None else self.store.dimensions
        self.dim = self.emb_dim + placeholders
        self._namespace = _namespace
        self._words = None if self.store is None else Words(self.store, fold_case=case_insensitive)
        self._ngrams = None if self.store is None or self.store.key_type != "str" else NgramVectors(self.store)
        whole = self.store is None or len(self.store) == len(self.store.vectors)
        self._living = None if whole or self.store is None else np.asarray(self.store.living_rows)
        self._unknown = lru_cache(MADE, typed=True)(self._made)

    # Vectors

    def query(
        self,
        q: Any,
        pad_to_length: int | None = None,
        pad_left: bool | None = None,
        truncate_left: bool | None = None,
        normalized: bool | None = None,
    ) -> Any:
        """Return the vector of a key (d,), of a list of keys (n, d), or of a list of such lists (m, longest, d)."""
        normalized = self.normalized if normalized is None else normalized

        def mixtures(keys: list[Any]) -> Mixtures:
            count = np.arange(len(keys) + 1)
            vectors = self._vectors(keys, normalized)
            return Mixtures(count, vectors, np.ones(len(keys), np.float32), np.full(len(keys), -1))

        if not isinstance(q, list):
            found = self._vectors([q], normalized)[0]
        else:
            found = padded(
                q,
                mixtures,
                pad_to=pad_to_length or self.pad_to_length,
                pad_left=bool(pad_left or self.pad_left),
                truncate_left=bool(truncate_left or self.truncate_left),
            )
        return found.astype(self.dtype, copy=False) if self.use_numpy else found.tolist()

    def index(self, q: Any, return_vector: bool = True) -> Any:
        """Return the key of a row with its vector, or without; of several rows a list. Raises `IndexError`."""
        single = isinstance(q, (int, np.integer))
        rows: list[int] = [q] if single else list(q)
        found: list[Any] = list(self._at(rows)) if return_vector else [self._key_of(row) for row in rows]
        return found[0] if single else found

    def __getitem__(self, q: Any) -> Any:
        return self.index(list(range(*q.indices(self.length))) if isinstance(q, slice) else q)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, self.length, AT_ONCE):
            yield from self._at(range(start, min(start + AT_ONCE, self.length)))

    def __len__(self) -> int:
        return self.length

    def __contains__(self, key: Any) -> bool:
        return bool(self._rows_of([key])[0] >= 0)

    def get_vectors_mmap(self, log: bool = True) -> NDArray[Any]:
        """Return all vectors, (n, dim), decoded anew at each call."""
        batches = [batch for _, _, batch in self.get_vectors_mmap_batch_generator()]
        return np.concatenate([np.zeros((0, self.dim), self.dtype), *batches])

    def get_vectors_mmap_batch_generator(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield all vectors in parts: the first row, the end, and the vectors (n, dim)."""
        for start in range(0, self.length, self.batch_size):
            end = min(start + self.batch_size, self.length)
            rows = self._living[start:end] if self._living is not None else slice(start, end)
            yield start, end, self._stored(rows, self.normalized).astype(self.dtype, copy=False)

    def unroll(self, v: Any) -> Any:
        """Return a vector as it is; only language models are put together of parts."""
        return v

    def close(self) -> None:
        """Let go of the file, if it was opened by its path."""
        self.closed = True
        if self.store is not None and self._own:
            self.store.close()

    # Comparisons

    def distance(self, key: Any, q: Any) -> Any:
        """Return the Euclidean distance of a key, or a vector, from another, or a list of those from several."""
        a, single = self._term(key, self.normalized), not isinstance(q, list)
        found = [np.linalg.norm(a - self._term(each, self.normalized)) for each in ([q] if single else q)]
        return found[0] if single else found

    def similarity(self, key: Any, q: Any) -> Any:
        """Return the cosine of a key, or a vector, and another, or a list of those with several."""
        a, single = unit(self._term(key, True)), not isinstance(q, list)
        found = [np.float32(a @ unit(self._term(each, True))) for each in ([q] if single else q)]
        return found[0] if single else found

    def most_similar_to_given(self, key: Any, q: list[Any]) -> Any:
        """Return the key of a list that is nearest to another."""
        return q[int(np.argmax(self.similarity(key, q)))]

    def doesnt_match(self, q: list[Any]) -> Any:
        """Return the key that is least similar to the mean of all; the first of equals."""
        vectors = unit(np.array([self._term(each, True) for each in q]))
        return q[int(np.argmin(vectors @ vectors.mean(axis=0)))]

    def most_similar(
        self,
        positive: Any,
        negative: Any = (),
        topn: int | None = 10,
        min_similarity: float | None = None,
        return_similarities: bool = True,
    ) -> list[Any]:
        """Return the keys of largest cosine with a sum of keys and vectors, and the cosines: a list of pairs.

        Parameters
        ----------
        positive, negative : key, vector, or list of these
        topn : int or None
            None for all.
        min_similarity : float, optional
            Leave out keys that score less.
        return_similarities : bool
            False: return the keys alone.
        """
        vectors, weights, own = self._terms(positive, negative)
        query = weights @ vectors

        def best(k: int) -> SearchResult:
            assert self._words is not None
            return self._words.nearest(query, k, min_score=min_similarity, exclude=[])

        return self._results(best, own, topn, return_similarities)

    def most_similar_cosmul(
        self,
        positive: Any,
        negative: Any = (),
        topn: int | None = 10,
        min_similarity: float | None = None,
        return_similarities: bool = True,
    ) -> list[Any]:
        """Return the best keys by 3CosMul (Levy & Goldberg, 2014), as `most_similar`."""
        vectors, weights, own = self._terms(positive, negative)
        terms = Mixtures(np.array([0, len(weights)]), vectors, weights, np.full(len(weights), -1))

        def best(k: int) -> SearchResult:
            assert self.store is not None
            return by_products(self.store, terms, k, None, min_similarity).each()[0]

        return self._results(best, own, topn, return_similarities)

    def most_similar_approx(
        self,
        positive: Any,
        negative: Any = (),
        topn: int | None = 10,
        min_similarity: float | None = None,
        return_similarities: bool = True,
        effort: float = 1.0,
    ) -> list[Any]:
        """Return what `most_similar` does: there is no index to be approximate."""
        return self.most_similar(positive, negative, topn, min_similarity, return_similarities)

    def closer_than(self, key: Any, q: Any, topn: int | None = None) -> list[Any]:
        """Return all keys that are closer to `key` than `q` is, best first."""
        least = float(self.similarity(key, q)) + CLOSER
        return self.most_similar(key, topn=topn, min_similarity=least, return_similarities=False)

    # What these stand on

    def _folded(self, key: Any) -> Any:
        return key.lower() if self.case_insensitive and isinstance(key, str) else key

    def _rows_of(self, keys: Sequence[Any]) -> NDArray[np.int64]:
        """Return the row of each key, -1 for unknown ones and for keys of another type."""
        if self._words is None or self.store is None:
            return np.full(len(keys), -1)
        kind: Any = {"str": str, "bytes": bytes}.get(str(self.store.key_type), (int, np.integer))
        there = np.array([isinstance(key, kind) for key in keys], bool)
        rows = np.full(len(keys), -1)
        if there.any():
            rows[there] = self._words.rows_of([key for key, good in zip(keys, there.tolist(), strict=True) if good])
        return rows

    def _stored(self, rows: Any, normalized: bool) -> Floats:
        assert self.store is not None
        vectors = self.store.vectors[rows]
        return np.pad(unit(vectors) if normalized else vectors, [(0, 0), (0, self.placeholders)])

    def _vectors(self, keys: Sequence[Any], normalized: bool) -> Floats:
        """Return the vectors of keys, (n, dim) float32, known or not."""
        rows = self._rows_of(keys)
        out = np.zeros((len(keys), self.dim), np.float32)
        if (rows >= 0).any():
            out[rows >= 0] = self._stored(rows[rows >= 0], normalized)
        for at in np.flatnonzero(rows < 0).tolist():
            out[at, : self.emb_dim] = self._unknown(keys[at], normalized)
        return out

    def _made(self, key: Any, normalized: bool) -> Floats:
        """Return the vector of an unknown key: (d,)."""
        if not isinstance(key, str):
            return drawn_number(key, self.emb_dim, self._namespace)
        folded = self._folded(key)
        drawn = drawn_text(folded, self.emb_dim, self._namespace, ngrams=self.ngram_oov)
        vector = (1 - SHARE) * drawn / np.linalg.norm(drawn)
        if self._ngrams is not None:
            vector = vector + SHARE * self._ngrams.mean(self._ngrams.neighbours(folded)[0])
        return np.asarray(vector / np.linalg.norm(vector) if normalized else vector, np.float32)

    def _term(self, value: Any, normalized: bool) -> Floats:
        """Return a key's vector, or a vector that is given as array or list of numbers."""
        if isinstance(value, np.ndarray) or (isinstance(value, list) and value and isinstance(value[0], Number)):
            return np.asarray(value, np.float32)
        return self._vectors([value], normalized)[0]

    def _terms(self, positive: Any, negative: Any) -> tuple[Floats, Floats, list[Any]]:
        """Return vectors (t, d), weights (t,) of 1 and -1, and those of the terms that are keys."""
        sides = [_listed(positive), _listed(negative)]
        if not sides[0] and not sides[1]:
            raise OptionError("most_similar needs a key or a vector")
        if self.store is None:
            raise OptionError("a FeaturizerMagnitude holds no keys to be found")
        terms = list(chain(*sides))
        keys = [term for term in terms if not isinstance(term, (np.ndarray, list))]
        vectors = np.array([self._term(term, True) for term in terms])[:, : self.emb_dim]
        return vectors, np.repeat(np.array([1, -1], np.float32), list(map(len, sides))), keys

    def _results(
        self, best: Callable[[int], SearchResult], own: Sequence[Any], topn: int | None, with_scores: bool
    ) -> list[Any]:
        """Return the first keys that are none of the query's, one of each spelling."""
        wanted = self.length if topn is None else topn
        k = min(wanted + len(own), self.length)
        while True:
            found, results = best(max(k, 1)), list[Any]()
            seen = {self._folded(key) for key in own}
            for key, score in found:
                if self._folded(key) not in seen and len(results) < wanted:
                    seen.add(self._folded(key))
                    results.append((key, score) if with_scores else key)
            if len(results) == wanted or len(found) < k or k == self.length:
                return results
            k = min(2 * k, self.length)  # other spellings took the places

    def _key_of(self, row: int) -> Any:
        if self.store is None:
            raise IndexError(f"row {row} of a FeaturizerMagnitude, which has none")
        return self.store.key_of(row if self._living is None else int(self._living[row]))

    def _at(self, rows: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        keys = list(map(self._key_of, rows))
        numbers = np.array(rows) if self._living is None else self._living[rows]
        vectors = self._stored(numbers, self.normalized).astype(self.dtype, copy=False)
        return zip(keys, vectors if self.use_numpy else vectors.tolist(), strict=True)


class FeaturizerMagnitude(Magnitude):
    """Draws a vector for any value of a feature, such as a part of speech; the same for the same value.

    Parameters
    ----------
    number_of_values : int
        About how many values the feature has at most; that decides the dimensions.
    namespace : str, optional
        Of the feature: two features draw other vectors for the same value.
    **kwargs
        As for `Magnitude`.
    """

    def __init__(self, number_of_values: int = 1_000_000, namespace: str | None = None, **kwargs: Any) -> None:
        self.namespace = namespace
        super().__init__(None, _number_of_values=number_of_values, _namespace=namespace, **kwargs)


def _listed(value: Any) -> list[Any]:
    """Return keys and vectors as a list; a list of numbers is one vector."""
    if isinstance(value, (list, tuple)) and not (value and isinstance(value[0], Number)):
        return list(value)
    return [value]
