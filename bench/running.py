"""A whole bench in one call: read, split, sweep, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from vecstore.bench.report import report
from vecstore.bench.sources import (
    Judgement,
    Source,
    named,
    read_judgements,
    read_source,
    read_truth,
    read_weights,
)
from vecstore.bench.split import Split, make_split
from vecstore.bench.summary import Summary
from vecstore.bench.sweep import DEFAULT_BUDGETS, LIMIT_S, Plan, Progress, plan, sweep

from vecstore.errors import ShapeError
from vecstore.metric import Metric

__all__ = ["QUICK", "bench", "prepare"]

# What --quick changes, unless it is given as well.
QUICK: dict[str, Any] = {"base_rows": 10_000, "train_rows": 5_000, "query_rows": 200, "budgets": "16,48,128"}
FULL: dict[str, Any] = {"base_rows": 40_000, "train_rows": 20_000, "query_rows": 500, "budgets": DEFAULT_BUDGETS}


def bench(
    source: str | Path | ArrayLike,
    out: str | Path,
    *,
    budgets: str | Sequence[int] | None = None,
    codecs: str = "default",
    peers: str = "none",
    seeds: Sequence[int] = (0,),
    limit_s: float = LIMIT_S,
    quick: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Summary:
    """Measure codecs, and other libraries, on vectors, and write the report.

    Parameters
    ----------
    source : path, name or (n, d) array
        A dump, an HDF5 file of ann-benchmarks, ``glove``, ``digits``, ``generated:FAMILY:ROWSxDIMENSIONS:SEED``, or
        vectors in memory.
    out : path
        A folder for raw results and report. A bench of the same data that is there already is gone on with.
    budgets : str or sequence of int
        Bytes a vector: ``"16,48"``, ``"32x"``, ``"5%"``.
    codecs : str
        ``"default"``, ``"all"``, or specifications.
    peers : str
        ``"none"``, ``"all"``, or names such as ``"faiss,usearch"``.
    seeds : sequence of int
        Of training; each codec is measured once a seed.
    limit_s : float
        Seconds that one codec may take.
    quick : bool
        Fewer rows, queries and budgets: minutes become seconds.
    retry : bool
        Measure again what failed before.
    progress : callable, optional
        Called with the name of what is measured, how many are finished, and of how many.
    **options
        As for `prepare`.

    Examples
    --------
    >>> found = bench("vectors.npy", "results", budgets="32x", codecs="pq:48 tcq:48")  # doctest: +SKIP
    >>> found.lines[found.best(48)].label  # doctest: +SKIP
    'tcq:48'
    """
    split = prepare(source, quick=quick, **options)
    planned = plan(
        split.base.shape[1],
        budgets=budgets if budgets is not None else (QUICK if quick else FULL)["budgets"],
        codecs=codecs,
        peers=peers,
        seeds=seeds,
        search_s=0.2 if quick else 0.5,
    )
    return finish(split, planned, Path(out), limit_s=limit_s, retry=retry, progress=progress)


def finish(
    split: Split,
    planned: Plan,
    out: Path,
    *,
    limit_s: float = LIMIT_S,
    retry: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Run what is planned, as far as it has not been run, and write the report."""
    sweep(split, planned, out, limit_s=limit_s, retry=retry, progress=progress)
    return report(out)


def prepare(
    source: str | Path | ArrayLike,
    *,
    name: str | None = None,
    metric: Metric = "cosine",
    queries: str | Path | ArrayLike | None = None,
    ground_truth: Path | None = None,
    qrels: Path | None = None,
    weights: str | None = None,
    train_rows: int | None = None,
    base_rows: int | None = None,
    query_rows: int | None = None,
    seed: int = 0,
    quick: bool = False,
    read: dict[str, Any] | None = None,
) -> Split:
    """Read vectors and split them into training rows, searched rows and queries.

    Parameters
    ----------
    name : str, optional
        What the report calls the data.
    queries : path or (q, d) array, optional
        Else rows are held out.
    ground_truth : path, optional
        Nearest rows of the given queries, (q, k) row numbers of the dump.
    qrels : path, optional
        Judgements, for nDCG and MRR; see `read_judgements`.
    weights : str, optional
        How often rows are used, for the weighted metrics: ``rank``, an .npy file or a column; see `read_weights`.
    train_rows, base_rows, query_rows : int, optional
        At most.
    seed : int
        Of the split.
    read : dict, optional
        Options of `vecstore.formats.open_dump`.
    """
    from_disk = isinstance(source, (str, Path))
    found = read_source(source, options=read) if from_disk else Source("vectors", np.asarray(source, np.float32))  # type: ignore[arg-type]
    found = named(found, name)
    if (ground_truth or qrels) and queries is None and found.queries is None:
        raise ShapeError("a ground truth or judgements are of queries: give them too (--queries)")
    asked = None
    if queries is not None:
        is_path = isinstance(queries, (str, Path))
        asked = read_source(queries).x if is_path else np.asarray(queries, np.float32)  # type: ignore[arg-type]
    judgements: Sequence[Judgement] = () if qrels is None else read_judgements(qrels, found)
    path = Path(source) if isinstance(source, (str, Path)) else None
    sizes = QUICK if quick else FULL
    return make_split(
        found,
        metric=metric,
        queries=asked,
        truth=None if ground_truth is None else read_truth(ground_truth),
        judgements=judgements,
        weights=None if weights is None else read_weights(weights, path, len(found.x)),
        train_rows=train_rows or sizes["train_rows"],
        base_rows=base_rows or sizes["base_rows"],
        query_rows=query_rows or sizes["query_rows"],
        seed=seed,
    )
