"""Scan `tcq` codes where they lie: their first bytes, all bytes of fewer rows, exact scores of the best.

Scores of the first two steps are approximate (see `kernels.trellis_scan`); those of single rows are what decoding
gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.container.ranges import Ranges
from vecstore.kernels.arguments import TrellisQueries, TrellisScores
from vecstore.kernels.scans import scan_trellis, score_trellis
from vecstore.search.plan import Plan
from vecstore.search.ranking import Ranking, Raw
from vecstore.search.scanner import Scanner, raw_number
from vecstore.search.topk import TopK
from vecstore.search.trellis import Stage, Trellis

__all__ = ["TrellisScanner"]

OF_QUERIES = "_feature_weights", "_exactly", "_centroid_products"  # what is found out once for a scanner's queries
EXPECTED = 4.0  # standard deviations by which the best rows score above the mean: tables are made for them

# How many rows there are, and mean and variance (q,) of what differs from row to row.
Varying: TypeAlias = tuple[int, NDArray[np.float64], NDArray[np.float64]]


class TrellisScanner(Scanner):
    """By look-ups in the first bytes of codes, and in all bytes of rows that score well by these.

    In cells the scan takes vectors for equally long: the length of c + r depends on both in ways that one set of
    tables cannot tell. Rows are scored with their own lengths.

    Parameters
    ----------
    trellis : Trellis
    ranking : Ranking
    plan : Plan
        What is scanned.
    wanted : int
        How many of the best rows the plan has to find; others may be lost.
    """

    def __init__(self, trellis: Trellis, ranking: Ranking, plan: Plan, *, wanted: int) -> None:
        super().__init__(trellis.codes, ranking)
        self._trellis, self._coefficients, self._wanted = trellis, trellis.coefficients, wanted
        # In cells all bytes are scanned: how scores of first bytes vary is not known there.
        self._plan = plan if trellis.codes.cells is None else Plan()
        self._ask(ranking)

    def _ask(self, ranking: Ranking) -> None:
        self.ranking = ranking
        self._weights, biases = self._coefficients.weights(ranking.queries)
        self._biases = biases[:, None]  # [query, cell]: what is added to the products of a cell's rows
        self._scanned: Raw = ranking.raw
        if self.codes.cells is not None:
            self._biases = self._biases + self._centroid_products
            self._scanned = "product"
        queries, stages = len(self._weights), len(self._plan.sizes) + 1
        self._made_for, self._limits = np.zeros((stages, queries)), np.full(queries, -np.inf)
        self._margins = np.zeros((stages, queries))

    def asking(self, ranking: Ranking) -> TrellisScanner:
        other = self._without(*OF_QUERIES)
        other._ask(ranking)
        self.share_limits([other])
        return other

    @staticmethod
    def share_limits(scanners: Sequence[TrellisScanner]) -> None:
        """Tell the scanners of all sections what rows have to score, and about which scores tables are to be exact.

        Limits are those of the whole store: what a section's rows have in common says nothing of how good they are.
        """
        scanners = [scanner for scanner in scanners if scanner.codes.cells is None]
        if not scanners or (not scanners[0]._plan.sizes and scanners[0]._scanned != "unit"):
            return  # tables of what are no cosines serve all scores alike
        plan, queries = scanners[0]._plan, len(scanners[0]._weights)
        margins, limits = np.zeros((len(plan.sizes) + 1, queries)), np.full(queries, -np.inf)
        for at, margin in enumerate(plan.margins):
            margins[at] = _above([scanner._varying("gaps", at) for scanner in scanners], margin)
        if plan.sizes:
            limits = _above([scanner._varying("scores", 0) for scanner in scanners], plan.threshold)
        best = _above([scanner._varying("scores", -1) for scanner in scanners], EXPECTED)
        for scanner in scanners:
            scanner._made_for, scanner._limits, scanner._margins = best - margins, limits, margins

    def _varying(self, what: Literal["scores", "gaps"], at: int) -> Varying:
        """Return how many rows there are, and mean and variance (q,) of what a stage tells of them."""
        size_bytes = self._stages[at].size_bytes
        of = self._trellis.scores if what == "scores" else self._trellis.gaps
        moments = of(size_bytes, self._scanned)
        return self.codes.rows, *moments.along(self._feature_weights[:, : len(moments.mean)])

    @cached_property
    def _feature_weights(self) -> NDArray[np.float64]:
        return self._coefficients.feature_weights(self._weights, self._biases, self._scanned)

    def over(self, ranges: Ranges, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]) -> None:
        part = self.codes.part
        stages = [stage.kernel for stage in self._stages]
        queries, heap = self._arguments(best.k), best.heap(floors)
        pieces: Iterable[Ranges] = part.checked(ranges, self._stages[-1].size_bytes)
        if len(stages) > 1:  # what these find depends on where pieces end: all is checked before they begin
            pieces = [ranges] if list(pieces) else []
        for some in pieces:
            scan_trellis(part.tiles, stages, queries, heap, some, allowed)

    def _arguments(self, k: int) -> TrellisQueries:
        return TrellisQueries(
            kind=raw_number(self._scanned),
            weights=self._weights,
            biases=self._biases,
            edges=self._trellis.edges,
            made_for=self._made_for,
            limits=self._limits,
            margins=self._margins,
            wanted=min(self._wanted, k),
        )

    @cached_property
    def _stages(self) -> list[Stage]:
        return [self._trellis.stage(size) for size in (*self._plan.sizes, self.codes.layer.code_bytes)]

    def score(self, indptr: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        self._check_rows(rows[indptr[0] : indptr[-1]])
        decoding = self._coefficients.quantizer.decoding
        score_trellis(self.codes.part.tiles, decoding, self._exactly, indptr, rows, out)

    @cached_property
    def _exactly(self) -> TrellisScores:
        return TrellisScores(
            kind=raw_number(self.ranking.raw),
            weights=self._weights,
            biases=self._biases,
            edges=self._trellis.edges,
            size_bytes=self.codes.layer.code_bytes,
            scale=self._coefficients.scale,
            linear=self._trellis.norm_weights[0],
            constants=self._trellis.norm_weights[1],
        )


def _above(parts: Sequence[Varying], deviations: float) -> NDArray[np.float64]:
    """Return what lies so many standard deviations above the mean of all rows, which are given part by part: (q,)."""
    if len(parts) == 1:
        return np.asarray(parts[0][1] + deviations * np.sqrt(parts[0][2]))
    total = sum(rows for rows, _, _ in parts)
    mean = sum((rows / total * own for rows, own, _ in parts), start=np.float64(0))
    variance = sum((rows / total * (around + (own - mean) ** 2) for rows, own, around in parts), start=np.float64(0))
    return np.asarray(mean + deviations * np.sqrt(variance))
