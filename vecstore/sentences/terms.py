"""The terms of texts, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats

__all__ = ["Table", "Terms"]


@dataclass(frozen=True)
class Terms:
    """Texts as terms: those of text i are places[indptr[i]] to places[indptr[i + 1]] of the distinct ones.

    Attributes
    ----------
    indptr : (n + 1,) int64
    places : (t,) int64
    vectors : (distinct, d) float32
        Weighted.
    counts : (distinct,) int64, optional
        Of how many vectors each one is the sum; of one by default.
    """

    indptr: NDArray[np.int64]
    places: NDArray[np.int64]
    vectors: Floats
    counts: NDArray[np.int64] | None = None

    @property
    def means(self) -> Floats:
        """The mean of each text's vectors: (n, d) float32, zeros for a text without."""
        counts = np.diff(self.indptr)
        out = np.zeros((len(counts), self.vectors.shape[1]), np.float32)
        # Texts of one length together: a gather and a sum for each length, not for each text.
        for count in np.unique(counts[counts > 0]).tolist():
            texts = np.flatnonzero(counts == count)
            places = self.places[self.indptr[texts, None] + np.arange(count)]
            if self.counts is None:
                out[texts] = self.vectors[places].mean(axis=1)
            else:
                summed = self.counts[places].sum(axis=1)
                out[texts] = self.vectors[places].sum(axis=1) / np.maximum(summed, 1)[:, None]
        return out


class Table(Protocol):
    """What knows the terms of texts."""

    normalize: bool

    def terms(self, texts: Sequence[str]) -> Terms:
        """Return the terms of texts."""
        ...
