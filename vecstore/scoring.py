"""Score queries against blocks of codes, without decoding where the codec is additive.

A decoded vector is x = z @ linear + offset, so q . x = z . u + q . offset with u = linear @ q, and |x|^2 is a sum of
squares of z weighted by the gram diagonal. A codec that is additive over its bytes turns both into sums of table
entries; any other one is decoded as far as z, block by block, and left to a matrix product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.codec import Layer
from vecstore.shard import Metric

__all__ = ["LayerScorer", "metric_scores"]

TABLE_QUERIES = 8  # up to so many queries, tables beat decoding a block once for all


class LayerScorer:
    """Scores of a batch of queries against the codes of one layer.

    Parameters
    ----------
    layer : Layer
    queries : (q, d) float32
    metric : {"cosine", "dot", "l2"}
    fixed_lengths : bool
        The vectors' lengths come from elsewhere (see `Shard.fixes_lengths`): `score` is given them.
    """

    def __init__(self, layer: Layer, queries: Floats, metric: Metric, *, fixed_lengths: bool) -> None:
        self._layer, self._queries, self._metric, self._fixed = layer, queries, metric, fixed_lengths
        affine = layer.affine
        self._linear = queries @ affine.linear.T  # [query, code dimension]
        self._bias = (queries @ affine.offset)[:, None]
        self._norm_linear = 2 * (affine.linear @ affine.offset)
        self._norm_bias = np.float32(affine.offset @ affine.offset)
        self._needs_norms = metric != "dot" or fixed_lengths
        self._tables: Floats | None = None
        self._norm_tables: Floats | None = None
        if len(queries) <= TABLE_QUERIES and layer.code_bytes * 2 <= layer.quantizer.dimensions:
            self._build_tables()

    def score(self, codes: Codes, rows: NDArray[np.int64], lengths: Floats | None) -> Floats:
        """Return the scores of codes of these rows, larger is better: (q, n) float32."""
        products, norms = self._by_tables(codes) if self._tables is not None else self._by_decoding(codes, rows)
        return metric_scores(products + self._bias, norms, self._queries, self._metric, lengths)

    def _build_tables(self) -> None:
        gram = self._layer.affine.gram
        quantizer = self._layer.quantizer
        if self._needs_norms:
            self._norm_tables = quantizer.tables(self._norm_linear, gram) if gram.ndim == 1 else None
            if self._norm_tables is None:
                return
        tables = [quantizer.tables(linear) for linear in self._linear]
        found = [table for table in tables if table is not None]
        self._tables = np.stack(found) if found and len(found) == len(tables) else None

    def _by_tables(self, codes: Codes) -> tuple[Floats, Floats | None]:
        from vecstore.kernels.tables import sum_tables

        assert self._tables is not None
        products = np.empty((len(self._queries), len(codes)), np.float32)
        sum_tables(codes, self._tables, products)
        if self._norm_tables is None:
            return products, None
        norms = np.empty((1, len(codes)), np.float32)
        sum_tables(codes, self._norm_tables[None], norms)
        return products, norms[0] + self._norm_bias

    def _by_decoding(self, codes: Codes, rows: NDArray[np.int64]) -> tuple[Floats, Floats | None]:
        z = self._layer.quantizer.decode(codes, rows)
        products = np.asarray(self._linear @ z.T, np.float32)
        if not self._needs_norms:
            return products, None
        gram = self._layer.affine.gram
        if gram.ndim == 1 and not self._norm_linear.any() and (gram == gram[0]).all():
            return products, np.asarray(np.einsum("ij,ij->i", z, z) * gram[0] + self._norm_bias, np.float32)
        weighted = z * gram if gram.ndim == 1 else z @ gram
        return products, np.einsum("ij,ij->i", weighted, z) + z @ self._norm_linear + self._norm_bias


def metric_scores(
    products: Floats, norms: Floats | None, queries: Floats, metric: Metric, lengths: Floats | None
) -> Floats:
    """Turn inner products into scores where larger is better.

    Parameters
    ----------
    products : (q, n) float32
        Of queries and decoded vectors.
    norms : (n,) float32 or None
        Squared lengths of the decoded vectors; None when `metric` is "dot" and there are no `lengths`.
    lengths : (n,) float32 or None
        Lengths that the vectors are scaled to.
    """
    if norms is not None and (metric == "cosine" or lengths is not None):
        norms = np.maximum(norms, 0)
        inverse = np.zeros_like(norms)
        np.divide(1, np.sqrt(norms), out=inverse, where=norms > 1e-30)
        products = products * inverse
        norms = np.ones_like(norms)
        if lengths is not None and metric != "cosine":
            products = products * lengths
            norms = lengths * lengths
    if metric == "dot":
        return products
    squares = np.einsum("ij,ij->i", queries, queries)[:, None]
    if metric == "cosine":
        sizes = np.sqrt(squares)
        return np.asarray(products / np.where(sizes > 0, sizes, 1), np.float32)
    assert norms is not None
    return np.asarray(2 * products - squares - norms, np.float32)
