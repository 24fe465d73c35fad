"""Search of `tcq` codes where they lie: a sweep of their first bytes, all bytes of few rows, exact scores of fewer.

Scores of the first two steps are approximate (see `kernels.trellis_sweep`); the last one is what decoding gives. Axes
are orthonormal, so that products and lengths are taken among coefficients and no rotation has to be undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.codec import Layer
from vecstore.codecs.tcq import TrainedTCQ
from vecstore.codecs.trellis_lookups import Lookups, coarse_levels
from vecstore.layers import LayerCodes
from vecstore.part import LANES
from vecstore.ranking import Ranking, Raw, raw_scores
from vecstore.sweeping import Sweep, raw_number
from vecstore.topk import TopK

__all__ = ["Coefficients", "Plan", "Trellis", "TrellisSweep"]

SAMPLE_ROWS = 512  # of a shard, from which is seen how scores vary
EXPECTED = 4.0  # standard deviations by which the best rows score above the mean: tables are made for them
LEAST_LENGTH = 1e-15
EVEN, VERY_EVEN = 0.15, 0.03  # of the mean length: how much lengths may vary


class Coefficients:
    """How scores follow from the coefficients y of a layer of `tcq` codes.

    q . x = products(q) . y + biases(q) and |x|^2 = scale |y|^2 + linear . y + constant.

    Attributes
    ----------
    quantizer : TrainedTCQ
    scale : float
    linear : (coefficients,) float32
    constant : float
    """

    def __init__(self, layer: Layer) -> None:
        quantizer = layer.quantizer
        assert isinstance(quantizer, TrainedTCQ)
        affine = self._affine = layer.affine
        self.quantizer = quantizer
        gram = affine.gram.reshape(-1)
        self.even = affine.gram.ndim == 1 and bool((np.abs(gram - gram[0]) <= 1e-5 * gram[0]).all())
        self.scale = float(gram[0])
        inward = affine.linear @ affine.offset
        self.linear = 2 * quantizer.axes @ (self.scale * quantizer.mean + inward)
        mean = quantizer.mean.astype(np.float64)
        self.constant = float(self.scale * mean @ mean + 2 * mean @ inward + affine.offset @ affine.offset)

    @classmethod
    def of(cls, layer: Layer) -> Coefficients | None:
        """Return those of a layer, or None where its codes are others, or its steps weigh dimensions unevenly."""
        if not isinstance(layer.quantizer, TrainedTCQ) or layer.byte_steps:
            return None
        found = cls(layer)
        return found if found.even else None

    @cached_property
    def coarse(self) -> TrainedTCQ:
        """The quantizer with coefficients as coarse look-ups see them, which read the first bytes of codes."""
        return self.quantizer.with_levels(coarse_levels(self.quantizer.layout, self.quantizer.levels))

    def lookups(self, size_bytes: int) -> Lookups:
        """Return what reads the first bytes of codes: coarsely, unless they are all."""
        q = self.quantizer
        return Lookups.of(q.layout, q.states, q.levels, size_bytes if size_bytes < q.code_bytes else None)

    def weights(self, queries: Floats) -> tuple[Floats, NDArray[np.float64]]:
        """Return the products (q, coefficients) and the biases (q,) of queries (q, d)."""
        inward = self._affine.weights(queries)
        biases = inward.astype(np.float64) @ self.quantizer.mean + queries.astype(np.float64) @ self._affine.offset
        return np.asarray(inward @ self.quantizer.axes.T, np.float32), biases

    def norms(self, y: Floats) -> Floats:
        """Return the squared lengths (n,) of vectors whose first coefficients are y (n, some of them)."""
        some = y.shape[1]
        found = self.scale * np.einsum("ij,ij->i", y, y) + y @ self.linear[:some] + self.constant
        return np.asarray(np.maximum(found, 0), np.float32)

    def count(self, size_bytes: int) -> int:
        """Return how many coefficients the first bytes of a code hold."""
        layout = self.quantizer.layout
        return int(layout.firsts[layout.steps_in(size_bytes)])


@dataclass(frozen=True)
class Stage:
    """The first bytes of codes, as a sweep looks at them.

    Attributes
    ----------
    size_bytes : int
    count : int
        How many coefficients they hold.
    lookups : Lookups
    norm_terms : (lookups, 64) float32
    sample : (rows, count) float32
        Coefficients of the sample of rows by these bytes.
    norms : (rows,) float32
        Their squared lengths.
    typical : float
        Length.
    """

    size_bytes: int
    count: int
    lookups: Lookups
    norm_terms: Floats
    sample: Floats
    norms: Floats
    typical: float

    def features(self, raw: Raw) -> NDArray[np.float64]:
        """Return what raw scores of the sample are products of queries' (1, bias, weights) with: (rows, 2 + count)."""
        found = np.zeros((len(self.sample), 2 + self.count))
        found[:, 1], found[:, 2:] = 1, self.sample
        if raw == "unit":
            found /= np.sqrt(np.maximum(self.norms, LEAST_LENGTH**2))[:, None]
        elif raw == "squared":
            found *= 2
            found[:, 0] = -self.norms
        return found


@dataclass(frozen=True)
class Moments:
    """How a sum of features varies from row to row, for any weights.

    Attributes
    ----------
    mean : (features,) float64
    covariance : (features, features) or (features,) float64
        The latter where coefficients are taken for uncorrelated. Principal components nearly are: this is as exact as a
        sample of hundreds of rows, and much less has to be read.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64], *, correlated: bool) -> Moments:
        """Return those of (rows, features)."""
        covariance = np.cov(features, rowvar=False, bias=True) if correlated else features.var(axis=0)
        return cls(features.mean(axis=0), covariance)

    def above(self, weights: NDArray[np.float64], deviations: float) -> NDArray[np.float64]:
        """Return what lies so many standard deviations above the mean, for weights (q, features): (q,)."""
        if self.covariance.ndim == 1:
            squares = weights**2 @ self.covariance
        else:
            squares = np.einsum("ij,ij->i", weights @ self.covariance, weights)
        return np.asarray(weights @ self.mean + deviations * np.sqrt(np.maximum(squares, 0)))


@dataclass(frozen=True)
class Plan:
    """How a search looks at `tcq` codes.

    Attributes
    ----------
    sizes : tuple of int
        Bytes that are swept, and that are looked at next where a row's score says so, before all are; none to sweep
        all.
    height : float
        What the score by the bytes swept has to be for more to be looked at: in standard deviations above the mean of
        the store's rows.
    margins : tuple of float
        How far the score by these bytes may be below the last of the rows wanted: in standard deviations of what all
        others add.
    """

    sizes: tuple[int, ...] = ()
    height: float = 0.0
    margins: tuple[float, ...] = ()


class Trellis:
    """The `tcq` codes of a shard, ready to be swept.

    Parameters
    ----------
    codes : LayerCodes
    coefficients : Coefficients

    Attributes
    ----------
    edges : (cells + 1,) int64
        Rows edges[c] to edges[c + 1] are in cell c; all are in one where the codes have no cells.
    """

    def __init__(self, codes: LayerCodes, coefficients: Coefficients) -> None:
        self.codes, self.coefficients = codes, coefficients
        self.edges = np.array([0, codes.rows]) if codes.cells is None else codes.cells.edges
        self._stages: dict[int, Stage] = {}
        self._moments: dict[tuple[Raw, int], tuple[Moments, Moments]] = {}

    @classmethod
    def of(cls, codes: LayerCodes) -> Self | None:
        """Return None where the codes are others, or lie in the layout of format 1.1."""
        if codes.packed or codes.part.tile_rows % LANES:
            return None
        coefficients = Coefficients.of(codes.layer)
        return None if coefficients is None else cls(codes, coefficients)

    def cells_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cell of each row."""
        return np.zeros(len(rows), np.int64) if self.codes.cells is None else self.codes.cells.of(rows)

    def norms(self, rows: NDArray[np.int64], y: Floats) -> Floats:
        """Return the squared lengths (n,) of rows with coefficients y (n, coefficients)."""
        norms = self.coefficients.norms(y)
        if self.codes.cells is None:
            return norms
        weights, squares = self._centroid_terms
        cells = self.cells_of(rows)
        return np.asarray(np.maximum(norms + np.einsum("ij,ij->i", weights[cells], y) + squares[cells], 0), np.float32)

    @cached_property
    def _centroid_terms(self) -> tuple[Floats, Floats]:
        """What lengths take from cells, as `LayerCodes.centroid_terms` says, for coefficients instead of codes."""
        weights, squares = self.codes.centroid_terms
        quantizer = self.coefficients.quantizer
        return weights @ quantizer.axes.T, squares + weights @ quantizer.mean

    @cached_property
    def sample(self) -> tuple[NDArray[np.int64], Floats]:
        """Some rows, evenly spread, and their coefficients (rows, coefficients): how scores vary is seen from them."""
        rows = np.unique(np.linspace(0, self.codes.rows - 1, min(SAMPLE_ROWS, self.codes.rows)).astype(np.int64))
        return rows, self.coefficients.quantizer.coefficients(self.codes.gather(rows))

    @cached_property
    def _coarse_sample(self) -> Floats:
        return self.coefficients.coarse.coefficients(self.codes.gather(self.sample[0]))

    def moments(self, stage: Stage, raw: Raw) -> tuple[Moments, Moments]:
        """Return how raw scores by the bytes of a stage vary, and how what those by all bytes are above them does.

        Of all bytes the former is returned twice.
        """
        key = raw, stage.size_bytes
        if key not in self._moments:
            own = stage.features(raw)
            if stage.size_bytes == self.codes.layer.code_bytes:
                self._moments[key] = (Moments.of(own, correlated=False),) * 2
            else:
                gaps = self.stage(self.codes.layer.code_bytes).features(raw)
                gaps[:, : own.shape[1]] -= own
                self._moments[key] = Moments.of(own, correlated=True), Moments.of(gaps, correlated=False)
        return self._moments[key]

    def serves(self, metric: str) -> bool:
        """Return whether a sweep finds what is best by a metric: lengths may have to be nearly one, as embeddings' are.

        Tables of cosines are made for that; distances in cells are swept as products are.
        """
        if metric == "cosine":
            return self._spread <= EVEN
        return metric == "dot" or (metric == "l2" and (self.codes.cells is None or self._spread <= VERY_EVEN))

    @cached_property
    def _spread(self) -> float:
        """How much lengths vary: their standard deviation over their mean."""
        lengths = np.sqrt(self.norms(*self.sample).astype(np.float64))
        return float(lengths.std() / max(lengths.mean(), LEAST_LENGTH))

    def stage(self, size_bytes: int) -> Stage:
        """Return what a sweep of the first bytes needs."""
        if size_bytes not in self._stages:
            coefficients = self.coefficients
            lookups = coefficients.lookups(size_bytes)
            squares = np.full(len(coefficients.linear), coefficients.scale, np.float32)
            norm_terms = lookups.terms(coefficients.linear[None], squares)[0]
            count = coefficients.count(size_bytes)
            sample = self.sample[1] if size_bytes == self.codes.layer.code_bytes else self._coarse_sample[:, :count]
            norms = coefficients.norms(sample)
            typical = max(float(np.sqrt(norms.mean())), LEAST_LENGTH)
            self._stages[size_bytes] = Stage(size_bytes, count, lookups, norm_terms, sample, norms, typical)
        return self._stages[size_bytes]


class TrellisSweep(Sweep):
    """By look-ups in the first bytes of codes, and in all bytes of rows that score well by these.

    In cells the sweep takes vectors for equally long: the length of c + r depends on both in ways that one set of
    tables cannot tell. Rows are scored with their own lengths.

    Parameters
    ----------
    trellis : Trellis
    ranking : Ranking
    plan : Plan, optional
        What is swept; all bytes if not given.
    wanted : int
        How many of the best rows the plan has to find; others may be lost.
    """

    def __init__(
        self,
        trellis: Trellis,
        ranking: Ranking,
        plan: Plan | None = None,
        *,
        wanted: int = 1,
    ) -> None:
        super().__init__(trellis.codes, ranking)
        self._trellis, self._coefficients, self._wanted = trellis, trellis.coefficients, wanted
        # In cells all bytes are swept: how scores of first bytes vary is not known there.
        self._plan = plan if plan is not None and trellis.codes.cells is None else Plan()
        self._weights, biases = self._coefficients.weights(ranking.queries)
        self._biases = biases[:, None]  # [query, cell]: what is added to the products of a cell's rows
        self._swept: Raw = ranking.raw
        if self.codes.cells is not None:
            self._biases = self._biases + self._centroid_products
            self._swept = "product"

    @cached_property
    def _stages(self) -> list[Stage]:
        return [self._trellis.stage(size) for size in (*self._plan.sizes, self.codes.layer.code_bytes)]

    @cached_property
    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The scores that tables are made for (stages, q), and limits (q,) and margins (stages, q) of the rows."""
        plan, queries, stages = self._plan, len(self._weights), self._stages
        limits, margins = np.full(queries, -np.inf), np.zeros((len(stages), queries))
        if not plan.sizes and self._swept != "unit":
            return margins, limits, margins  # tables of what are no cosines serve all scores alike
        weights = np.hstack([np.ones((queries, 1)), self._biases, self._weights])
        whole, _ = self._trellis.moments(stages[-1], self._swept)
        for at, (stage, margin) in enumerate(zip(stages, plan.margins, strict=False)):
            own, gaps = self._trellis.moments(stage, self._swept)
            margins[at] = gaps.above(weights, margin)
            if at == 0:
                limits = own.above(weights[:, : 2 + stage.count], plan.height)
        return whole.above(weights, EXPECTED) - margins, limits, margins

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        from vecstore.kernels.simd import best_level, tag
        from vecstore.kernels.trellis_sweep import sweep_trellis

        part, stages = self.codes.part, self._stages
        if part.unchecked:
            part.check_prefixes(start, stop, stages[-1].size_bytes)
        made_for, limits, margins = self._limits
        sweep_trellis(
            tag(best_level()),
            part.data,
            part.offsets,
            part.block_rows,
            part.tile_rows,
            part.row_bytes,
            part.rows,
            start,
            stop,
            raw_number(self._swept),
            np.array([stage.size_bytes for stage in stages]),
            tuple(stage.lookups.kernel for stage in stages),
            tuple(stage.lookups.owners for stage in stages),
            tuple(stage.lookups.levels for stage in stages),
            self._weights,
            tuple(stage.norm_terms for stage in stages),
            np.array([stage.typical for stage in stages]),
            np.full(len(stages), self._coefficients.constant),
            made_for,
            limits,
            margins,
            min(self._wanted, best.k),
            self._biases,
            self._trellis.edges,
            floors,
            allowed,
            best.scores,
            best.rows,
            best.sizes,
        )

    def scores(self, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        return self._scores(slice(None), codes, rows)

    def of_rows(self, query: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        codes = self.codes.gather(rows, compiled=True)
        return self._scores(slice(query, query + 1), codes, rows)[0].astype(np.float64)

    def _scores(self, queries: slice, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        y, biases = self._coefficients.quantizer.coefficients(codes), self._biases[queries]
        if self.codes.cells is not None:
            biases = biases[:, self._trellis.cells_of(rows)]
        products = self._weights[queries] @ y.T + biases.astype(np.float32)
        norms = None if self.ranking.raw == "product" else self._trellis.norms(rows, y)
        return raw_scores(self.ranking.raw, products, norms)
