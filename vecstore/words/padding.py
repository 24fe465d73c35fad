"""Lists of lists of words as one array, filled up with zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError
from vecstore.words.mixtures import Mixtures

__all__ = ["padded"]


def padded(
    lists: Sequence[Any],
    mixtures_of: Callable[[list[Any]], Mixtures],
    *,
    pad_to: int | None = None,
    pad_left: bool = False,
    truncate_left: bool = False,
) -> Floats:
    """Return the vectors of lists of queries, or of lists of lists: (..., longest, d) float32.

    One lookup serves all. Queries of which nothing is known leave no gap.
    """
    if isinstance(lists, (str, bytes)):
        raise OptionError(f"several words are a list; for the single word {lists!r:.40} write [{lists!r:.40}]")
    if pad_to is not None and pad_to < 0:
        raise OptionError(f"pad_to is a number of words, found {pad_to!r}")
    runs = list(_runs(lists))
    mixtures = mixtures_of([query for _, run in runs for query in run])
    vectors, known = mixtures.sums, mixtures.known
    found, start = [], 0
    for _, run in runs:
        own = slice(start, start + len(run))
        found.append(vectors[own][known[own]])
        start = own.stop
    longest = max(map(len, found), default=0) if pad_to is None else pad_to
    shape = tuple(int(size) + 1 for size in np.array([place for place, _ in runs]).max(axis=0, initial=-1))
    out = np.zeros((*shape, longest, vectors.shape[1]), np.float32)
    for (place, _), own_vectors in zip(runs, found, strict=True):
        kept = own_vectors[max(len(own_vectors) - longest, 0) :] if truncate_left else own_vectors[:longest]
        first = longest - len(kept) if pad_left else 0
        out[place][first : first + len(kept)] = kept
    return out


def _runs(lists: Sequence[Any], place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Sequence[Any]]]:
    """Yield the innermost lists, and where each stands."""
    nested = [isinstance(each, (list, tuple)) for each in lists]
    if not any(nested):
        yield place, lists
        return
    if not all(nested):
        raise OptionError("lists of words stand beside words; nest all equally deep")
    for at, each in enumerate(lists):
        yield from _runs(each, (*place, at))
