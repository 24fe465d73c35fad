"""Search of `tcq` codes where they lie: a sweep of their first bytes, all bytes of few rows, exact scores of fewer.

Scores of the first two steps are approximate (see `kernels.trellis_scan`); the last one is what decoding gives. Axes
are orthonormal, so that products and lengths are taken among coefficients and no rotation has to be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.layer import Layer
from vecstore.codecs.trellis.lookups import Lookups, coarse_levels
from vecstore.codecs.trellis.quantizer import TrainedTCQ
from vecstore.kernels import arguments
from vecstore.kernels.arguments import TrellisQueries
from vecstore.kernels.layout import LANES
from vecstore.search.ranking import Ranking, Raw, raw_scores
from vecstore.search.sweeping import Sweep, raw_number
from vecstore.search.topk import TopK
from vecstore.shard.layers import LayerCodes
from vecstore.shard.shard import Shard

__all__ = ["Coefficients", "Plan", "Trellis", "TrellisSweep", "trellis_of"]

MOST_TILE_ROWS = 1 << 16  # that the kernel takes room for
SAMPLE_ROWS = 512  # of a shard, from which is seen how scores vary
EXPECTED = 4.0  # standard deviations by which the best rows score above the mean: tables are made for them
LEAST_LENGTH = 1e-15
EVEN, VERY_EVEN = 0.15, 0.03  # of the mean length: how much lengths may vary

# How many rows there are, and mean and variance (q,) of what differs from row to row.
Varying: TypeAlias = tuple[int, NDArray[np.float64], NDArray[np.float64]]


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

    def features(self, y: Floats, raw: Raw) -> NDArray[np.float64]:
        """Return what raw scores are products of `feature_weights` with: (n, 2 + some).

        y are the first coefficients (n, some).
        """
        found = np.ones((len(y), 2 + y.shape[1]))
        found[:, 2:] = y
        if raw == "unit":
            found /= np.sqrt(np.maximum(self.norms(y), LEAST_LENGTH**2))[:, None]
        elif raw == "squared":
            found *= 2
            found[:, 0] = -self.scale * np.einsum("ij,ij->i", y, y) - self.constant
        return found

    def feature_weights(self, weights: Floats, biases: NDArray[np.float64], raw: Raw) -> NDArray[np.float64]:
        """Return what raw scores weigh features with: (q, 2 + coefficients), for products and biases (q, 1)."""
        inward = weights.astype(np.float64)
        if raw == "squared":
            inward -= self.linear / 2  # of lengths: a product that nearly cancels another says nothing of their sum
        first = np.full((len(weights), 1), float(raw == "squared"))
        return np.hstack([first, biases, inward])

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
    sample : (rows, count) float32
        Coefficients of the sample of rows by these bytes.
    kernel : arguments.Stage
    """

    size_bytes: int
    count: int
    sample: Floats
    kernel: arguments.Stage


@dataclass(frozen=True)
class Moments:
    """How a sum of features varies from row to row, for any weights.

    Attributes
    ----------
    mean : (features,) float64
    covariance : (features, features) or (features,) float64
        The latter where features are taken for uncorrelated. Principal components nearly are: this is as exact as a
        sample of hundreds of rows, and much less has to be read.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64], *, correlated: bool) -> Moments:
        """Return those of (rows, features)."""
        covariance = np.cov(features, rowvar=False, bias=True) if correlated else features.var(axis=0)
        return cls(features.mean(axis=0), covariance)

    def along(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of the sums that weights (q, features) make of features: (q,) and (q,)."""
        if self.covariance.ndim == 1:
            squares = weights**2 @ self.covariance
        else:
            squares = np.einsum("ij,ij->i", weights @ self.covariance, weights)
        return weights @ self.mean, np.maximum(squares, 0)


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
    share : float
        Height and margins are those of so many of the store's rows, the best ones.
    """

    sizes: tuple[int, ...] = ()
    height: float = 0.0
    margins: tuple[float, ...] = ()
    share: float = 1.0

    def finding(self, rank: int, rows: int) -> Plan:
        """Return a plan that finds the best rows up to a rank, of so many: all bytes where those were not measured."""
        return self if rank <= self.share * rows else Plan()


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
        self._moments: dict[tuple[str, int, Raw], Moments] = {}

    @classmethod
    def of(cls, codes: LayerCodes) -> Self | None:
        """Return None where the codes are others, or lie in another layout than those of format 1.2."""
        tile_rows = codes.part.tile_rows
        if codes.packed or tile_rows % LANES or not LANES < tile_rows <= MOST_TILE_ROWS:
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

    def scores(self, size_bytes: int, raw: Raw) -> Moments:
        """Return how raw scores by the first bytes of codes vary."""
        key = "scores", size_bytes, raw
        if key not in self._moments:
            found = self.coefficients.features(self.stage(size_bytes).sample, raw)
            self._moments[key] = Moments.of(found, correlated=size_bytes < self.codes.layer.code_bytes)
        return self._moments[key]

    def gaps(self, size_bytes: int, raw: Raw) -> Moments:
        """Return how that varies by which raw scores of all bytes are above those of the first ones."""
        key = "gaps", size_bytes, raw
        if key not in self._moments:
            sizes = size_bytes, self.codes.layer.code_bytes
            own, found = (self.coefficients.features(self.stage(size).sample, raw) for size in sizes)
            found[:, : own.shape[1]] -= own
            self._moments[key] = Moments.of(found, correlated=False)
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
            typical = max(float(np.sqrt(coefficients.norms(sample).mean())), LEAST_LENGTH)
            looks, norms = (lookups.kernel, lookups.owners, lookups.levels), (norm_terms, coefficients.constant)
            kernel = arguments.Stage(size_bytes, *looks, *norms, typical)
            self._stages[size_bytes] = Stage(size_bytes, count, sample, kernel)
        return self._stages[size_bytes]


_OF_SHARD: WeakKeyDictionary[Shard, Trellis | None] = WeakKeyDictionary()


def trellis_of(shard: Shard) -> Trellis | None:
    """Return what a sweep of a shard's `tcq` codes works with, the same each time; None where it cannot be done."""
    if shard not in _OF_SHARD:
        _OF_SHARD[shard] = Trellis.of(shard.layers[0]) if len(shard.layers) == 1 else None
    return _OF_SHARD[shard]


class TrellisSweep(Sweep):
    """By look-ups in the first bytes of codes, and in all bytes of rows that score well by these.

    In cells the sweep takes vectors for equally long: the length of c + r depends on both in ways that one set of
    tables cannot tell. Rows are scored with their own lengths.

    Parameters
    ----------
    trellis : Trellis
    ranking : Ranking
    plan : Plan
        What is swept.
    wanted : int
        How many of the best rows the plan has to find; others may be lost.
    """

    def __init__(self, trellis: Trellis, ranking: Ranking, plan: Plan, *, wanted: int) -> None:
        super().__init__(trellis.codes, ranking)
        self._trellis, self._coefficients, self._wanted = trellis, trellis.coefficients, wanted
        # In cells all bytes are swept: how scores of first bytes vary is not known there.
        self._plan = plan if trellis.codes.cells is None else Plan()
        self._weights, biases = self._coefficients.weights(ranking.queries)
        self._biases = biases[:, None]  # [query, cell]: what is added to the products of a cell's rows
        self._swept: Raw = ranking.raw
        if self.codes.cells is not None:
            self._biases = self._biases + self._centroid_products
            self._swept = "product"

        self._stages = [trellis.stage(size) for size in (*self._plan.sizes, self.codes.layer.code_bytes)]
        queries, stages = len(self._weights), len(self._stages)
        self._made_for, self._limits = np.zeros((stages, queries)), np.full(queries, -np.inf)
        self._margins = np.zeros((stages, queries))

    @staticmethod
    def share_limits(sweeps: Sequence[TrellisSweep]) -> None:
        """Tell the sweeps of all shards what rows have to score, and about which scores tables are to be exact.

        Limits are those of the whole store: what a shard's rows have in common says nothing of how good they are.
        """
        sweeps = [sweep for sweep in sweeps if sweep.codes.cells is None]
        if not sweeps or (not sweeps[0]._plan.sizes and sweeps[0]._swept != "unit"):
            return  # tables of what are no cosines serve all scores alike
        plan, queries = sweeps[0]._plan, len(sweeps[0]._weights)
        margins, limits = np.zeros((len(plan.sizes) + 1, queries)), np.full(queries, -np.inf)
        for at, margin in enumerate(plan.margins):
            margins[at] = _above([sweep._varying("gaps", at) for sweep in sweeps], margin)
        if plan.sizes:
            limits = _above([sweep._varying("scores", 0) for sweep in sweeps], plan.height)
        best = _above([sweep._varying("scores", -1) for sweep in sweeps], EXPECTED)
        for sweep in sweeps:
            sweep._made_for, sweep._limits, sweep._margins = best - margins, limits, margins

    def _varying(self, what: Literal["scores", "gaps"], at: int) -> Varying:
        """Return how many rows there are, and mean and variance (q,) of what a stage tells of them."""
        size_bytes = self._stages[at].size_bytes
        of = self._trellis.scores if what == "scores" else self._trellis.gaps
        moments = of(size_bytes, self._swept)
        return self.codes.rows, *moments.along(self._feature_weights[:, : len(moments.mean)])

    @cached_property
    def _feature_weights(self) -> NDArray[np.float64]:
        return self._coefficients.feature_weights(self._weights, self._biases, self._swept)

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        from vecstore.kernels.trellis_scan import scan_trellis

        part = self.codes.part
        if part.unchecked:
            part.check_prefixes(start, stop, self._stages[-1].size_bytes)
        stages = [stage.kernel for stage in self._stages]
        scan_trellis(part.tiles, stages, self._arguments(best.k), best.heap(floors), start, stop, allowed)

    def _arguments(self, k: int) -> TrellisQueries:
        return TrellisQueries(
            kind=raw_number(self._swept),
            weights=self._weights,
            biases=self._biases,
            edges=self._trellis.edges,
            made_for=self._made_for,
            limits=self._limits,
            margins=self._margins,
            wanted=min(self._wanted, k),
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


def _above(parts: Sequence[Varying], deviations: float) -> NDArray[np.float64]:
    """Return what lies so many standard deviations above the mean of all rows, which are given part by part: (q,)."""
    total = sum(rows for rows, _, _ in parts)
    mean = sum((rows / total * own for rows, own, _ in parts), start=np.float64(0))
    variance = sum((rows / total * (around + (own - mean) ** 2) for rows, own, around in parts), start=np.float64(0))
    return np.asarray(mean + deviations * np.sqrt(variance))
