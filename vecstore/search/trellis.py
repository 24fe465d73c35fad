"""The `tcq` codes of a shard, ready to be scanned where they lie: what does not depend on a query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.kernels import arguments
from vecstore.kernels.layout import LANES
from vecstore.search.coefficients import LEAST_LENGTH, Coefficients, Moments
from vecstore.search.ranking import Raw
from vecstore.shard.cells import CellRuns
from vecstore.shard.layers import LayerCodes

__all__ = ["Stage", "Trellis"]

MOST_TILE_ROWS = 1 << 16  # that the kernel takes room for
SAMPLE_ROWS = 512  # of a shard, from which is seen how scores vary
EVEN, EVEN_IN_CELLS, VERY_EVEN = 0.15, 0.09, 0.03  # of the mean length: how much lengths may vary


@dataclass(frozen=True)
class Stage:
    """The first bytes of codes, as a scan looks at them.

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


class Trellis:
    """The `tcq` codes of a shard, ready to be scanned.

    Parameters
    ----------
    codes : LayerCodes
    coefficients : Coefficients

    Attributes
    ----------
    edges : (shards * cells + 1,) int64
        Slots edges[i] to edges[i + 1] are in cell i % cells; all are in one where codes do not lie by cells.
    """

    def __init__(self, codes: LayerCodes, coefficients: Coefficients) -> None:
        self.codes, self.coefficients = codes, coefficients
        if isinstance(codes.cells, CellRuns):
            self.edges = codes.cells.edges
        else:
            self.edges = np.array([0, codes.part.blocks * codes.part.block_rows])
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

    def _norms(self, rows: NDArray[np.int64], y: Floats) -> Floats:
        """Return the squared lengths (n,) of rows, by slot, with coefficients y (n, coefficients)."""
        linear, constants = self.norm_weights
        cells = np.zeros(len(rows), np.int64) if self.codes.cells is None else self.codes.cells.of(rows)
        norms = self.coefficients.scale * np.einsum("ij,ij->i", y, y) + np.einsum("ij,ij->i", linear[cells], y)
        return np.asarray(np.maximum(norms + constants[cells], 0), np.float32)

    @cached_property
    def norm_weights(self) -> tuple[Floats, NDArray[np.float64]]:
        """What makes squared lengths of coefficients in each cell: linear (cells, coefficients) and constants (cells,).

        As `Coefficients` says; a centroid adds to them what `LayerCodes.centroid_terms` says, for coefficients instead
        of codes.
        """
        linear, constant = self.coefficients.linear[None], np.array([self.coefficients.constant])
        if self.codes.cells is None:
            return linear, constant
        weights, squares = self.codes.centroid_terms
        quantizer = self.coefficients.quantizer
        return linear + weights @ quantizer.axes.T, constant + squares + weights @ quantizer.mean

    @cached_property
    def sample(self) -> tuple[NDArray[np.int64], Floats]:
        """Some slots, evenly spread, and their coefficients (rows, coefficients): how scores vary is seen from them."""
        rows = np.unique(np.linspace(0, self.codes.rows - 1, min(SAMPLE_ROWS, self.codes.rows)).astype(np.int64))
        rows = self.codes.part.slots_of(rows)
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

    def serves(self, metric: str, *, coarse: bool = False) -> bool:
        """Return whether a scan finds what is best by a metric: lengths may have to be nearly one, as embeddings' are.

        Tables of cosines are made for that; in cells all scores are scanned as products are. Below another layer
        (`coarse`) fewer candidates make up for that.
        """
        if metric == "cosine":
            return self._spread <= (EVEN_IN_CELLS if coarse and self.codes.cells is not None else EVEN)
        return metric == "dot" or (metric == "l2" and (self.codes.cells is None or self._spread <= VERY_EVEN))

    @cached_property
    def _spread(self) -> float:
        """How much lengths vary: their standard deviation over their mean."""
        lengths = np.sqrt(self._norms(*self.sample).astype(np.float64))
        return float(lengths.std() / max(lengths.mean(), LEAST_LENGTH))

    def stage(self, size_bytes: int) -> Stage:
        """Return what a scan of the first bytes needs."""
        if size_bytes not in self._stages:
            coefficients = self.coefficients
            lookups = coefficients.lookups(size_bytes)
            squares = np.full(len(coefficients.linear), coefficients.scale, np.float32)
            norm_terms = lookups.terms(coefficients.linear[None], squares)[0]
            count = coefficients.count(size_bytes)
            sample = self.sample[1] if size_bytes == self.codes.layer.code_bytes else self._coarse_sample[:, :count]
            typical = max(float(np.sqrt(coefficients.norms(sample).mean())), LEAST_LENGTH)
            looks: tuple[NDArray[Any], ...] = tuple(lookups.kernel)
            norms = norm_terms, coefficients.constant
            kernel = arguments.Stage(size_bytes, looks, lookups.owners, lookups.levels, *norms, typical)
            self._stages[size_bytes] = Stage(size_bytes, count, sample, kernel)
        return self._stages[size_bytes]
