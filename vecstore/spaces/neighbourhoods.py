"""Similarity that takes into account how crowded the places are that it compares."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.container.container import Container, ContainerWriter
from vecstore.container.document import field, whole
from vecstore.conversion.shards.workplace import Workplace
from vecstore.errors import CorruptError, OptionError
from vecstore.search.result import SearchResult
from vecstore.search.topk import TopK
from vecstore.spaces.map import Map
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store

__all__ = ["Neighbourhoods"]

AT_ONCE = 64
KIND, PART = "neighbourhoods", "near"
SMALLEST = 1e-12  # of what is divided by
By = Literal["csls", "local", "mutual"]


class Neighbourhoods:
    """The cosines of each row of a store `b` to its k nearest in `a`; searches of `b` that are corrected by them.

    A hub is near to everything. Comparing a similarity with what is usual around both sides takes that advantage away,
    most of all where `a` is another space, mapped into that of `b`.

    Parameters
    ----------
    a, b : Store
        Where queries come from, and what is searched. The same one, or two whose spaces are one: see `map`.
    k : int
        How many neighbours make a neighbourhood.
    map : Map, optional
        From the space of `a` to that of `b`, orthogonal.

    Attributes
    ----------
    near : (rows of b, k) float32
        Cosines, largest first, in the order of `Store.living_rows`. They are found once; `save` keeps them in a file
        beside the store.
    """

    def __init__(self, a: Store, b: Store, k: int = 10, *, map: Map | None = None) -> None:
        if map is not None and not map.orthogonal:
            raise OptionError("neighbourhoods are found by cosine on both sides, so the map has to be orthogonal")
        if not 1 <= k <= len(a) - (a is b) or k > len(b):
            raise OptionError(f"k is at most the number of neighbours that there are, found {k}")
        self.b, self.k, self.map = b, k, map
        self.near = np.empty((len(b), k), np.float32)
        living = b.living_rows
        for start in range(0, len(b), AT_ONCE):
            vectors = b.vectors[living[start : start + AT_ONCE]]
            queries = vectors if map is None else map.T.map(vectors)
            found = a.search(queries, k + (a is b), metric="cosine")
            rows, scores = np.asarray(found.rows), found.scores.copy()
            if a is b:
                scores[rows == np.asarray(living[start : start + len(vectors), None])] = -2
                scores = -np.sort(-scores, axis=1)
            self.near[start : start + len(vectors)] = scores[:, :k]

    def scores(self, queries: ArrayLike, *, by: By = "csls", own: ArrayLike | None = None) -> Floats:
        """Return the corrected similarity of each (living) row of `b` with each query: (q, n) float32.

        Parameters
        ----------
        queries : (d,) or (q, d) array
            Of the space of `a`.
        by : {"csls", "local", "mutual"}
            "csls": twice the cosine, less the mean cosine of either side to its k nearest on the other (Conneau et al.,
            Word translation without parallel data, 2018). "local": exp(-d**2 / (s t)) for the cosine distance d, and
            those of both to their k-th nearest (Zelnik-Manor & Perona, Self-tuning spectral clustering, 2004).
            "mutual": the chance that both are nearer to each other than to others, with normal distances to the k
            nearest (Schnitzer et al., Local and global scaling reduce hubs in space, 2012).
        own : (q,) array of rows, optional
            The rows of `b` that the queries are, which do not count as their own neighbours: places in
            `Store.living_rows`, which are their numbers where none was deleted.
        """
        if by not in ("csls", "local", "mutual"):
            raise OptionError(f"by is csls, local or mutual, found {by!r}")
        asked = np.atleast_2d(np.asarray(queries, np.float32))
        asked = as_vectors(asked if self.map is None else self.map.map(asked), self.b.dimensions)
        every = len(self.b) == self.b.vectors.shape[0]
        cosines = self.b.scores(asked, None if every else self.b.living_rows, metric="cosine")
        others = cosines.copy()
        if own is not None:
            others[np.arange(len(others)), np.asarray(own)] = -2
        nearest = -np.sort(np.partition(-others, self.k - 1, axis=1)[:, : self.k], axis=1)
        return np.asarray(_corrected(by, cosines, nearest, self.near), np.float32)

    def search(self, queries: ArrayLike, k: int = 10, *, by: By = "csls", own: ArrayLike | None = None) -> SearchResult:
        """Find the k rows of `b` of largest corrected similarity with each query; see `scores`."""
        given = np.asarray(queries)
        asked = np.atleast_2d(given)
        best = TopK(len(asked), min(k, len(self.b)))
        for start in range(0, len(asked), AT_ONCE):
            piece = slice(start, start + AT_ONCE)
            scores = self.scores(asked[piece], by=by, own=None if own is None else np.asarray(own)[piece])
            for at, of_query in enumerate(scores):
                rows = np.argpartition(-of_query, best.k - 1)[: best.k]
                best.put(start + at, of_query[rows].astype(np.float64), rows)
        rows = self.b.living_rows[best.rows]
        keys: list[Any] = [snapshot_of(self.b).keys_of(np.asarray(own)) for own in rows]
        found = SearchResult(keys, rows, best.scores.astype(np.float32), np.zeros(len(asked), np.int64))
        return found.each()[0] if given.ndim == 1 else found

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write what was found into a file, for `open`."""
        workplace = Workplace(path, sharded=False, force=force)
        try:
            writer = ContainerWriter(workplace.path / PART)
            writer.put_array(PART, self.near.astype("<f4"))
            about = {"kind": KIND, "features": [], "of": _identity(self.b), "k": self.k, "map": self.map is not None}
            if self.map is not None:
                writer.put_array("map", self.map.matrix.astype("<f4"))
            writer.close(about)
            workplace.publish_file(PART)
        except BaseException:
            workplace.discard()
            raise

    @classmethod
    def open(cls, path: str | Path, b: Store) -> Neighbourhoods:
        """Read what `save` wrote; raises `OptionError` where that was of another store than `b`."""
        container = Container(path)
        about = container.description
        if about.get("kind") != KIND:
            raise OptionError(f"{path} holds no neighbourhoods but a {about.get('kind')!r}")
        if field(about, "of", list, path) != _identity(b):
            raise OptionError(f"{path} holds the neighbourhoods of another store than {b.path}; make them anew")
        found = cls.__new__(cls)
        found.b, found.k, found.map = b, whole(about, "k", path, least=1, most=len(b)), None
        found.near = np.array(container.expect(PART, "<f4", (len(b), found.k)).array())
        if not (np.abs(found.near) <= 2).all():  # NaN is neither
            raise CorruptError("cosines are out of range", path=path)
        if field(about, "map", bool, path):
            found.map = Map(container.expect("map", "<f4").array())
        return found


def _identity(store: Store) -> list[str]:
    return [shard.container.fingerprint for shard in snapshot_of(store).shards]


def _corrected(by: str, cosines: Floats, near_a: Floats, near_b: Floats) -> NDArray[np.float64]:
    """Return corrected similarities (q, n); near_a (q, k) and near_b (n, k) are cosines to the nearest of each."""
    x = cosines.astype(np.float64)
    if by == "csls":
        return np.asarray(
            2 * x - near_a.mean(axis=1, dtype=np.float64)[:, None] - near_b.mean(axis=1, dtype=np.float64)
        )
    distances = 1 - x
    far_a, far_b = 1 - near_a.astype(np.float64), 1 - near_b.astype(np.float64)
    if by == "local":
        return np.exp(-(distances**2) / np.maximum(far_a[:, -1:] * far_b[:, -1], SMALLEST))
    return _tail(distances, far_a.mean(axis=1)[:, None], far_a.std(axis=1)[:, None]) * _tail(
        distances, far_b.mean(axis=1), far_b.std(axis=1)
    )


def _tail(x: NDArray[np.float64], mean: Any, deviation: Any) -> NDArray[np.float64]:
    """Return the chance that a normal number is larger: the complementary error function, by pieces of the array."""
    z = (x - mean) / np.maximum(deviation, SMALLEST) / math.sqrt(2)
    return np.frompyfunc(math.erfc, 1, 1)(z).astype(np.float64) / 2
