"""Directions that pairs of words differ in, and how to take them away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError
from vecstore.spaces.map import Map
from vecstore.words import Words

__all__ = ["direction", "remove"]

LEAST = 1e-5  # of a direction, that the others do not hold


def direction(words: Words, pairs: Sequence[tuple[Any, Any]]) -> Floats:
    """Return the mean of what the second words of pairs have and the first have not: (d,) float32, of length one."""
    if not len(pairs):
        raise OptionError("a direction is that of pairs of words: give one at least")
    first, second = (unit(words.vectors(list(side))) for side in zip(*pairs, strict=True))
    return unit((second - first).mean(axis=0))


def remove(*directions: ArrayLike) -> Map:
    """Return the map that projects directions out: what it gives has no part along any of them.

    Of dot products it is enough to map the query. Cosines change with the lengths of the rows: `Map.convert` them.
    """
    if not directions:
        raise OptionError("give a direction, or several")
    given = unit(np.stack([np.asarray(each, np.float32) for each in directions])).astype(np.float64)
    _, sizes, axes = np.linalg.svd(given, full_matrices=False)
    axes = axes[sizes > LEAST]
    return Map(np.eye(given.shape[1]) - axes.T @ axes)
