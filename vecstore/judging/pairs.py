"""Similarities of pairs of words, beside those that people gave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError
from vecstore.judging.files import read_pairs
from vecstore.words.words import Words

__all__ = ["Pairs", "pairs"]

SPREADS = 1.96  # standard errors to either side hold 95%
FEWEST = 4  # pairs of which a correlation has an interval


@dataclass(frozen=True)
class Pairs:
    """How cosines go with what people said.

    Attributes
    ----------
    pearson, spearman : float
        Correlations of the pairs asked.
    spearman_low, spearman_high : float
        95% interval (Fisher's z, with the standard error of Fieller, Hartley & Pearson, 1957).
    asked, skipped : int
        Pairs of known words, and others.
    """

    pearson: float
    spearman: float
    spearman_low: float
    spearman_high: float
    asked: int
    skipped: int

    @property
    def coverage(self) -> float:
        """Share of the pairs that were asked."""
        return self.asked / (self.asked + self.skipped)


def pairs(words: Words, path: str | Path) -> Pairs:
    """Correlate the cosines of word pairs with the similarities in a file.

    Parameters
    ----------
    words : Words
        With `fold_case`, pairs may be written in another case than the store's words.
    path : path
        Lines of two words and a number, as in WordSim-353 and SimLex-999.

    Raises
    ------
    FormatError
        The file holds no pairs.
    OptionError
        The store holds both words of fewer than four of them.
    """
    given = read_pairs(path)
    rows = np.asarray(words.rows_of([word for a, b, _ in given for word in (a, b)])).reshape(-1, 2)
    known = (rows >= 0).all(axis=1)
    count = int(known.sum())
    if count < FEWEST:
        raise OptionError(
            f"{words.store.path} holds both words of {count} pairs of {path}, and {FEWEST} are needed; "
            "fold_case=True takes words of another case"
        )
    said = np.array([score for _, _, score in given])[known]
    left, right = unit(words.store.vectors[rows[known, 0]]), unit(words.store.vectors[rows[known, 1]])
    cosines = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    spearman = _correlation(_ranks(cosines), _ranks(said))
    spread = SPREADS * 1.03 / np.sqrt(count - 3)
    low, high = np.tanh(np.arctanh(np.clip(spearman, -0.999999, 0.999999)) + np.array([-spread, spread]))
    return Pairs(_correlation(cosines, said), spearman, float(low), float(high), count, len(given) - count)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    sizes = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / sizes) if sizes else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, equal ones sharing the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[which]
