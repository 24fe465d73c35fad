"""Vectors of two spaces that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError, ShapeError
from vecstore.store.store import Store

__all__ = ["Space", "paired"]

Space: TypeAlias = Store | NDArray[Any]


def paired(a: Space, b: Space, pairs: Sequence[tuple[Any, Any]] | None) -> tuple[Floats, Floats]:
    """Return the vectors of pairs at length one: (n, d) of a and (n, e) of b.

    Of two stores a pair is two keys; without pairs, the keys that both hold. Arrays are paired row by row.
    """
    if isinstance(a, Store) and isinstance(b, Store):
        if pairs is None:
            keys = list(a)
            shared = np.flatnonzero(b.rows_of(keys) >= 0).tolist()
            pairs = [(keys[at], keys[at]) for at in shared]
        if not pairs:
            raise OptionError("the stores share no key: give pairs of keys that belong together")
        left, right = zip(*pairs, strict=True)
        x, y = a[list(left)], b[list(right)]
    elif isinstance(a, Store) or isinstance(b, Store) or pairs is not None:
        raise OptionError("two stores and pairs of keys, or two arrays whose rows belong together")
    else:
        x, y = as_vectors(a, np.shape(a)[-1]), as_vectors(b, np.shape(b)[-1])
        if len(x) != len(y) or not len(x):
            raise ShapeError(f"as many rows of both, one at least; found {len(x)} and {len(y)}")
    return unit(x), unit(y)
