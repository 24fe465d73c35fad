"""Maps that carry the vectors of one space onto those of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError
from vecstore.spaces.map import Map
from vecstore.spaces.pairs import Space, paired

__all__ = ["align", "fitted"]

ROUNDS = 30  # of reweighting; it has settled long before
LEAST_DISTANCE = 1e-3  # pairs that agree closer than that weigh alike
How = Literal["orthogonal", "robust", "linear"]


def align(a: Space, b: Space, pairs: Sequence[tuple[Any, Any]] | None = None, *, how: How = "orthogonal") -> Map:
    """Return the map that brings vectors of `a` to where those of `b` are.

    Every pair counts with length one.

    Parameters
    ----------
    a, b : Store, or (n, d) and (n, e) arrays
    pairs : list of (key of a, key of b), optional
        By default the keys that both stores hold; rows of arrays are paired as they lie.
    how : {"orthogonal", "robust", "linear"}
        "orthogonal": least squares among maps that keep lengths and angles (Schönemann, A generalized solution of the
        orthogonal Procrustes problem, 1966). "robust": least distances instead of squares, so that bad pairs pull
        little. "linear": least squares among all (Mikolov et al., Exploiting similarities among languages for machine
        translation, 2013), for many pairs.

    Raises
    ------
    OptionError
        No pairs.
    KeyNotFoundError
        A store does not hold a key of the pairs.
    """
    return fitted(*paired(a, b, pairs), how)


def fitted(x: Floats, y: Floats, how: str) -> Map:
    """Return the map of paired vectors x (n, d) and y (n, e)."""
    if how == "linear":
        return Map(np.linalg.lstsq(x.astype(np.float64), y.astype(np.float64), rcond=None)[0])
    if how not in ("orthogonal", "robust"):
        raise OptionError(f"how is orthogonal, robust or linear, found {how!r}")
    weights = np.ones(len(x))
    matrix = _procrustes(x, y, weights)
    for _ in range(ROUNDS if how == "robust" else 0):
        before = matrix
        # Iteratively reweighted least squares: squares over distances are distances.
        weights = 1 / np.maximum(np.linalg.norm(x @ matrix - y, axis=1), LEAST_DISTANCE)
        matrix = _procrustes(x, y, weights)
        if np.abs(matrix - before).max() < 1e-7:
            break
    return Map(matrix)


def _procrustes(x: Floats, y: Floats, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd((x * weights[:, None]).T @ y.astype(np.float64), full_matrices=False)
    return np.asarray(left @ right)
