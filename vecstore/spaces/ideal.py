"""Phrases as sums of what each of their words adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.errors import ShapeError

__all__ = ["Ideal", "ideal"]


@dataclass(frozen=True)
class Ideal:
    """Vectors of factors, whose sums come nearest to a table of phrases.

    Attributes
    ----------
    mean : (d,) float32
    factors : tuple of (n_i, d) float32
        What each choice of each factor adds; each sums to 0.
    explained : float
        Share of the table's variance that the sums explain, 0 to 1.
    """

    mean: Floats
    factors: tuple[Floats, ...]
    explained: float

    def vector(self, *choices: int) -> Floats:
        """Return the vector of a phrase, by the number of each factor's choice: (d,) float32."""
        if len(choices) != len(self.factors):
            raise ShapeError(f"a choice for each of {len(self.factors)} factors, found {len(choices)}")
        parts = (factor[choice] for factor, choice in zip(self.factors, choices, strict=True))
        return np.asarray(self.mean + np.sum(list(parts), axis=0), np.float32)


def ideal(table: ArrayLike) -> Ideal:
    """Return ideal words: factors whose sums are the vectors of phrases, by least squares.

    Parameters
    ----------
    table : (n_1, ..., n_m, d) array
        The vector of each combination, such as colours x things. The source is Trager et al., Linear spaces of
        meanings, ICCV 2023: of a whole table the factors are means.

    Examples
    --------
    >>> found = ideal([[[0, 0], [0, 2]], [[2, 0], [2, 2]]])
    >>> found.vector(1, 0).tolist(), found.explained
    ([2.0, 0.0], 1.0)
    """
    x = np.asarray(table, np.float64)
    if x.ndim < 2 or 0 in x.shape or not np.isfinite(x).all():
        raise ShapeError(f"a table (n_1, ..., n_m, d) of finite numbers, found shape {x.shape}")
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    factors = [x.mean(axis=axes[:axis] + axes[axis + 1 :]) - mean for axis in axes]
    rest = x - mean
    total = float((rest**2).sum())
    for axis, factor in enumerate(factors):
        rest = rest - factor.reshape([-1 if axis == other else 1 for other in axes] + [x.shape[-1]])
    explained = 1 - float((rest**2).sum()) / total if total else 1.0
    return Ideal(mean.astype(np.float32), tuple(factor.astype(np.float32) for factor in factors), explained)
