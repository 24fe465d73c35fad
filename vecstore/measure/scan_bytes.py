"""How far the first bytes of `tcq` codes are to be trusted in a search: measured at conversion, kept in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.trellis.lookups import COARSE_BITS, Lookups
from vecstore.search.coefficients import Coefficients
from vecstore.search.ranking import Raw, raw_scores
from vecstore.search.scan_bytes import DEFAULT_RECALL, NEIGHBORS, RECALLS, SAMPLE_ROWS

__all__ = ["measure_scan_bytes"]

SAFETY = 0.3  # standard deviations of limits: real queries lie farther from the rows than held-out rows do
STEP = 8  # bytes: what of a row lies together
QUERIES = 200
# What things cost, in nanoseconds: a look-up of a row that is scanned and each of its sources, eight bytes of a row,
# and all of a row by itself.
LOOKUP, SOURCE, SCANNING, FETCHING = 0.01, 0.004, 0.3, 100.0
THINNING = 0.1  # of the rows that pass the limit in a sample, those that pass the margin as well in a large store


def measure_scan_bytes(codec: Codec, held_out: Floats, sample: Floats, *, raw: Raw) -> dict[str, Any] | None:
    """Return what a search by the first bytes of codes needs to know, or None where codes cannot be searched so.

    Parameters
    ----------
    held_out, sample : (n, d) float32
        Queries and rows, ready for the codec.
    raw : {"product", "unit", "squared"}
        How rows are scored.

    Returns
    -------
    dict
        ``bits``: COARSE_BITS, with which was measured; ``rows``: among how many; ``limits`` and ``margins``: for each
        number of bytes, what the threshold and the margin of a `Plan` have to be so that of the ten nearest rows (by
        the original vectors) that all bytes find, no more are lost than RECALLS say; in front of a fine layer, of all
        ten; ``swept``: for each of RECALLS, how many bytes it is expected to be the fastest to scan, possibly all.
    """
    coefficients = Coefficients.of(codec.layers[0]) if codec.partition is None else None
    if coefficients is None or len(held_out) == 0 or len(sample) < 2:
        return None
    queries, rows = held_out[:QUERIES], sample[:SAMPLE_ROWS]
    codes = codec.layers[0].encode(rows)
    coarse = coefficients.coarse.coefficients(codes)
    weights, biases = coefficients.weights(queries)

    def scores(y: Floats) -> Floats:
        products = weights[:, : y.shape[1]] @ y.T + biases[:, None].astype(np.float32)
        return raw_scores(raw, products, coefficients.norms(y))

    k = min(NEIGHBORS, len(rows))
    by_all = scores(coefficients.quantizer.coefficients(codes))
    last = np.partition(by_all, -k, axis=1)[:, -k, None]
    found = _best(raw_scores(raw, queries @ rows.T, np.einsum("ij,ij->i", rows, rows)), k)
    if len(codec.layers) == 1:
        found &= by_all >= last  # a fine layer looks for them farther down
    limits: dict[str, dict[str, float]] = {}
    margins: dict[str, dict[str, float]] = {}
    passing: dict[float, dict[int, float]] = {recall: {} for recall in RECALLS}
    for size in _sizes(coefficients):
        by_first = scores(coarse[:, : coefficients.count(size)])
        gaps = by_all - by_first
        thresholds = (by_first - by_first.mean(axis=1, keepdims=True)) / (by_first.std(axis=1, keepdims=True) + 1e-30)
        # A neighbour's own score bounds the last one's from above: so margins hold in stores of any size.
        below = (gaps - gaps.mean(axis=1, keepdims=True)) / (gaps.std(axis=1, keepdims=True) + 1e-30)
        lost = {recall: (1 - recall) / 2 for recall in RECALLS}  # by the limit, and as many by the margin
        lowest = {recall: float(np.quantile(thresholds[found], share)) - SAFETY for recall, share in lost.items()}
        widest = {recall: float(np.quantile(below[found], 1 - share)) for recall, share in lost.items()}
        limits[str(size)] = {str(recall): round(threshold, 3) for recall, threshold in lowest.items()}
        margins[str(size)] = {str(recall): round(margin, 3) for recall, margin in widest.items()}
        for recall, threshold in lowest.items():
            passing[recall][size] = float((thresholds >= threshold).mean())
    sizes = (*passing[DEFAULT_RECALL], coefficients.quantizer.code_bytes)
    costs = {size: _scan_cost(coefficients.lookups(size), size) for size in sizes}
    fastest = {str(recall): _fastest(costs, shares) for recall, shares in passing.items()}
    return {"bits": COARSE_BITS, "rows": len(rows), "limits": limits, "margins": margins, "swept": fastest}


def _sizes(coefficients: Coefficients) -> list[int]:
    """Return how many first bytes may be scanned: as long as more of them tell of more coefficients."""
    sizes, known = [], 0
    for size in range(STEP, coefficients.quantizer.code_bytes, STEP):
        count = coefficients.count(size)
        if count > known:
            sizes.append(size)
        known = count
    return sizes


def _best(scores: Floats, k: int) -> NDArray[np.bool_]:
    """Return which rows (q, n) are among the best k of a query."""
    return np.asarray(scores >= np.partition(scores, -k, axis=1)[:, -k, None])


def _scan_cost(lookups: Lookups, size: int) -> float:
    """Return what it costs to scan so many bytes of a row."""
    _, counts, sources = lookups.passes.T
    return LOOKUP * len(lookups.planes) + SOURCE * int(counts @ sources) + SCANNING * -(-size // STEP)


def _fastest(costs: Mapping[int, float], passing: Mapping[int, float]) -> int:
    """Return how many bytes it is expected to be the fastest to scan.

    costs[size] is what that costs, for all bytes too; passing[size] the share of a sample's rows that reach the
    limit after so many.
    """
    return min(costs, key=lambda size: costs[size] + passing.get(size, 0) * THINNING * FETCHING)
