"""Scores that are products of other vectors: rows and queries to write, and to search by dot product."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import ShapeError

__all__ = ["diagonal_queries", "gaussian_queries", "gaussian_rows"]


def gaussian_rows(mean: ArrayLike, variance: ArrayLike) -> Floats:
    """Return vectors whose product with `gaussian_queries` ranks rows by their divergence from the query.

    Parameters
    ----------
    mean, variance : (..., d)
        Of Gaussians with diagonal covariance; variances above 0.

    Returns
    -------
    (..., 2 d + 1) float32
        ``[-sum(log v + m^2 / v), -1 / v, 2 m / v]``.

    Raises
    ------
    ShapeError
        Arrays of different shapes, or a variance that is not above 0.

    Notes
    -----
    The product is -2 KL(query || row) and a term of the query alone (Vilnis and McCallum, Word representations via
    Gaussian embedding, ICLR 2015, section 3.2). The dimensions have very different ranges: use a codec with a scale for
    each, such as ``f16`` or ``sq:8``.

    Examples
    --------
    >>> from vecstore.search.maps import gaussian_queries, gaussian_rows
    >>> row, query = gaussian_rows([0.0, 1.0], [1.0, 2.0]), gaussian_queries([0.0, 1.0], [1.0, 2.0])
    >>> row.shape == query.shape == (5,)
    True
    """
    m, v = _checked(mean, variance)
    bias = -(np.log(v) + m * m / v).sum(axis=-1, keepdims=True)
    return np.concatenate([bias, -1 / v, 2 * m / v], axis=-1).astype(np.float32)


def gaussian_queries(mean: ArrayLike, variance: ArrayLike) -> Floats:
    """Return queries for `gaussian_rows`: ``[1, v + m^2, m]``, (..., 2 d + 1) float32."""
    m, v = _checked(mean, variance)
    return np.concatenate([np.ones((*m.shape[:-1], 1)), v + m * m, m], axis=-1).astype(np.float32)


def diagonal_queries(x: ArrayLike, relation: ArrayLike) -> Floats:
    """Return queries whose product with a row is ``sum(x * relation * row)``: DistMult's score, (..., d) float32.

    Yang and others, Embedding entities and relations for learning and inference in knowledge bases, ICLR 2015.
    """
    left, right = np.asarray(x, np.float32), np.asarray(relation, np.float32)
    if left.shape[-1:] != right.shape[-1:]:
        raise ShapeError(f"x and relation have the same dimensions, found {left.shape} and {right.shape}")
    return left * right


def _checked(mean: ArrayLike, variance: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    m, v = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if m.shape != v.shape or not m.ndim:
        raise ShapeError(f"a variance for every mean, (..., d) each; found {m.shape} and {v.shape}")
    if not (np.isfinite(m).all() and np.isfinite(v).all() and (v > 0).all()):
        raise ShapeError("means are finite, and variances above 0")
    return m, v
