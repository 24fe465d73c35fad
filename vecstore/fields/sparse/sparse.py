"""Sparse terms as users give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.errors import OptionError
from vecstore.fields.columns import checked_columns, terms_of
from vecstore.fields.field import Field
from vecstore.fields.sparse.agreement import agreement
from vecstore.fields.sparse.entries import as_entries, entries_of
from vecstore.fields.sparse.trained import TermRows, TrainedSparse, step_of
from vecstore.shard.field import FieldRows, TrainedField

__all__ = ["Sparse"]

WEIGHT_BITS = 0, 4, 8


class Sparse(Field):
    """Weights of few of many terms a row: SPLADE, BGE-M3's lexical weights, or which units are active (k-WTA).

    Parameters
    ----------
    given : scipy sparse matrix (n, terms), or sequence of n mappings of terms to weights
        Weights of 0 or more; terms are whole numbers below 2**32, in mappings also as text. For `vecstore.convert`
        the name of a column of maps, of lists of pairs or of pairs of lists, or ``("indices", "values")``: those of two
        columns of lists.
    weight_bits : 0, 4 or 8
        Of a weight in the store; 0 keeps which terms a row has, each with weight 1.

    Examples
    --------
    >>> terms = [{i % 7: 1.0, 10 + i: 0.5} for i in range(100)]
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> _ = vecstore.write("terms.vecs", x, codec="sq:8", fields={"terms": vecstore.Sparse(terms)})
    >>> vecstore.open("terms.vecs").field("terms")[12]
    {5: 0.9999..., 22: 0.4999...}
    """

    def __init__(self, given: Any, *, weight_bits: int = 8) -> None:
        if isinstance(weight_bits, bool) or weight_bits not in WEIGHT_BITS:
            raise OptionError(f"weight_bits is 0, 4 or 8, found {weight_bits!r}")
        self.columns = checked_columns(given)
        self._entries, self._bits = as_entries([] if self.columns else given), int(weight_bits)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._entries.indptr) - 1

    def read(self, pieces: Iterable[Mapping[str, Any]], room: Path) -> Sparse:
        return Sparse(entries_of(*terms_of(pieces, self.columns)), weight_bits=self._bits)

    def rows(self, trained: TrainedField) -> FieldRows:
        """Return the rows, to be coded by what `fit` gave."""
        assert isinstance(trained, TrainedSparse)
        return TermRows(trained, self._entries)

    def fit(self, *, seed: int = 0) -> TrainedSparse:
        """Choose the step of weights, by the greatest of them, and measure what coding costs."""
        weights = self._entries.weights
        largest = float(weights.max()) if len(weights) else 1.0
        trained = TrainedSparse(self._bits, step_of(largest, self._bits))
        return TrainedSparse(self._bits, trained.step, agreement(trained, self._entries, np.random.default_rng(seed)))

    def __repr__(self) -> str:
        return f"<Sparse {len(self):,} rows, {len(self._entries.terms):,} entries, {self._bits} bits a weight>"
