"""What queries are made of: words and vectors, each with a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError
from vecstore.keys.kind import Key
from vecstore.words.vocabulary import Vocabulary

__all__ = ["Mixtures", "Query", "as_batch"]

Query: TypeAlias = Key | Floats | Mapping[Any, float]


@dataclass(frozen=True)
class Mixtures:
    """Queries, resolved. Those of query i are the terms from indptr[i] to indptr[i + 1].

    Attributes
    ----------
    indptr : (q + 1,) int64
    vectors : (t, d) float32
        Of length one, but where a word or a vector is the whole query.
    weights : (t,) float32
    rows : (t,) int64
        -1 for vectors, and for words that the store does not hold.
    """

    indptr: NDArray[np.int64]
    vectors: Floats
    weights: Floats
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, queries: Sequence[Query], vocabulary: Vocabulary, dimensions: int) -> Mixtures:
        """Resolve queries; those of which no word is known are left without terms."""
        words: list[Any] = []
        weights: list[float] = []
        places: list[int] = []  # the query of each word
        given: dict[int, Floats] = {}
        for number, query in enumerate(queries):
            if _is_vector(query):
                given[number] = as_vectors(np.atleast_2d(np.asarray(query)), dimensions)[0]
                continue
            own = _weighted(query)
            words += own
            weights += own.values()
            places += [number] * len(own)
        found = vocabulary.find(words)
        vectors, rows, of_query = found.vectors, found.rows, np.array(places, np.int64)
        own_weights = np.array(weights, np.float32)
        mixed = np.array([isinstance(queries[number], Mapping) for number in places], bool)
        if mixed.any():
            vectors = np.where(mixed[:, None], unit(vectors), vectors)
        if not found.kept.all():
            kept = found.kept
            vectors, rows, of_query, own_weights = vectors[kept], rows[kept], of_query[kept], own_weights[kept]
        if given:
            of_query = np.concatenate([of_query, np.array(list(given), np.int64)])
            order = np.argsort(of_query, kind="stable")
            vectors = np.concatenate([vectors, *(vector[None] for vector in given.values())])[order]
            own_weights = np.concatenate([own_weights, np.ones(len(given), np.float32)])[order]
            rows = np.concatenate([rows, np.full(len(given), -1)])[order]
        counts = np.bincount(of_query, minlength=len(queries))
        return cls(np.concatenate([[0], np.cumsum(counts)]), vectors, own_weights, rows)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which queries have terms: (q,)."""
        return np.diff(self.indptr) > 0

    @property
    def sums(self) -> Floats:
        """The queries as vectors: (q, d) float32, zeros for those without terms."""
        terms, known = self.vectors * self.weights[:, None], self.known
        if known.all() and len(terms) == len(known):
            return terms
        out = np.zeros((len(known), terms.shape[1]), np.float32)
        if known.any():
            out[known] = np.add.reduceat(terms, self.indptr[:-1][known], axis=0)
        return out

    @property
    def own_rows(self) -> list[NDArray[np.int64]]:
        """The rows of the words of each query."""
        edges = self.indptr.tolist()
        return [own[own >= 0] for own in (self.rows[a:b] for a, b in pairwise(edges))]


def as_batch(query: Any) -> tuple[list[Any], bool]:
    """Return queries as a list, and whether it was a single one: a list, or an array of several, is a batch."""
    if isinstance(query, np.ndarray):
        single = query.ndim == 0 or (query.ndim == 1 and query.dtype.kind == "f")
        return ([query] if query.ndim else [query.item()]) if single else list(query), single
    if isinstance(query, (list, tuple)):
        return list(query), False
    return [query], True


def _is_vector(query: Any) -> bool:
    return isinstance(query, np.ndarray) and query.ndim > 0


def _weighted(query: Any) -> dict[Any, float]:
    if not isinstance(query, Mapping):
        return {query: 1.0}
    if not query or not all(isinstance(weight, (int, float, np.number)) for weight in query.values()):
        raise OptionError(f"a mixture is {{word: weight, ...}} with numbers as weights, found {query!r:.80}")
    return {word: float(weight) for word, weight in query.items()}
