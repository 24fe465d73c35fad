"""A whole bench in one call: read, split, make all runs, report."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vecstore.bench.plan import DEFAULT_BUDGETS, LIMIT_S, Plan, plan, run_all
from vecstore.bench.report import report as write_report
from vecstore.bench.sources import Source, read_judgements, read_source, read_truth, read_weights
from vecstore.bench.split import Split, make_split
from vecstore.bench.summary import Summary

from vecstore.errors import OptionError, did_you_mean, require
from vecstore.metric import Metric
from vecstore.parallel import checked_executor
from vecstore.progress import Progress, Step, reported

__all__ = ["FULL", "QUICK", "BenchOptions", "Size", "bench", "finish", "prepare"]


@dataclass(frozen=True)
class Size:
    """How much is measured, where the options say nothing else.

    Attributes
    ----------
    train_rows, base_rows, query_rows : int
        At most.
    budgets : str
    search_s : float
        How long each timing of searches may take.
    """

    train_rows: int
    base_rows: int
    query_rows: int
    budgets: str
    search_s: float


QUICK = Size(train_rows=5_000, base_rows=10_000, query_rows=200, budgets="16,48,128", search_s=0.2)
FULL = Size(train_rows=20_000, base_rows=40_000, query_rows=500, budgets=DEFAULT_BUDGETS, search_s=0.5)


@dataclass(frozen=True)
class BenchOptions:
    """What `bench` is told; the names are those of its options.

    Attributes
    ----------
    budgets : str or sequence of int, optional
        Bytes a vector: ``"16,48"``, ``"32x"``, ``"5%"``.
    codecs : str
        ``"default"``, ``"all"``, or specifications.
    peers : str
        ``"all"`` that are installed, ``"none"``, or names such as ``"faiss,usearch"``.
    seeds : sequence of int
        Of training; each codec is measured once a seed.
    limit_s : float
        Seconds that one codec may take.
    quick : bool
        Fewer rows, queries, budgets, codecs and settings of peers, for a first look.
    retry : bool
        Measure again what failed before.
    name : str, optional
        What the report calls the data.
    metric : {"cosine", "dot", "l2"}
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

    budgets: str | Sequence[int] | None = None
    codecs: str = "default"
    peers: str = "all"
    seeds: Sequence[int] = (0,)
    limit_s: float = LIMIT_S
    quick: bool = False
    retry: bool = False
    name: str | None = None
    metric: Metric = "cosine"
    queries: str | Path | ArrayLike | None = None
    ground_truth: Path | None = None
    qrels: Path | None = None
    weights: str | None = None
    train_rows: int | None = None
    base_rows: int | None = None
    query_rows: int | None = None
    seed: int = 0
    read: dict[str, Any] | None = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> BenchOptions:
        """Return options by name; raises `OptionError` for one that does not exist."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise OptionError(f"bench has no option {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
        return cls(**given)

    @property
    def size(self) -> Size:
        """How much is measured where nothing else is said."""
        return QUICK if self.quick else FULL


def bench(
    source: str | Path | ArrayLike,
    out: str | Path,
    *,
    executor: Executor | None = None,
    progress: Progress = False,
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
    executor : concurrent.futures.Executor, optional
        Whose workers measure codecs side by side, such as `vecstore.distributed.Processes`; recall and bytes are the
        same. Times are those of a machine at other work, and the report says so.
    progress : bool or callable
        True shows how far it is, as bars or as lines; a function is called with each `vecstore.progress.Step`.
    **options
        As `BenchOptions` lists them: budgets, codecs, peers, seeds, metric, queries and so on.

    Raises
    ------
    OptionError
        An option does not exist, or does not go with another one.
    ExistsError
        `out` holds a bench of other data, or something else.

    Examples
    --------
    >>> found = bench("vectors.npy", "results", budgets="32x", codecs="pq:48 tcq:48")  # doctest: +SKIP
    >>> found.lines[found.best(48)].label  # doctest: +SKIP
    'tcq:48'
    """
    given = BenchOptions.of(options)
    if executor is not None:
        checked_executor(executor)
    for library, purpose in (("matplotlib", "drawing"), ("pyarrow", "keeping raw results")):
        require(library, purpose=purpose)  # of the report, hours later
    with reported(progress) as report:
        split = prepare(source, **options)
        report(Step("reading", split.about["rows"], split.about["rows"]))
        planned = plan(
            split.base.shape[1],
            budgets=given.size.budgets if given.budgets is None else given.budgets,
            codecs=given.codecs,
            peers=given.peers,
            seeds=given.seeds,
            search_s=given.size.search_s,
            quick=given.quick,
        )
        how: dict[str, Any] = {"limit_s": given.limit_s, "retry": given.retry, "executor": executor}
        return finish(split, planned, Path(out), **how, report=report)


def finish(split: Split, planned: Plan, out: Path, **options: Any) -> Summary:
    """Make the runs that are planned, as far as there are no records of them, and write the report.

    The options are those of `run_all`.
    """
    run_all(split, planned, out, **options)
    return write_report(out)


def prepare(source: str | Path | ArrayLike, **options: Any) -> Split:
    """Read vectors and split them into training rows, searched rows and queries; options as for `bench`."""
    given = BenchOptions.of(options)
    found = _read(source, given)
    return make_split(
        found,
        metric=given.metric,
        train_rows=given.train_rows or given.size.train_rows,
        base_rows=given.base_rows or given.size.base_rows,
        query_rows=given.query_rows or given.size.query_rows,
        seed=given.seed,
    )


def _read(source: str | Path | ArrayLike, given: BenchOptions) -> Source:
    """Return the source with all that the options add to it."""
    path = Path(source) if isinstance(source, (str, Path)) else None
    if isinstance(source, (str, Path)):
        found = read_source(source, options=given.read)
    else:
        found = Source("vectors", np.asarray(source, np.float32))
    if (given.ground_truth or given.qrels) and given.queries is None and found.queries is None:
        raise OptionError("a ground truth or judgements are of queries: give them too (queries=)")
    if given.name:
        found = replace(found, name=given.name)
    if given.queries is not None:
        found = replace(found, queries=_queries(given.queries), truth=None)
    if given.ground_truth is not None:
        found = replace(found, truth=read_truth(given.ground_truth))
    if given.qrels is not None:
        found = replace(found, judgements=read_judgements(given.qrels, found))
    if given.weights is not None:
        found = replace(found, weights=read_weights(given.weights, path, len(found.x)))
    return found


def _queries(given: str | Path | ArrayLike) -> NDArray[np.float32]:
    return read_source(given).x if isinstance(given, (str, Path)) else np.asarray(given, np.float32)
