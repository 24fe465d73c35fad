"""Search of `tcq` codes where they lie: a sweep of their first bytes, a second look at few rows, exact scores of fewer.

Scores of the first two steps are approximate (see `kernels.trellis_sweep`); the last one is what decoding gives. Axes
are orthonormal, so that products and lengths are taken among coefficients and no rotation has to be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.codec import Layer
from vecstore.codecs.tcq import TrainedTCQ
from vecstore.codecs.trellis_lookups import Lookups
from vecstore.layers import LayerCodes
from vecstore.part import LANES
from vecstore.ranking import Ranking, raw_scores
from vecstore.sweeping import Sweep
from vecstore.topk import TopK

__all__ = ["Coefficients", "Trellis", "TrellisSweep"]

SAMPLE_ROWS = 1024  # of a shard, from which is seen how scores vary
EXPECTED = 4.0  # standard deviations by which the best rows score above the mean: tables are made for them
LEAST_LENGTH = 1e-15


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
        return int(layout.firsts[min(8 * int(np.searchsorted(layout.edges, size_bytes)), len(layout.bits))])


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
    """

    size_bytes: int
    count: int
    lookups: Lookups
    norm_terms: Floats


class Trellis:
    """The `tcq` codes of a shard, ready to be swept.

    Parameters
    ----------
    codes : LayerCodes
    coefficients : Coefficients
    edges : (cells + 1,) int64, optional
        Rows edges[c] to edges[c + 1] are in cell c; all in one cell if not given.
    """

    def __init__(self, codes: LayerCodes, coefficients: Coefficients, edges: NDArray[np.int64] | None = None) -> None:
        self.codes, self.coefficients = codes, coefficients
        self.edges = np.array([0, codes.rows]) if edges is None else edges
        self._stages: dict[int, Stage] = {}

    @classmethod
    def of(cls, codes: LayerCodes, edges: NDArray[np.int64] | None = None) -> Self | None:
        """Return None where the codes are others, or lie in the layout of format 1.1."""
        if codes.packed or codes.part.tile_rows % LANES:
            return None
        coefficients = Coefficients.of(codes.layer)
        return None if coefficients is None else cls(codes, coefficients, edges)

    @cached_property
    def sample(self) -> tuple[NDArray[np.int64], Floats]:
        """Some rows, evenly spread, and their coefficients (rows, coefficients): how scores vary is seen from them."""
        rows = np.unique(np.linspace(0, self.codes.rows - 1, min(SAMPLE_ROWS, self.codes.rows)).astype(np.int64))
        return rows, self.coefficients.quantizer.coefficients(self.codes.gather(rows))

    def stage(self, size_bytes: int) -> Stage:
        """Return what a sweep of the first bytes needs; they end where a group does."""
        if size_bytes not in self._stages:
            quantizer, coefficients = self.coefficients.quantizer, self.coefficients
            lookups = Lookups.of(quantizer.layout, quantizer.states, quantizer.levels, size_bytes)
            squares = np.full(len(coefficients.linear), coefficients.scale, np.float32)
            norm_terms = lookups.terms(coefficients.linear[None], squares)[0]
            self._stages[size_bytes] = Stage(size_bytes, coefficients.count(size_bytes), lookups, norm_terms)
        return self._stages[size_bytes]


class TrellisSweep(Sweep):
    """By look-ups in the first bytes of codes, in more bytes of rows that score well by these, and so on.

    Parameters
    ----------
    trellis : Trellis
    ranking : Ranking
    plan : sequence of (int, float)
        How many bytes each stage looks at, where groups end, and what a row's score by them has to be to go on: in
        standard deviations above the mean of the store's rows. A last stage that looks at all bytes is added.
    biases : (q, cells) float64, optional
        What is added to the products of a cell's rows.
    """

    def __init__(
        self,
        trellis: Trellis,
        ranking: Ranking,
        plan: Sequence[tuple[int, float]] = (),
        *,
        biases: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(trellis.codes, ranking)
        self._trellis, self._coefficients, self._plan = trellis, trellis.coefficients, plan
        self._weights, own = self._coefficients.weights(ranking.queries)
        self._biases = np.ascontiguousarray(own[:, None] + (0 if biases is None else biases))

    @cached_property
    def _stages(self) -> list[Stage]:
        return [self._trellis.stage(size) for size in (*(size for size, _ in self._plan), self.codes.layer.code_bytes)]

    @cached_property
    def _terms(self) -> tuple[Floats, ...]:
        return tuple(stage.lookups.terms(self._weights) for stage in self._stages)

    @cached_property
    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Typical lengths (stages,); the scores that tables are made for, and that rows have to reach: (stages, q)."""
        rows, y = self._trellis.sample
        biases = self._biases[:, np.searchsorted(self._trellis.edges, rows, side="right") - 1]
        typical, limits = [], []
        for stage, heights in zip(self._stages, [*(height for _, height in self._plan), EXPECTED], strict=True):
            some = y[:, : stage.count]
            norms = self._coefficients.norms(some)
            products = self._weights[:, : stage.count] @ some.T + biases
            scores = raw_scores(self.ranking.raw, np.asarray(products, np.float32), norms).astype(np.float64)
            typical.append(max(float(np.sqrt(norms.mean())), LEAST_LENGTH))
            limits.append(scores.mean(axis=1) + heights * scores.std(axis=1))
        return np.array(typical), np.stack(limits), np.stack([*limits[:-1], np.full(len(self._weights), -np.inf)])

    def over(
        self, start: int, stop: int, best: TopK, *, floors: NDArray[np.float64], allowed: NDArray[np.uint32]
    ) -> None:
        from vecstore.kernels.simd import best_level, tag
        from vecstore.kernels.trellis_sweep import sweep_trellis

        part, stages = self.codes.part, self._stages
        if part.unchecked:
            part.check_prefixes(start, stop, part.row_bytes if self._plan else stages[0].size_bytes)
        typical, made_for, limits = self._limits
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
            self._raw,
            np.array([stage.size_bytes for stage in stages]),
            tuple(stage.lookups.kernel for stage in stages),
            self._terms,
            tuple(stage.norm_terms for stage in stages),
            typical,
            np.full(len(stages), self._coefficients.constant),
            made_for,
            limits,
            self._biases,
            self._trellis.edges,
            floors,
            allowed,
            best.scores,
            best.rows,
            best.sizes,
        )

    def scores(self, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        y = self._coefficients.quantizer.coefficients(codes)
        cells = np.searchsorted(self._trellis.edges, rows, side="right") - 1
        products = self._weights @ y.T + self._biases[:, cells].astype(np.float32)
        norms = None if self.ranking.raw == "product" else self._coefficients.norms(y)
        return raw_scores(self.ranking.raw, products, norms)

    def one(self, query: int) -> Sweep:
        ranking = replace(self.ranking, queries=self.ranking.queries[query : query + 1])
        return TrellisSweep(self._trellis, ranking)
