"""What a bench measures on: training rows, searched rows and queries, disjoint, with the exact neighbours."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.sources import Source
from vecstore.formats.npy import read_npy

from vecstore.codecs.checks import sound_rows
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError, ShapeError
from vecstore.metric import Metric

__all__ = ["DEPTH", "Split", "exact_scores", "make_split"]

Floats = NDArray[np.float32]
DEPTH = 100  # neighbours kept of each query
LEAST_DEPTH = 10  # neighbours that each query must have
RANDOM = 100  # other rows kept of each query, for what compression does to scores that are not high
LEAST_BASE = 100
AT_ONCE = 64  # queries whose scores of all rows are in memory together


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint parts of one source, and the truth about them; in a cosine bench all vectors have length one.

    Attributes
    ----------
    train, base, queries : float32 arrays
        Rows to train on, rows to search, what to ask.
    truth, truth_scores : (q, depth) int32, float32
        The base rows nearest to each query and their scores, best first.
    random : (q, r) int32
        Base rows drawn at random for each query.
    weights, query_weights : (n,), (q,) float64 or None
        How often each base row, and each query, is used; the latter where queries are rows of the source.
    judgements : (j, 3) int64 or None
        Query, base row, grade.
    keys : list or None
        Of the base rows.
    about : dict
        What it was made of.
    """

    train: Floats
    base: Floats
    queries: Floats
    truth: NDArray[np.int32]
    truth_scores: Floats
    random: NDArray[np.int32]
    weights: NDArray[np.float64] | None
    query_weights: NDArray[np.float64] | None
    judgements: NDArray[np.int64] | None
    keys: list[Any] | None
    about: dict[str, Any]

    @property
    def metric(self) -> Metric:
        """What nearest means."""
        found: Metric = self.about["metric"]
        return found

    def outline(self, name: str, given: int) -> str:
        """Return a sentence about what was made of a source of that name and so many queries that were given."""
        return (
            f"{name}: {len(self.train):,} rows to train on, {len(self.base):,} searched, {given:,} "
            f"queries given, {len(self.queries):,} asked; {self.base.shape[1]} dimensions."
        )

    def save(self, folder: Path) -> None:
        """Write it as plain .npy files and JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            if (array := getattr(self, name)) is not None:
                np.save(folder / f"{name}.npy", array)
        keys = None if self.keys is None else [key.hex() if isinstance(key, bytes) else key for key in self.keys]
        (folder / "keys.json").write_text(json.dumps({"type": _key_type(self.keys), "keys": keys}))
        (folder / "about.json").write_text(json.dumps(self.about, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Split:
        """Read what `save` wrote; the arrays are mapped."""
        arrays: dict[str, Any] = {
            name: read_npy(folder / f"{name}.npy", mapped=True) if (folder / f"{name}.npy").exists() else None
            for name in ARRAYS
        }
        held = json.loads((folder / "keys.json").read_text())
        keys = [bytes.fromhex(key) for key in held["keys"]] if held["type"] == "bytes" else held["keys"]
        return cls(**arrays, keys=keys, about=json.loads((folder / "about.json").read_text()))


ARRAYS = [
    "train",
    "base",
    "queries",
    "truth",
    "truth_scores",
    "random",
    "weights",
    "query_weights",
    "judgements",
]  # those of Split that are files


def make_split(
    source: Source,
    *,
    metric: Metric = "cosine",
    train_rows: int = 20_000,
    base_rows: int = 40_000,
    query_rows: int = 500,
    seed: int = 0,
) -> Split:
    """Split a source into disjoint training rows, searched rows and queries.

    Rows that repeat an earlier one are dropped first, and so are rows with NaN or infinity, zero vectors of a cosine
    bench, and rows whose key an earlier row has.

    Parameters
    ----------
    source : Source
        Without queries, rows of it are taken, which are then neither trained on nor searched. Of its nearest rows
        those that are not searched are left out, which leaves the nearest of the rest.
    metric : {"cosine", "dot", "l2"}
    train_rows, base_rows, query_rows : int
        At most; of a small source a third is trained on.

    Raises
    ------
    ShapeError
        Too few rows are left, or queries of another width.
    OptionError
        The ground truth names rows that the source does not have.
    """
    rng = np.random.default_rng(seed)
    x, representative, dropped = _distinct(source, metric)
    kept = np.flatnonzero(representative == np.arange(len(representative)))
    order = rng.permutation(kept)
    picked = None if source.queries is not None else order[: min(query_rows, len(order) // 10)]
    queries = _queries(source, x, picked, metric)[:query_rows]
    judgements = [(j.query, int(representative[j.row]), j.grade) for j in source.judgements if j.query < len(queries)]
    train, base = _parted(
        order if picked is None else order[len(picked) :],
        relevant=np.array([row for _, row, _ in judgements], np.int64),
        train_rows=train_rows,
        base_rows=base_rows,
    )
    if len(base) < LEAST_BASE or not len(queries):
        raise ShapeError(
            f"{len(kept):,} usable vectors: too few to train on some and search {LEAST_BASE} others; give more rows"
        )
    position = _positions(base, len(x))
    if source.truth is None:
        nearest, scores = _exact(queries, x[base], metric)
    else:
        nearest, scores = _given_truth(source.truth, position[representative], queries, x[base], metric)
    about = {
        "name": source.name,
        "metric": metric,
        "rows": len(source.x),
        "dimensions": x.shape[1],
        "dropped": dropped,
        "queries": len(queries),
        "queries_from": "given" if picked is None else "held out of the rows",
        "truth_from": "exact scan" if source.truth is None else "given",
        "train_rows": len(train),
        "base_rows": len(base),
        "seed": seed,
        "weighted": source.weights is not None,
    }
    split = Split(
        train=x[train],
        base=x[base],
        queries=np.ascontiguousarray(queries),
        truth=nearest,
        truth_scores=scores,
        random=rng.integers(0, len(base), (len(queries), RANDOM)).astype(np.int32),
        weights=_shares(source.weights, base),
        query_weights=_shares(source.weights, picked),
        judgements=_searched(judgements, position),
        keys=None if source.keys is None else [_plain(source.keys[row]) for row in base.tolist()],
        about=about,
    )
    about["fingerprint"] = _fingerprint(split)
    return split


def _queries(source: Source, x: Floats, picked: NDArray[np.int64] | None, metric: Metric) -> Floats:
    """Return the queries of a source, or those of its rows that were picked."""
    if picked is not None:
        return x[picked]
    queries = _prepared(np.asarray(source.queries, np.float32), metric)
    if queries.shape[1] != x.shape[1]:
        raise ShapeError(f"queries have {queries.shape[1]} dimensions, the vectors {x.shape[1]}")
    return queries


def _positions(base: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the position of each of n rows among those that are searched; -1 elsewhere."""
    position = np.full(n, -1, np.int64)
    position[base] = np.arange(len(base))
    return position


def _shares(weights: NDArray[np.float64] | None, rows: NDArray[np.int64] | None) -> NDArray[np.float64] | None:
    if weights is None or rows is None:
        return None
    return np.asarray(weights[rows] / max(float(weights[rows].sum()), 1e-300))


def _searched(judgements: list[tuple[int, int, int]], position: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return query, position among the searched rows and grade of those judgements whose rows are searched."""
    if not judgements:
        return None
    found = [(query, int(position[row]), grade) for query, row, grade in judgements]
    return np.array([one for one in found if one[1] >= 0], np.int64).reshape(-1, 3)


def _parted(
    order: NDArray[np.int64], *, relevant: NDArray[np.int64], train_rows: int, base_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to train on and those to search, each rising; relevant ones are rather searched."""
    order = np.concatenate([order[~np.isin(order, relevant)], order[np.isin(order, relevant)]])
    train = min(train_rows, len(order) // 3)
    return np.sort(order[:train]), np.sort(order[train:][::-1][:base_rows])


def exact_scores(queries: Floats, x: Floats, metric: Metric) -> Floats:
    """Return the score of each row for each query, larger being better: (q, n) float32; l2 is minus the distance."""
    if metric == "cosine":
        return np.asarray(unit(queries) @ unit(x).T)
    products = queries @ x.T
    if metric == "dot":
        return np.asarray(products)
    squares = np.einsum("ij,ij->i", x, x)
    return np.asarray(2 * products - squares - np.einsum("ij,ij->i", queries, queries)[:, None])


def _distinct(source: Source, metric: Metric) -> tuple[Floats, NDArray[np.int64], dict[str, int]]:
    """Return prepared vectors, for each row the row that stands for it (-1: none), and what was dropped."""
    x = np.asarray(source.x, np.float32)
    sound = sound_rows(x)
    if metric == "cosine":
        sound &= np.abs(x).max(axis=1, initial=0) > 0
    x = _prepared(np.where(sound[:, None], x, 0), metric)
    # Rounded to 12 bits, so that a vector and itself through float16 are the same.
    rounded = np.ascontiguousarray(np.rint(x * (2048 / max(float(np.abs(x).max(initial=0)), 1e-30))).astype(np.int16))
    records = rounded.view([("", rounded.dtype, rounded.shape[1])]).ravel()
    _, first, inverse = np.unique(records, return_index=True, return_inverse=True)
    representative = first[inverse.ravel()].astype(np.int64)
    duplicates = int((representative != np.arange(len(x)))[sound].sum())
    representative[~sound] = -1
    same_key = 0
    if source.keys is not None:
        seen: set[Any] = set()
        for row, key in enumerate(map(_plain, source.keys)):
            if key in seen and representative[row] == row:
                representative[representative == row] = -1
                same_key += 1
            seen.add(key)
    return x, representative, {"duplicates": duplicates, "unsound": int((~sound).sum()), "same_key": same_key}


def _prepared(x: Floats, metric: Metric) -> Floats:
    return unit(x) if metric == "cosine" else np.ascontiguousarray(x, np.float32)


def _exact(queries: Floats, base: Floats, metric: Metric) -> tuple[NDArray[np.int32], Floats]:
    depth = min(DEPTH, len(base))
    rows, scores = np.empty((len(queries), depth), np.int32), np.empty((len(queries), depth), np.float32)
    for start in range(0, len(queries), AT_ONCE):
        all_scores = exact_scores(queries[start : start + AT_ONCE], base, metric)
        best = np.argpartition(-all_scores, depth - 1, axis=1)[:, :depth]
        own = np.take_along_axis(all_scores, best, axis=1)
        by_score = np.argsort(-own, axis=1, kind="stable")
        rows[start : start + AT_ONCE] = np.take_along_axis(best, by_score, axis=1)
        scores[start : start + AT_ONCE] = np.take_along_axis(own, by_score, axis=1)
    return rows, scores


def _given_truth(
    truth: NDArray[np.int64], position: NDArray[np.int64], queries: Floats, base: Floats, metric: Metric
) -> tuple[NDArray[np.int32], Floats]:
    """Return a given truth cut down to the rows that are searched, as deep as it reaches for every query."""
    truth = truth[: len(queries)]
    if len(truth) < len(queries):
        raise ShapeError(f"the ground truth is of {len(truth):,} queries, {len(queries):,} are asked")
    if truth.min(initial=0) < 0 or truth.max(initial=0) >= len(position):
        raise OptionError(f"the ground truth names row {int(truth.max())} of {len(position):,}")
    rows = []
    for line in truth:
        here = position[line]
        here = here[here >= 0]
        rows.append(here[np.sort(np.unique(here, return_index=True)[1])])  # a repeated row once, where it stood first
    depth = min(max(min(map(len, rows)), LEAST_DEPTH), DEPTH, len(base))
    kept, scores = np.empty((len(rows), depth), np.int32), np.empty((len(rows), depth), np.float32)
    for query, here in enumerate(rows):
        own = queries[query : query + 1]
        if len(here) < depth:  # too few of its neighbours are searched: look at all rows
            nearest, found = _exact(own, base, metric)
            kept[query], scores[query] = nearest[0, :depth], found[0, :depth]
        else:
            kept[query] = here[:depth]
            scores[query] = exact_scores(own, base[here[:depth]], metric)[0]
    return kept, scores


def _fingerprint(split: Split) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        if (array := getattr(split, name)) is not None:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def _plain(key: Any) -> Any:
    return int(key) if isinstance(key, np.integer) else key


def _key_type(keys: list[Any] | None) -> str | None:
    return None if not keys else type(keys[0]).__name__
