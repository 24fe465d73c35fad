"""Searches by the workers of an executor, each of which scans some of the shards."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.distributed.crew import Crew, silent
from vecstore.distributed.workers import Kept, are_here, at_once
from vecstore.errors import FormatError, OptionError
from vecstore.parallel import checked_executor
from vecstore.progress import Listener
from vecstore.remote.urls import is_url
from vecstore.search.candidates import Candidates
from vecstore.search.options import SearchMetric, SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.result import SearchResult
from vecstore.search.sampling import Share
from vecstore.search.search import best_of, decided, find, find_candidates, sampled
from vecstore.search.topk import TopK
from vecstore.store.handle import Handle, Paths
from vecstore.store.searching import search

__all__ = ["Searcher"]

MERGED = 8  # results of parts that wait to be merged


class Searcher(Handle):
    """A store that the workers of an executor search together.

    Its shards are divided into parts, of about as many rows each. A batch of queries goes to all parts as one task
    each, and the best rows of every eight results are merged as they come. Any worker can do any task: it opens the
    store, once, and reads the shards of the parts that it is given; Dask's workers are given the same ones again. What
    a worker was at that is lost is done by another.

    Parameters
    ----------
    path : path or URL, or list of them
        As for `vecstore.open`; all workers see it.
    executor : concurrent.futures.Executor
        `vecstore.distributed.Processes`, ``client.get_executor()`` of Dask, or any other. It is not shut down here.
    parts : int, optional
        Into how many parts the shards are divided: as many as there are workers, or 8 where the executor does not
        tell. For workers on this machine no more than it has processors, since each part costs a millisecond or two.
    generation, cache
        As for `vecstore.open`.

    Raises
    ------
    OptionError
        `executor` or `parts` are none. What `vecstore.open` raises.

    Examples
    --------
    >>> with Processes(4) as workers, Searcher("docs.vecs", workers) as searcher:  # doctest: +SKIP
    ...     found = searcher.search(queries, k=10)
    """

    def __init__(
        self,
        path: Paths,
        executor: Executor,
        *,
        parts: int | None = None,
        generation: int | str | None = None,
        cache: str | None = None,
    ) -> None:
        if executor is None:
            raise OptionError("executor= is a concurrent.futures.Executor; without one, vecstore.open(...).search")
        crew = Crew(Kept(checked_executor(executor), lambda work: int(work.number)))
        if parts is not None and (isinstance(parts, bool) or not isinstance(parts, int) or parts < 1):
            raise OptionError(f"parts are a positive number, found {parts!r}")
        super().__init__(path, generation=generation, cache=cache)
        self._crew, self._parts, self._here = crew, parts or at_once(executor), are_here(executor)

    def search(  # noqa: PLR0913 - options are parameters, as users know them
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        metric: SearchMetric | None = None,
        rows: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        where: Any = None,
        min_score: float | None = None,
        max_distance: float | None = None,
        rescore: int | Literal["auto"] = "auto",
        recall: float | None = None,
        scan_bytes: int | Literal["auto"] = "auto",
        exact: bool = False,
        nprobe: int | None = None,
        calibrated: bool = False,
    ) -> SearchResult:
        """Find the k best rows for each query, as `vecstore.Store.search` does: the result is the same.

        There are three exceptions. Where first bytes of `tcq` codes are scanned (`scan_bytes`, `recall`), which rows
        are lost depends on who scans what; it is no more than in one process. Where rows are decoded to be scanned,
        such as by `exact` of `tcq`, scores differ in the last digit. And `rescored` counts, for `exact` in two layers,
        what all workers rescored, which is more.

        Queries are best given as a batch: each task costs a millisecond or more, whatever it does. Every worker
        evaluates `where` for all rows of the store, and keeps what it selects for the next search.
        """
        options = SearchOptions(
            metric=metric or self.metric,
            rows=rows,
            exclude=exclude,
            where=where,
            min_score=min_score,
            max_distance=max_distance,
            rescore=rescore,
            recall=recall,
            scan_bytes=scan_bytes,
            exact=exact,
            nprobe=nprobe,
            calibrated=calibrated,
        )
        return search(self._open(), queries, k, options, finder=self._find)

    def _find(
        self, prepared: Prepared, queries: Floats, k: int, options: SearchOptions, least: float
    ) -> tuple[TopK, NDArray[np.int64]]:
        """Do what `vecstore.search.search.find` does."""
        asked = queries, k, options, least
        if not len(queries):
            return find(prepared, *asked)
        # Of files that lie here, few rows are decided among in less time than each part takes for as many.
        decide = not self._here or self._remote
        scopes = divided(self._open().edges, self._parts)
        # Each part would have to learn anew what the best rows score. A sample far away costs more than it saves.
        known = None if self._remote else sampled(prepared, *asked, scopes)
        work = _Part(self._opening(), 0, Share((0, 0)), *asked)
        if known is None:
            found = self._candidates(work, [Share(scope, decide=decide) for scope in scopes])
        else:
            rests, own = known
            own = decided(own, prepared, *asked) if decide else own
            shares = [Share(scope, rest, decide=decide) for scope, rest in zip(scopes, rests, strict=True)]
            found = self._candidates(work, shares, own)
        short = found.short
        if len(short):
            whole = [Share(scope, whole=True, decide=decide) for scope in scopes]
            found = found.with_queries(short, self._candidates(replace(work, queries=queries[short]), whole))
        return best_of(found if decide else decided(found, prepared, *asked), prepared, *asked)

    def _candidates(self, work: _Part, shares: Sequence[Share], *others: Candidates) -> Candidates:
        """Have all shares searched, and merge what is found in them with others."""
        works = [replace(work, number=number, share=share) for number, share in enumerate(shares)]
        waiting = [*others]
        for _, found in self._crew.each(search_part, works, silent):
            waiting.append(found)
            if len(waiting) == MERGED:
                waiting = [Candidates.merged(waiting)]
        return Candidates.merged(waiting)

    @property
    def _remote(self) -> bool:
        return any(map(is_url, [self._paths] if isinstance(self._paths, str) else self._paths))

    def _opening(self) -> _Opening:
        snapshot = self._open()
        paths = self._paths if isinstance(self._paths, str) else tuple(self._paths)
        generation = self.generation if snapshot.manifest is not None else None
        fingerprint = snapshot.shards[0].container.fingerprint
        return _Opening(paths, generation, self._options.get("cache"), snapshot.rows, fingerprint)

    def __reduce__(self) -> Any:
        raise OptionError("a Searcher has an executor, and stays where it is; make one there")


@dataclass(frozen=True)
class _Opening:
    """Which store a worker opens; the same twice is opened once."""

    paths: str | tuple[str, ...]
    generation: int | None
    cache: str | None
    rows: int
    fingerprint: str


@dataclass(frozen=True)
class _Part:
    """A task: find what is best in a share of the rows."""

    store: _Opening
    number: int
    share: Share
    queries: Floats
    k: int
    options: SearchOptions
    least: float


def search_part(work: _Part, report: Listener) -> Candidates:
    """Search the shards of a part."""
    return find_candidates(_prepared(work.store), work.queries, work.k, work.options, work.least, work.share)


@lru_cache(maxsize=4)
def _prepared(store: _Opening) -> Prepared:
    paths = store.paths if isinstance(store.paths, str) else list(store.paths)
    snapshot = Handle(paths, generation=store.generation, cache=store.cache)._open()
    if (snapshot.rows, snapshot.shards[0].container.fingerprint) != (store.rows, store.fingerprint):
        raise FormatError("another store is there now; open it again", path=snapshot.path)
    return snapshot.prepared


def divided(edges: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """Return from which row to which each part goes: whole shards, of about as many rows each.

    Parameters
    ----------
    edges : sequence of int
        Rows edges[i] to edges[i + 1] are in shard i.
    parts : int
    """
    parts = min(parts, len(edges))  # a part has a shard at least
    aims = [edges[-1] * part / parts for part in range(1, parts)]
    inner = np.abs(np.subtract.outer(aims, edges)).argmin(axis=1).tolist() if aims else []
    cuts = sorted({edges[0], *(edges[at] for at in inner), edges[-1]})
    return list(pairwise(cuts)) or [(0, edges[-1])]
