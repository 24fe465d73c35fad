"""Sparse rows as they are given: terms and weights, one row behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import ShapeError
from vecstore.fields.runs import spread, starts_of

__all__ = ["Entries", "as_entries", "as_queries", "entries_of"]

MOST_TERM = (1 << 32) - 1


class Entries(NamedTuple):
    """Sparse rows, as a matrix in CSR: row r has the entries indptr[r] to indptr[r + 1] - 1.

    Attributes
    ----------
    indptr : (n + 1,) int64
    terms : (entries,) uint32
        Ascending in each row.
    weights : (entries,) float32
    """

    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> Entries:
        """Return some rows, in this order."""
        counts = self.indptr[rows + 1] - self.indptr[rows]
        places = spread(self.indptr[rows], counts)
        return Entries(starts_of(counts), self.terms[places], self.weights[places])


def as_entries(given: Any) -> Entries:
    """Return what models give as sparse rows, without the weights that are 0.

    Parameters
    ----------
    given : sparse matrix or array (n, terms) of scipy, or n mappings of terms to weights
        Terms are whole numbers below 2**32, in mappings also as text, as BGE-M3's lexical weights are.

    Raises
    ------
    ShapeError
        Something else, a weight that is negative, NaN or infinite, or a term that comes twice in a row.
    """
    found = _entries(given)
    bad = np.flatnonzero(~(np.isfinite(found.weights) & (found.weights >= 0)))
    if len(bad):
        row = int(np.searchsorted(found.indptr, bad[0], side="right")) - 1
        raise ShapeError(f"row {row}: weights are numbers of 0 or more, found {found.weights[bad[0]]}")
    return found


def as_queries(given: Any) -> tuple[Entries, bool]:
    """Return queries, and whether one alone was given: a mapping, a matrix of one row, or several of either.

    Their weights may be negative, which rows' may not. Raises `ShapeError`.
    """
    single = isinstance(given, Mapping) or (hasattr(given, "tocsr") and len(given.shape) == 1)
    found = _entries([given] if isinstance(given, Mapping) else given)
    if not np.isfinite(found.weights).all():
        raise ShapeError("weights of a query are finite numbers")
    return found, single


def _entries(given: Any) -> Entries:
    if isinstance(given, Entries):
        return given
    if hasattr(given, "tocsr"):
        return _of_matrix(given)
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable) or isinstance(given, np.ndarray):
        raise ShapeError(
            f"sparse rows are a scipy matrix in CSR, or one mapping of terms to weights a row; found "
            f"{type(given).__name__}"
        )
    return _of_mappings(given)


def _of_matrix(given: Any) -> Entries:
    matrix = (given.reshape(1, -1) if len(given.shape) == 1 else given).tocsr()
    if len(matrix.shape) != 2 or matrix.shape[1] - 1 > MOST_TERM or matrix.dtype.kind not in "fiub":
        raise ShapeError(f"sparse rows are a matrix (n, terms) of numbers, found {matrix.shape} of {matrix.dtype}")
    if not matrix.has_canonical_format:  # sorted, and no term twice
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return _kept(matrix.indptr.astype(np.int64), matrix.indices.astype(np.uint32), np.asarray(matrix.data, np.float32))


def _of_mappings(given: Iterable[Any]) -> Entries:
    counts: list[int] = []
    terms: list[Any] = []
    weights: list[Any] = []
    for row, mapping in enumerate(given):
        if not isinstance(mapping, Mapping):
            raise ShapeError(f"row {row}: a mapping of terms to weights, found {type(mapping).__name__}")
        counts.append(len(mapping))
        terms += mapping.keys()
        weights += mapping.values()
    return entries_of(np.array(counts, np.int64), [terms], [weights])


def entries_of(counts: NDArray[np.int64], terms: Sequence[Any], weights: Sequence[Any]) -> Entries:
    """Return rows of so many terms each, in any order, without weights of 0.

    Terms and weights come in pieces, which may be lists of anything that is a number.
    """
    starts = starts_of(counts)
    try:
        numbers = [np.array([int(term) for term in own], np.int64) if isinstance(own, list) else own for own in terms]
        wide = np.concatenate([np.empty(0, np.int64), *numbers], dtype=np.int64, casting="same_kind")
        if ((wide < 0) | (wide > MOST_TERM)).any():
            raise OverflowError
        found = np.concatenate([np.array(own, np.float32).reshape(len(own)) for own in [[], *weights]])
    except (ValueError, TypeError, OverflowError):
        raise ShapeError(
            "terms are whole numbers below 2**32, and weights numbers: number your words, for instance as a tokenizer "
            "does"
        ) from None
    row_of = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((wide, row_of))
    ordered, found = wide[order].astype(np.uint32), found[order]
    twice = np.flatnonzero((ordered[1:] == ordered[:-1]) & (row_of[1:] == row_of[:-1]))
    if len(twice):
        raise ShapeError(f"row {row_of[twice[0]]}: term {ordered[twice[0]]} comes twice")
    return _kept(starts, ordered, found)


def _kept(indptr: NDArray[np.int64], terms: NDArray[np.uint32], weights: NDArray[np.float32]) -> Entries:
    """Return entries without weights of 0."""
    there = weights != 0
    if there.all():
        return Entries(indptr, terms, weights)
    before = starts_of(there.astype(np.int64))
    return Entries(before[indptr], terms[there], weights[there])
